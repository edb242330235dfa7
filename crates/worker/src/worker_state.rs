//! What each slot of a worker runs, and whether the slots may claim more.
//!
//! A worker claims no more tasks once it has claimed as many as it may, once its slots were idle for too long, and once it
//! drains because its machine goes away.
//!
//! All threads of the worker share it: a slot reserves each claim and notes what it runs; the heartbeat's thread, and the
//! thread that sees the machine go away, cancel running attempts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::heartbeat::ObsoleteReason;
use proofyard_prover::CancelReason;
use proofyard_prover::runner::Cancel;

pub(crate) struct WorkerState {
    idle_out: Option<Duration>,
    shared: Mutex<Shared>,
}

struct Shared {
    /// What each slot works on, so that it can be cancelled.
    running: HashMap<u32, Running>,
    /// How many tasks may still be claimed, without those reserved by slots that are claiming now.
    left: u64,
    /// When a slot last had work.
    worked: Instant,
    /// No slot may claim any more.
    closed: bool,
    /// When the machine goes away, and running attempts are cancelled.
    ends: Option<Instant>,
}

struct Running {
    claim: String,
    cancel: Cancel,
}

impl WorkerState {
    pub fn new(max_tasks: Option<u64>, idle_out: Option<Duration>) -> Self {
        let shared = Shared {
            running: HashMap::new(),
            left: max_tasks.unwrap_or(u64::MAX),
            worked: Instant::now(),
            closed: false,
            ends: None,
        };
        Self { idle_out, shared: Mutex::new(shared) }
    }

    /// Reserves the claim of one task; false if no more may be claimed. A slot that gets none may end: a reservation that
    /// is returned later can be used by the slot that returned it.
    pub fn reserve_claim(&self) -> bool {
        let mut state = self.lock();
        if state.closed || state.left == 0 {
            return false;
        }
        state.left -= 1;
        true
    }

    /// Returns a reservation by which no task was claimed.
    pub fn return_claim(&self) {
        let mut state = self.lock();
        state.left = state.left.saturating_add(1);
    }

    /// A slot begins an attempt; the token cancels it.
    pub fn begin_attempt(&self, slot: u32, claim: &str) -> Cancel {
        let mut state = self.lock();
        let cancel = Cancel::new();
        if let Some(ends) = state.ends {
            cancel.cancel_at(ends, CancelReason::Stopping);
        }
        state.running.insert(slot, Running { claim: claim.to_owned(), cancel: cancel.clone() });
        cancel
    }

    pub fn end_attempt(&self, slot: u32) {
        let mut state = self.lock();
        state.running.remove(&slot);
        state.worked = Instant::now();
    }

    /// How long an idle slot may wait before it calls this again. Closes the worker if it was idle for too long.
    pub fn close_if_idle(&self) -> Duration {
        let Some(idle_out) = self.idle_out else { return Duration::MAX };
        let mut state = self.lock();
        if !state.running.is_empty() {
            return idle_out;
        }
        let left = idle_out.saturating_sub(state.worked.elapsed());
        state.closed |= left.is_zero();
        left
    }

    /// Drains the worker, since its machine goes away: nothing more is claimed, and attempts that still run at `by` are
    /// cancelled.
    pub fn drain(&self, by: Instant) {
        let mut state = self.lock();
        state.closed = true;
        state.ends = Some(state.ends.map_or(by, |known| known.min(by)));
        state.running.values().for_each(|running| running.cancel.cancel_at(by, CancelReason::Stopping));
    }

    pub fn cancel_claim(&self, slot: u32, claim: &str, reason: CancelReason) {
        let state = self.lock();
        if let Some(running) = state.running.get(&slot).filter(|running| running.claim == claim) {
            running.cancel.cancel(reason);
        }
    }

    pub fn cancel_all(&self) {
        self.lock().running.values().for_each(|running| running.cancel.cancel(CancelReason::Stopping));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a prover hears of why the yard does not need its attempt.
pub(crate) fn cancel_reason(obsolete: ObsoleteReason) -> CancelReason {
    match obsolete {
        ObsoleteReason::Lost => CancelReason::Lost,
        ObsoleteReason::Unwanted => CancelReason::Unwanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_reservation_that_is_returned_can_be_used_again() {
        let state = WorkerState::new(Some(2), None);
        assert!(state.reserve_claim() && state.reserve_claim() && !state.reserve_claim());
        state.return_claim();
        assert!(state.reserve_claim() && !state.reserve_claim());
    }

    #[test]
    fn a_worker_without_limits_waits_and_claims_for_ever() {
        let state = WorkerState::new(None, None);
        state.return_claim();
        assert!((0..1_000).all(|_| state.reserve_claim()));
        assert_eq!(state.close_if_idle(), Duration::MAX);
    }

    #[test]
    fn only_a_worker_with_no_slot_at_work_is_idle() {
        let state = WorkerState::new(None, Some(Duration::ZERO));
        state.begin_attempt(0, "claim");
        state.close_if_idle();
        assert!(state.reserve_claim());
        state.end_attempt(0);
        assert_eq!(state.close_if_idle(), Duration::ZERO);
        assert!(!state.reserve_claim());
        let still_open = WorkerState::new(None, Some(LONG));
        assert!(still_open.close_if_idle() > LONG / 2 && still_open.reserve_claim());
    }

    #[test]
    fn a_draining_worker_cancels_what_runs_and_what_just_begins_at_the_earliest_time_named() {
        let state = WorkerState::new(None, None);
        let runs = state.begin_attempt(0, "early");
        state.drain(Instant::now() + LONG);
        assert!(!state.reserve_claim());
        assert!(!runs.is_cancelled() && !state.begin_attempt(1, "late").is_cancelled());
        state.drain(Instant::now());
        state.drain(Instant::now() + LONG);
        assert!(runs.is_cancelled() && state.begin_attempt(2, "later").is_cancelled());
    }

    #[test]
    fn a_claim_is_cancelled_only_under_its_own_id() {
        let state = WorkerState::new(None, None);
        let cancel = state.begin_attempt(0, "new");
        state.cancel_claim(0, "old", CancelReason::Unwanted);
        assert_eq!(cancel.reason(), None);
        state.cancel_claim(0, "new", CancelReason::Unwanted);
        state.cancel_all();
        assert_eq!(cancel.reason(), Some(CancelReason::Unwanted));
    }
}
