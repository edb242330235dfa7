//! What workers report of attempts that end without a result, and workers that fail task after task.
//!
//! Ends attempts by `attempt_end.rs`, frees their slots, and counts failures in a row in the worker's item.

use super::attempt_end::{Ending, Failed, end_attempt};
use crate::error::Error;
use crate::pipeline::Pool;
use crate::state::{ChainName, FailureKind, Metered, Slot, Task, TaskId, Worker, WorkerId};
use crate::transaction::{Tx, transact};
use crate::yard::{Yard, boxed};

/// Longest failure message that is kept. An item of DynamoDB has 400 KB at most and costs by its size, and a task keeps
/// [`Task::MAX_NOTES`] of these with their logs.
pub const MESSAGE_BYTES: usize = 2_048;
/// Log lines that are kept of one attempt, the last ones, and the most of each.
pub const LOG_LINES: usize = 20;
pub const LOG_LINE_BYTES: usize = 512;
/// A worker is quarantined for so long at most, however often it comes back and fails again, unless its pool says more.
const MAX_QUARANTINE_MS: u64 = 3_600_000;

/// A worker reports that an attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReport {
    pub worker: WorkerId,
    pub slot: u32,
    pub claim: String,
    pub task: TaskId,
    pub kind: FailureKind,
    pub message: String,
    /// The prover's last log lines.
    pub log: Vec<String>,
    /// Measured while the attempt ran.
    pub metered: Option<Metered>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureOutcome {
    Retried,
    Parked,
    /// Another copy of the task still runs.
    OtherCopyRuns,
    /// The attempt was not live any more; nothing was counted.
    Stale,
}

impl Yard {
    /// Records that an attempt failed, and frees the slot.
    #[boxed(?Send)]
    pub async fn record_failure(&self, report: &FailureReport) -> Result<FailureOutcome, Error> {
        transact(&self.port, async |tx| {
            let worker: Option<Worker> = tx.peek(&Worker::key_of(&report.worker)).await?;
            let pool = match &worker {
                Some(worker) => self.pool_of(&report.task.chain(), &worker.pool).await?,
                None => None,
            };
            let ending = Ending::Failed(Failed {
                kind: report.kind,
                message: cut(&report.message, MESSAGE_BYTES),
                log: kept_lines(&report.log),
                alone: worker.is_some_and(|worker| worker.alone),
                avoid_ms: pool.as_ref().map_or(0, |pool| pool.quarantine_ms),
                metered: report.metered,
            });
            let outcome = self.end(tx, &report.task, &report.claim, ending).await?;
            self.free_slot(tx, &report.worker, report.slot, &report.claim).await?;
            if outcome != FailureOutcome::Stale && report.kind.is_blamed() {
                self.count_against(tx, &report.worker, pool).await?;
            }
            Ok(outcome)
        })
        .await
    }

    /// Records that a worker releases an attempt, and frees the slot.
    #[boxed(?Send)]
    pub async fn record_release(
        &self,
        worker: &WorkerId,
        slot: u32,
        claim: &str,
        task: &TaskId,
    ) -> Result<(), Error> {
        self.record_metered_release(worker, slot, claim, task, None).await
    }

    /// The same, with what was measured while the attempt ran.
    pub(crate) async fn record_metered_release(
        &self,
        worker: &WorkerId,
        slot: u32,
        claim: &str,
        task: &TaskId,
        metered: Option<Metered>,
    ) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            self.end(tx, task, claim, Ending::Released { metered }).await?;
            self.free_slot(tx, worker, slot, claim).await
        })
        .await
    }

    /// Ends the attempt with this claim, if it is live.
    async fn end(
        &self,
        tx: &mut Tx<'_>,
        id: &TaskId,
        claim: &str,
        how: Ending,
    ) -> Result<FailureOutcome, Error> {
        let task: Option<Task> = tx.check(&id.task_key()).await?;
        let Some(mut task) = task.filter(|task| task.attempt(claim).is_some()) else {
            return Ok(FailureOutcome::Stale);
        };
        let outcome = end_attempt(self, tx, &mut task, claim, how).await?;
        tx.put(&task)?;
        Ok(outcome)
    }

    /// Empties the slot if it still holds this claim.
    pub(crate) async fn free_slot(
        &self,
        tx: &mut Tx<'_>,
        worker: &WorkerId,
        slot: u32,
        claim: &str,
    ) -> Result<(), Error> {
        let held: Option<Slot> = tx.check(&Slot::key_of(worker, slot)).await?;
        if let Some(held) = held.filter(|slot| slot.holds(claim)) {
            tx.put(&Slot { held: None, ..held })?;
        }
        Ok(())
    }

    /// A worker that fails task after task is quarantined, and for twice as long if it fails again when it comes back:
    /// one that can prove nothing uses up few attempts.
    async fn count_against(
        &self,
        tx: &mut Tx<'_>,
        worker: &WorkerId,
        pool: Option<Pool>,
    ) -> Result<(), Error> {
        let Some(mut worker): Option<Worker> = tx.check(&Worker::key_of(worker)).await? else {
            return Ok(());
        };
        let now_ms = self.port.now_ms();
        // What its other slots had begun before is no news.
        if worker.quarantined_until_ms.is_some_and(|until_ms| until_ms > now_ms) {
            return Ok(());
        }
        worker.failures_in_row += 1;
        if let Some(pool) = pool
            && let Some(again) = worker.failures_in_row.checked_sub(pool.quarantine_after)
            && !worker.alone
        {
            let longest_ms = MAX_QUARANTINE_MS.max(pool.quarantine_ms);
            let for_ms = pool.quarantine_ms.saturating_mul(1 << again.min(32)).min(longest_ms);
            worker.quarantined_until_ms = Some(now_ms.saturating_add(for_ms));
        }
        tx.put(&worker)
    }

    async fn pool_of(&self, chain: &ChainName, pool: &str) -> Result<Option<Pool>, Error> {
        Ok(self.chain(chain).await?.1.pools.get(pool).cloned())
    }
}

fn kept_lines(log: &[String]) -> Vec<String> {
    let from = log.len().saturating_sub(LOG_LINES);
    log[from..].iter().map(|line| cut(line, LOG_LINE_BYTES)).collect()
}

/// The beginning of a text, where it is longer.
fn cut(text: &str, limit_bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit_bytes.saturating_sub(CUT.len()));
    format!("{}{CUT}", &text[..end])
}
