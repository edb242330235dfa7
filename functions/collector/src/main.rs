//! Takes what `results.fifo` brings: scopes with a new result, and jobs that are over.

use proofyard_function::{Error, run, take_messages, until};

fn main() -> Result<(), Error> {
    run(async |home, event| {
        Ok(take_messages(home, &home.names.results_queue(), event.payload, until(&event.context)).await)
    })
}
