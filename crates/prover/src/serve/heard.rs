//! What the reading thread has heard about the request in work.
//!
//! It may hear of a request before the prover has begun it, so everything is noted under the request's id. Only one request is
//! in work at a time: what is heard of another takes the place of what was heard of the last.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::message::{CancelReason, News, Notice};

#[derive(Default)]
pub(super) struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    id: String,
    kept: u64,
    cancelled: Option<CancelReason>,
    /// The input is over: the yard has gone, or wants nothing more.
    ended: bool,
}

impl Heard {
    pub fn note(&self, notice: Notice) {
        let mut state = self.lock();
        if state.id != notice.id {
            *state = State { id: notice.id, ended: state.ended, ..State::default() };
        }
        match notice.news {
            News::Checkpointed => state.kept += 1,
            News::Cancel { reason } => state.cancelled = Some(reason),
        }
        self.changed.notify_all();
    }

    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Why this request is no longer wanted, if it is not.
    pub fn cancelled(&self, id: &str) -> Option<CancelReason> {
        self.lock().cancelled(id)
    }

    /// Waits until the request is cancelled, no longer than this.
    pub fn wait(&self, id: &str, time: Duration) -> Option<CancelReason> {
        let until = Instant::now().checked_add(time);
        let mut state = self.lock();
        loop {
            let left = until.map_or(time, |until| until.saturating_duration_since(Instant::now()));
            let cancelled = state.cancelled(id);
            if cancelled.is_some() || left.is_zero() {
                return cancelled;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until so many of the request's checkpoints are kept; or answers why they will not be. A worker that stops still
    /// keeps them, for as long as it lets the prover live.
    pub fn wait_until_kept(&self, id: &str, checkpoints: u64) -> Result<(), CancelReason> {
        let mut state = self.lock();
        loop {
            if state.id == id && state.kept >= checkpoints {
                return Ok(());
            }
            match state.cancelled(id) {
                Some(CancelReason::Stopping) if !state.ended => {}
                Some(reason) => return Err(reason),
                None => {}
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cancelled(&self, id: &str) -> Option<CancelReason> {
        let cancelled = self.cancelled.filter(|_| self.id == id);
        cancelled.or(self.ended.then_some(CancelReason::Stopping))
    }
}
