//! The read cache of one invocation, so that it reads nothing twice. [`View`] decides what may be kept: everything in it was
//! true at the invocation's own last commit, or later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use proofyard_core::port::{Batch, CommitOutcome, Key, PortError, Stored};
use proofyard_core::view::View;

#[derive(Default)]
pub(super) struct ReadCache {
    view: Mutex<View>,
}

impl ReadCache {
    /// What is known of a key; `None` if it must be read.
    pub fn known(&self, key: &Key) -> Option<Option<Stored>> {
        self.view().known(key)
    }

    pub fn learn(&self, key: &Key, stored: &Option<Stored>) {
        self.view().learn(key, stored.clone());
    }

    pub fn committed(&self, batch: &Batch, outcome: &Result<CommitOutcome, PortError>) {
        self.view().committed(batch, outcome);
    }

    /// Everything is read again from here on. Says whether anything was known.
    pub fn forget(&self) -> bool {
        self.view().forget()
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
