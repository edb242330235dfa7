//! An errand: what is done for one message, or in one round of steps, from the first read to the last send.
//!
//! While it runs, the port reads nothing twice (see [`View`]), and keeps the errand's wakes apart: its view knows of
//! nothing later than its own last commit, so it must take no step to which somebody else's later one led.

use std::sync::{Mutex, MutexGuard, PoisonError};

use proofyard_core::port::{Batch, CommitOutcome, Key, PortError, Stored};
use proofyard_core::view::View;

use crate::outbox::Outbox;

tokio::task_local! {
    static NOW: Errand;
}

#[derive(Default)]
pub(crate) struct Errand {
    view: Mutex<View>,
    outbox: Outbox,
}

impl Errand {
    /// Runs `work` as one errand, or as a part of the one it is in. What is left then waits in `outbox`.
    pub async fn run<T>(outbox: &Outbox, work: impl Future<Output = T>) -> T {
        if Self::runs() {
            return work.await;
        }
        let whole = async {
            let done = work.await;
            Self::leave(outbox);
            done
        };
        NOW.scope(Self::default(), whole).await
    }

    /// The same, of work that blocks.
    pub fn run_blocking<T>(outbox: &Outbox, work: impl FnOnce() -> T) -> T {
        if Self::runs() {
            return work();
        }
        NOW.sync_scope(Self::default(), || {
            let done = work();
            Self::leave(outbox);
            done
        })
    }

    fn runs() -> bool {
        NOW.try_with(|_| ()).is_ok()
    }

    fn leave(outbox: &Outbox) {
        let _ = NOW.try_with(|errand| outbox.put(errand.outbox.take_all()));
    }

    /// Takes over what waits in `outbox`: others may have put it there, after what this errand knows.
    pub fn take_over(outbox: &Outbox) {
        let _ = NOW.try_with(|errand| {
            let others = outbox.take_all();
            if !others.is_empty() {
                *errand.view() = View::default();
                errand.outbox.put(others);
            }
        });
    }

    /// Asks the outbox of the errand that runs, or else this one.
    pub fn with_outbox<T>(outbox: &Outbox, ask: impl Fn(&Outbox) -> T) -> T {
        NOW.try_with(|errand| ask(&errand.outbox)).unwrap_or_else(|_| ask(outbox))
    }

    pub fn known(key: &Key) -> Option<Option<Stored>> {
        NOW.try_with(|errand| errand.view().known(key)).ok().flatten()
    }

    pub fn learn(key: &Key, stored: &Option<Stored>) {
        let _ = NOW.try_with(|errand| errand.view().learn(key, stored.clone()));
    }

    /// Reads anew from here on.
    pub fn forget() {
        let _ = NOW.try_with(|errand| *errand.view() = View::default());
    }

    pub fn committed(batch: &Batch, outcome: &Result<CommitOutcome, PortError>) {
        let _ = NOW.try_with(|errand| errand.view().committed(batch, outcome));
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
