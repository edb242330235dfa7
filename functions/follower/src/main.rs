//! Looks at the nodes that chains follow, at each tick. A schedule invokes it each minute to send that minute's ticks.

use std::cell::OnceCell;

use aws_lambda_events::sqs::SqsBatchResponse;
use proofyard_core::error::{Coded, with_causes};
use proofyard_follower::{Looks, NodesOfYard};
use proofyard_function::{Error, run, until};
use serde_json::{Value, json};

fn main() -> Result<(), Error> {
    let looks = OnceCell::new();
    run(async move |home, event| {
        let payload: Value = event.payload;
        if payload.get("Records").is_none() {
            let ticks = home.send_follow_ticks().await?;
            tracing::info!(ticks, "the ticks of a minute are sent");
            return Ok(json!({ "ticks": ticks }));
        }
        let looks = looks.get_or_init(|| Looks::new(NodesOfYard::new(home)));
        match looks.look(home, until(&event.context)).await {
            Ok(()) => {}
            Err(error) if error.passes() => {
                tracing::warn!(code = %error.code(), error = %with_causes(&error), "the next tick looks again");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(serde_json::to_value(SqsBatchResponse::default())?)
    })
}
