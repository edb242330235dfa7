//! Handles the messages of `results.fifo`: scopes with a new result, and AWS Batch jobs that have ended.

use proofyard_function::{Error, run, take_messages, until};

fn main() -> Result<(), Error> {
    run(async |home, event| {
        Ok(take_messages(home, &home.names.results_queue(), event.payload, until(&event.context)).await)
    })
}
