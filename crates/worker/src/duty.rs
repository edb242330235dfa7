//! What a worker's slots are at, and whether they may take more.
//!
//! A closed worker takes nothing more. It closes when it has claimed as much as it may, when none of its slots had work
//! for long, and when its machine goes away.
//!
//! All of the worker's threads share it: slots take leave to claim and say what they run; the heartbeat's thread, and whoever
//! sees the machine go away, cancel that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofyard_prover::runner::Cancel;

pub(crate) struct Duty {
    idle_out: Option<Duration>,
    state: Mutex<State>,
}

struct State {
    /// What each slot works on, to be cancelled.
    running: HashMap<u32, Running>,
    /// Tasks that may still be claimed, less those that slots are just trying to claim.
    left: u64,
    /// When a slot last had work.
    worked: Instant,
    closed: bool,
    /// When the machine goes away.
    ends: Option<Instant>,
}

struct Running {
    claim: String,
    cancel: Cancel,
}

impl Duty {
    pub fn new(max_tasks: Option<u64>, idle_out: Option<Duration>) -> Self {
        let state = State {
            running: HashMap::new(),
            left: max_tasks.unwrap_or(u64::MAX),
            worked: Instant::now(),
            closed: false,
            ends: None,
        };
        Self { idle_out, state: Mutex::new(state) }
    }

    /// Leave to claim one task. A slot that gets none may end: whatever leave is given back later, as many slots that
    /// gave it are still there to use it.
    pub fn may_claim(&self) -> bool {
        let mut state = self.lock();
        if state.closed || state.left == 0 {
            return false;
        }
        state.left -= 1;
        true
    }

    /// No task came of that leave.
    pub fn claimed_none(&self) {
        let mut state = self.lock();
        state.left = state.left.saturating_add(1);
    }

    /// A slot has a task; the token ends its provers' calls.
    pub fn begin(&self, slot: u32, claim: &str) -> Cancel {
        let mut state = self.lock();
        let cancel = Cancel::new();
        if let Some(ends) = state.ends {
            cancel.cancel_at(ends);
        }
        state.running.insert(slot, Running { claim: claim.to_owned(), cancel: cancel.clone() });
        cancel
    }

    pub fn end(&self, slot: u32) {
        let mut state = self.lock();
        state.running.remove(&slot);
        state.worked = Instant::now();
    }

    /// How long an idle slot may wait before it looks here again. Closes the worker that was idle for too long.
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

    /// The machine goes away: nothing more is claimed, and what runs then is cancelled.
    pub fn leave(&self, by: Instant) {
        let mut state = self.lock();
        state.closed = true;
        state.ends = Some(state.ends.map_or(by, |known| known.min(by)));
        state.running.values().for_each(|running| running.cancel.cancel_at(by));
    }

    pub fn cancel_claim(&self, slot: u32, claim: &str) {
        let state = self.lock();
        if let Some(running) = state.running.get(&slot).filter(|running| running.claim == claim) {
            running.cancel.cancel();
        }
    }

    pub fn cancel_all(&self) {
        self.lock().running.values().for_each(|running| running.cancel.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_leave_to_claim_that_brought_no_task_is_another_slots() {
        let duty = Duty::new(Some(2), None);
        assert!(duty.may_claim() && duty.may_claim() && !duty.may_claim());
        duty.claimed_none();
        assert!(duty.may_claim() && !duty.may_claim());
    }

    #[test]
    fn a_worker_without_limits_waits_and_claims_for_ever() {
        let duty = Duty::new(None, None);
        duty.claimed_none();
        assert!((0..1_000).all(|_| duty.may_claim()));
        assert_eq!(duty.close_if_idle(), Duration::MAX);
    }

    #[test]
    fn only_a_worker_with_no_slot_at_work_is_idle() {
        let duty = Duty::new(None, Some(Duration::ZERO));
        duty.begin(0, "claim");
        duty.close_if_idle();
        assert!(duty.may_claim());
        duty.end(0);
        assert_eq!(duty.close_if_idle(), Duration::ZERO);
        assert!(!duty.may_claim());
        let patient = Duty::new(None, Some(LONG));
        assert!(patient.close_if_idle() > LONG / 2 && patient.may_claim());
    }

    #[test]
    fn who_leaves_ends_what_runs_and_what_just_begins_at_the_first_time_named() {
        let duty = Duty::new(None, None);
        let runs = duty.begin(0, "early");
        duty.leave(Instant::now() + LONG);
        assert!(!duty.may_claim());
        assert!(!runs.is_cancelled() && !duty.begin(1, "late").is_cancelled());
        duty.leave(Instant::now());
        duty.leave(Instant::now() + LONG);
        assert!(runs.is_cancelled() && duty.begin(2, "later").is_cancelled());
    }

    #[test]
    fn a_claim_is_cancelled_only_under_its_own_id() {
        let duty = Duty::new(None, None);
        let cancel = duty.begin(0, "new");
        duty.cancel_claim(0, "old");
        assert!(!cancel.is_cancelled());
        duty.cancel_claim(0, "new");
        assert!(cancel.is_cancelled());
    }
}
