//! The deadline's rule: when a block that is not proved is given up. Commits, explain and report ask it here.

use crate::pipeline::Late;
use crate::state::{ChainState, Scope};
use crate::yard::Yard;

/// When a block is given up: its time counts from when it is on the chain and the chain takes work, and from the beginning
/// again after a pause or a halt.
pub(crate) fn deadline_ms(late: Late, state: &ChainState, scope: &Scope) -> Option<u64> {
    match late {
        Late::Wait => None,
        Late::Miss { deadline_ms } => {
            let canonical_ms = scope.canonical_ms().unwrap_or(scope.recorded_ms());
            // A pause after it was given up says nothing of it.
            let counts = scope.missed_ms().is_none_or(|missed_ms| state.works_since_ms <= missed_ms);
            let works_since_ms = if counts { state.works_since_ms } else { 0 };
            Some(canonical_ms.max(works_since_ms).saturating_add(deadline_ms))
        }
    }
}

impl Yard {
    pub(crate) fn is_late(&self, late: Late, state: &ChainState, scope: &Scope) -> bool {
        let now_ms = self.time_for_lateness_ms();
        deadline_ms(late, state, scope).is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}
