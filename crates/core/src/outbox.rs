//! Wakes that a handler sent and that are not delivered yet.
//!
//! The invocation that ran the handler takes the steps that they name itself while it has time, which saves a message and
//! a function call for each, and puts the rest on the queues. If it dies before, nothing is lost but time: wakes are hints,
//! and the sweeper finds their work.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::port::Wake;

/// Wakes beyond these are dropped; the sweeper finds their work.
const MAX_WAKES: usize = 65_536;

#[derive(Default)]
pub struct Outbox {
    wakes: Mutex<BTreeSet<Wake>>,
}

impl Outbox {
    pub fn put(&self, wakes: impl IntoIterator<Item = Wake>) {
        let mut kept = self.wakes();
        let room = MAX_WAKES.saturating_sub(kept.len());
        kept.extend(wakes.into_iter().take(room));
    }

    /// The next step that this process can take itself: a chain's, a scope's or a sink's. Wakes of pools are for workers, and
    /// those of the judge for the judge.
    pub fn take_step(&self) -> Option<Wake> {
        self.take(|wake| !matches!(wake, Wake::Pool { .. } | Wake::Judge { .. }))
    }

    /// The next one of these.
    pub fn take(&self, is_one: impl Fn(&Wake) -> bool) -> Option<Wake> {
        let mut kept = self.wakes();
        let next = kept.iter().find(|wake| is_one(wake)).cloned()?;
        kept.take(&next)
    }

    /// All that is left.
    pub fn take_all(&self) -> BTreeSet<Wake> {
        std::mem::take(&mut *self.wakes())
    }

    fn wakes(&self) -> MutexGuard<'_, BTreeSet<Wake>> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
