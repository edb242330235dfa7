//! How the slots of one worker claim where its home is on this machine: one after another, since two that claim at once want
//! the same task, and one of them has to begin anew.
//!
//! A ring wakes all idle slots, and often there is one task for them. So a claim that found nothing speaks for those that
//! wait for their turn, until the bell rings again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bell::Bell;

/// For so long a claim that found nothing speaks for others. What no ring tells of, such as a time that has come, is found by
/// the next claim after that.
const SPEAKS_FOR: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Claiming(Mutex<Option<Nothing>>);

/// A claim that found nothing.
struct Nothing {
    /// How often the bell had rung when it began.
    rung: u64,
    at: Instant,
}

/// A slot's turn to claim.
pub(crate) struct ClaimTurn<'a> {
    found: MutexGuard<'a, Option<Nothing>>,
    rung: u64,
}

impl Claiming {
    /// Waits for the slot's turn; `None` if another slot has found meanwhile that there is nothing.
    pub fn begin(&self, bell: &Bell) -> Option<ClaimTurn<'_>> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rung = bell.rung();
        match &*found {
            Some(nothing) if nothing.rung == rung && nothing.at.elapsed() < SPEAKS_FOR => None,
            _ => Some(ClaimTurn { found, rung }),
        }
    }
}

impl ClaimTurn<'_> {
    pub fn end(mut self, is_empty: bool) {
        *self.found = is_empty.then(|| Nothing { rung: self.rung, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_slot_did_not_find_others_do_not_look_for_until_the_bell_rings() {
        let (claiming, bell) = (Claiming::default(), Bell::default());
        claiming.begin(&bell).expect("nobody has looked").end(true);
        assert!(claiming.begin(&bell).is_none());
        bell.ring();
        claiming.begin(&bell).expect("it rang").end(false);
        let turn = claiming.begin(&bell).expect("there was something, and there may be more");
        bell.ring();
        turn.end(true);
        claiming.begin(&bell).expect("it rang while the claim was made").end(true);
        *claiming.0.lock().unwrap() = Some(Nothing { rung: bell.rung(), at: Instant::now() - SPEAKS_FOR });
        assert!(claiming.begin(&bell).is_some(), "a time may have come");
    }
}
