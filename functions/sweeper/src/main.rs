//! Sweeps at each tick. A schedule invokes it each minute to send that minute's ticks.

use aws_lambda_events::sqs::SqsEvent;
use proofyard_function::{Error, run, take_messages, until};
use serde_json::{Value, json};

fn main() -> Result<(), Error> {
    run(async |home, event| {
        let payload: Value = event.payload;
        if payload.get("Records").is_none() {
            let ticks = home.send_ticks().await?;
            tracing::info!(ticks, "the ticks of a minute are sent");
            return Ok(json!({ "ticks": ticks }));
        }
        let messages: SqsEvent = serde_json::from_value(payload)?;
        let taken = take_messages(home, &home.names.ticks_queue(), messages, until(&event.context)).await;
        Ok(serde_json::to_value(taken)?)
    })
}
