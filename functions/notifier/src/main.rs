//! Tells the sinks that `notify.fifo` names.

use std::cell::OnceCell;
use std::sync::Arc;

use proofyard_function::{Error, run, take_messages, until};
use proofyard_notifier::{Sinks, begins_until};

fn main() -> Result<(), Error> {
    let kept = OnceCell::new();
    run(async move |home, event| {
        let (sinks, home) = kept.get_or_init(|| {
            let sinks = Arc::new(Sinks::of(home));
            (Arc::clone(&sinks), home.with_notifier(sinks))
        });
        let until = begins_until(until(&event.context));
        sinks.begin(until);
        Ok(take_messages(home, &home.names.notify_queue(), event.payload, until).await)
    })
}
