//! Handles the block events of `blocks.fifo`: records each, opens what may be proved, wakes the pools.

use proofyard_function::{Error, run, take_messages, until};

fn main() -> Result<(), Error> {
    run(async |home, event| {
        Ok(take_messages(home, &home.names.blocks_queue(), event.payload, until(&event.context)).await)
    })
}
