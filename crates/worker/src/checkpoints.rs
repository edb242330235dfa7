//! Checkpoints of the attempt in work: kept in the yard's state by threads of their own, while the slot's thread watches over the
//! prover and its limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, Scope};
use std::time::Duration;

use proofyard_core::record::CheckpointOutcome;
use proofyard_core::state::TaskId;
use proofyard_prover::runner::Cancel;

use crate::home::WorkerHome;
use crate::worker_state::cancel_reason;

/// After an error of the storage it is tried again.
const ERROR_PAUSE: Duration = Duration::from_millis(200);

/// Has the checkpoints of one attempt kept.
pub trait Checkpoints {
    /// Begins to keep it; answers where it will be told that it is kept. Nothing comes from there where the attempt is over.
    fn keep(&self, text: String) -> Receiver<()>;
}

/// Where nothing is proved, nothing is kept.
pub(crate) struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn keep(&self, _text: String) -> Receiver<()> {
        sync_channel(1).1
    }
}

/// Those of a claimed task.
pub(crate) struct ClaimCheckpoints<'scope, 'env, H> {
    /// Within which its threads end.
    pub threads: &'scope Scope<'scope, 'env>,
    pub home: &'env H,
    /// Who it is, for the log.
    pub slot: String,
    pub task: TaskId,
    pub claim: String,
    pub cancel: Cancel,
    /// The attempt is over: what is not kept by now need not be.
    pub is_over: &'env AtomicBool,
}

impl<H: WorkerHome> Checkpoints for ClaimCheckpoints<'_, '_, H> {
    fn keep(&self, text: String) -> Receiver<()> {
        let (sender, kept) = sync_channel(1);
        let (home, is_over, cancel) = (self.home, self.is_over, self.cancel.clone());
        let (task, claim, slot) = (self.task.clone(), self.claim.clone(), self.slot.clone());
        let keep = move || {
            loop {
                match home.block_on(home.yard().record_checkpoint(&task, &claim, &text)) {
                    // The prover's call may have ended meanwhile.
                    Ok(CheckpointOutcome::Kept) => {
                        let _ = sender.send(());
                        return;
                    }
                    Ok(CheckpointOutcome::Obsolete(reason)) => return cancel.cancel(cancel_reason(reason)),
                    Err(error) => {
                        home.log_error(&slot, &error);
                        let is_over = || is_over.load(Ordering::Relaxed);
                        if !error.passes() || is_over() || !home.pause(ERROR_PAUSE) || is_over() {
                            return;
                        }
                    }
                }
            }
        };
        // Without a thread nothing is kept, and nothing comes.
        let spawned = Builder::new().name("checkpoint".into()).spawn_scoped(self.threads, keep);
        if let Err(error) = spawned {
            self.home.log_error(&self.slot, &error);
        }
        kept
    }
}
