//! A checkpoint: what a prover asks to be kept while it works, such as a remote job's id, and the task's next attempt is given,
//! whoever makes it and however the one before ended.
//!
//! It is on disk before the prover hears that it is kept. Only a live attempt may have one kept, so that a worker that was
//! lost writes nothing over what the next attempt has begun; of two copies of a task the later one to ask counts. It is kept in
//! the task, and goes when a result is accepted.

use crate::error::{Error, Refusal};
use crate::heartbeat::{ObsoleteReason, obsolete_reason};
use crate::planted_bug::PlantedBug;
use crate::state::{Task, TaskId};
use crate::transaction::transact;
use crate::yard::{Yard, boxed};

/// Longest checkpoint that is kept.
pub const MAX_CHECKPOINT_BYTES: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointOutcome {
    Kept,
    /// The attempt is not live any more: nothing is kept.
    Obsolete(ObsoleteReason),
}

impl Yard {
    /// Keeps what the next attempt at this task is to be given.
    #[boxed(?Send)]
    pub async fn record_checkpoint(
        &self,
        id: &TaskId,
        claim: &str,
        text: &str,
    ) -> Result<CheckpointOutcome, Error> {
        if text.len() > MAX_CHECKPOINT_BYTES {
            let bytes = text.len();
            let fault = format!("its checkpoint has {bytes} bytes; at most {MAX_CHECKPOINT_BYTES} are kept");
            return Err(Refusal::OversizedResult { task: id.to_string(), fault }.into());
        }
        transact(&self.port, async |tx| {
            // Also one that is over ends what it has under way by this answer.
            if !self.planted(PlantedBug::CheckpointNotDurable) {
                tx.durable();
            }
            let task: Option<Task> = tx.check(&id.task_key()).await?;
            let obsolete = obsolete_reason(claim, task.as_ref(), None);
            let is_unfenced = self.planted(PlantedBug::CheckpointUnfenced);
            if let Some(reason) = obsolete.filter(|reason| *reason != ObsoleteReason::Lost || !is_unfenced) {
                return Ok(CheckpointOutcome::Obsolete(reason));
            }
            let mut task = task.ok_or_else(|| Refusal::UnknownTask(id.to_string()))?;
            task.keep_checkpoint(text);
            tx.put(&task)?;
            Ok(CheckpointOutcome::Kept)
        })
        .await
    }
}
