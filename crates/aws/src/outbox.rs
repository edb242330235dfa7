//! Wakes that a handler sent and that are not delivered yet.
//!
//! Whoever runs the handler takes the steps in here itself as long as it has time, which saves a message and a function
//! for each, and puts what is left on the queues. If it dies before, nothing is lost but time.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proofyard_core::port::Wake;

/// Wakes that wait; beyond these they are dropped, and the sweeper finds their work.
const MAX_WAITING: usize = 65_536;

#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<BTreeSet<Wake>>,
}

impl Outbox {
    pub fn put(&self, wakes: impl IntoIterator<Item = Wake>) {
        let mut waiting = self.waiting();
        let room = MAX_WAITING.saturating_sub(waiting.len());
        waiting.extend(wakes.into_iter().take(room));
    }

    /// The next step that can be taken here: a chain's, a scope's or a sink's. Pools and the judge are elsewhere.
    pub fn take_step(&self) -> Option<Wake> {
        let mut waiting = self.waiting();
        let step =
            waiting.iter().find(|wake| !matches!(wake, Wake::Pool { .. } | Wake::Judge { .. })).cloned()?;
        waiting.take(&step)
    }

    /// All that is left.
    pub fn take_all(&self) -> BTreeSet<Wake> {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<Wake>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
