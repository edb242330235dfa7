//! What an attempt used is written into its task when it ends, in the same transaction: by the time it took, the price and the
//! power of its pool in the pipeline that the task lives by, and what was measured.
//!
//! An attempt whose time nobody knows is not counted: it is one that was started and is in no sum, so that whoever reads the
//! sums sees that something is left out.

use crate::error::Error;
use crate::state::{Attempt, Metered, Task, Usage};
use crate::yard::Yard;

impl Yard {
    /// Adds an attempt that had its slot for so long.
    pub(crate) async fn charge(
        &self,
        task: &mut Task,
        attempt: &Attempt,
        slot_ms: u64,
        metered: Option<Metered>,
    ) -> Result<(), Error> {
        let pipeline = self.pipeline(&task.id().chain(), task.pipeline()).await?;
        if let Some(pool) = pipeline.pools.get(task.pool()) {
            task.use_up(Usage::of_attempt(attempt, pool, slot_ms, metered));
        }
        Ok(())
    }

    /// A result comes by this claim: adds its attempt, if that was not counted before as lost; and other copies of the task, which
    /// nobody needs from now on, where their times are of this clock.
    pub(crate) async fn charge_accepted(
        &self,
        task: &mut Task,
        claim: &str,
        metered: Option<Metered>,
    ) -> Result<(), Error> {
        let now_ms = self.port.now_ms();
        for attempt in task.attempts().to_vec() {
            let slot_ms = now_ms.saturating_sub(attempt.started_ms);
            if attempt.claim == claim {
                self.charge(task, &attempt, slot_ms, metered).await?;
            } else if self.port.has_yards_clock() {
                self.charge(task, &attempt, slot_ms, None).await?;
            }
        }
        Ok(())
    }
}
