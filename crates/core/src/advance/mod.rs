//! Advancing: read again, take every step that is now due. Anyone may, at any time, any number of times.

mod adopt;
mod chain;
mod commit;
mod cuts;
mod deadline;
mod groups;
pub(crate) mod handed_on;
mod next_cut;
mod open;
mod quorum;
mod reduce;
mod reorg;
mod scope;

pub(crate) use deadline::deadline_ms;
pub(crate) use handed_on::handed_on_by;
pub(crate) use next_cut::NextCut;

use crate::error::Error;
use crate::port::Wake;
use crate::yard::{Yard, boxed};

/// What a look at a scope found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub moved: bool,
    /// When the newest of its groups opened or was decided.
    pub latest_ms: u64,
}

/// What a look at one stage found.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) moved: bool,
    pub(crate) over: bool,
}

impl Step {
    pub(crate) const MOVED: Self = Self { moved: true, over: false };
    pub(crate) const WAITS: Self = Self { moved: false, over: false };
    pub(crate) const OVER: Self = Self { moved: false, over: true };
}

impl Yard {
    /// Takes the steps that a wake hints at. Pools, sinks and the judge are the home's to wake.
    #[boxed(?Send)]
    pub async fn advance(&self, wake: &Wake) -> Result<(), Error> {
        match wake {
            Wake::Chain { chain } => self.advance_chain(chain).await,
            Wake::Scope { scope } => self.advance_scope(scope).await,
            Wake::Pool { .. } | Wake::Sink { .. } | Wake::Judge { .. } => Ok(()),
        }
    }
}
