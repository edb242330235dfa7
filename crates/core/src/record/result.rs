//! A result: recorded once, from whichever attempt and however late, if a verifier accepted it.
//!
//! It checks neither the scope nor the chain: an orphan's valid proof is kept for the block's return.
//!
//! A worker that only records may write whatever it likes under its tasks' keys. So whoever takes the next step asks again,
//! by the same rule, whether a stage may accept what a task says ([`accepted`]).

use crate::error::{Error, Refusal};
use crate::listing::delete_listing;
use crate::pipeline::{MAX_VERIFICATION_KEY_BYTES, Output, Pipeline};
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::state::{Marker, Metered, Scope, Task, TaskId, TaskResult, Worker, WorkerId, Wrong, WrongResult};
use crate::transaction::{Tx, transact};
use crate::yard::{Yard, boxed};

/// Match fields of one output, names and values together.
const MAX_FIELD_BYTES: usize = 1_024;
/// Of public values. An entry of the out log has those of all members of a quorum that agreed, 16 at most, with their keys,
/// and an item of DynamoDB has 400 KB; both are kept in hex.
pub const MAX_PUBLIC_VALUES_BYTES: usize = 8_192;
/// Of a proof system's name.
pub const MAX_PROOF_SYSTEM_BYTES: usize = 64;

/// What a worker reports: the artifact is stored already, and verified if it is a proof.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultReport {
    pub task: TaskId,
    pub slot: u32,
    pub claim: String,
    pub result: TaskResult,
    /// Measured while the attempt ran.
    pub metered: Option<Metered>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultOutcome {
    Accepted,
    /// The task has a result already (this one, if an earlier call's answer was lost).
    AlreadyAccepted,
}

impl Yard {
    /// What is wrong with an output for its stage, if anything; asked before it is recorded, since a wrong output
    /// is a failed attempt.
    #[boxed(?Send)]
    pub async fn fault_of(&self, task: &Task, result: &TaskResult) -> Result<Option<String>, Error> {
        let pipeline = self.pipeline(&task.id().chain(), task.pipeline()).await?;
        let (index, _) =
            pipeline.stage(&task.id().stage).ok_or_else(|| Refusal::UnknownTask(task.id().to_string()))?;
        Ok(fault(&pipeline, index, task.height(), task.id().index, result))
    }

    /// Accepts a result, once. The attempt need not be live: a late valid proof is welcome, also for a parked task.
    #[boxed(?Send)]
    pub async fn record_result(&self, report: &ResultReport) -> Result<ResultOutcome, Error> {
        if self.planted(PlantedBug::AdvanceBeforeRecord) {
            self.advance_too_early(report).await?;
        }
        if let Some(fault) = oversized(&report.result) {
            return Err(Refusal::OversizedResult { task: report.task.to_string(), fault }.into());
        }
        transact(&self.port, async |tx| {
            let task: Option<Task> = tx.check(&report.task.task_key()).await?;
            let mut task = task.ok_or_else(|| Refusal::UnknownTask(report.task.to_string()))?;
            self.free_slot(tx, &report.result.worker, report.slot, &report.claim).await?;
            if task.is_accepted() {
                return Ok(ResultOutcome::AlreadyAccepted);
            }
            delete_listing(tx, &task);
            tx.delete(report.task.marker_key());
            // Its block may have settled since nobody waited for it: it is looked at also if its message is lost.
            let is_expected = task.attempt(&report.claim).is_some();
            let is_looked_at = !is_expected && self.is_vote(&task).await?;
            let result = TaskResult { at_ms: self.port.now_ms(), ..report.result.clone() };
            self.charge_accepted(&mut task, &report.claim, report.metered).await?;
            task.accept(result, is_looked_at.then(|| self.due_in(0)));
            tx.put(&task)?;
            self.feed_parent(tx, &task).await?;
            self.clear_failures(tx, &report.result.worker).await?;
            if !self.planted(PlantedBug::ResultWakesNobody) {
                tx.send(Wake::Scope { scope: report.task.scope.clone() });
            }
            Ok(ResultOutcome::Accepted)
        })
        .await
    }

    /// Whether a quorum reads it.
    async fn is_vote(&self, task: &Task) -> Result<bool, Error> {
        let pipeline = self.pipeline(&task.id().chain(), task.pipeline()).await?;
        let Some((index, _)) = pipeline.stage(&task.id().stage) else { return Ok(false) };
        Ok(pipeline.is_voted_on(index))
    }

    async fn clear_failures(&self, tx: &mut Tx<'_>, worker: &WorkerId) -> Result<(), Error> {
        let worker: Option<Worker> = tx.peek(&Worker::key_of(worker)).await?;
        match worker.filter(|worker| worker.failures_in_row > 0) {
            Some(worker) => tx.put(&Worker { failures_in_row: 0, ..worker }),
            None => Ok(()),
        }
    }

    async fn advance_too_early(&self, report: &ResultReport) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            if tx.peek::<Marker>(&report.task.marker_key()).await?.is_some() {
                tx.delete(report.task.marker_key());
            }
            Ok(())
        })
        .await?;
        self.advance_scope(&report.task.scope).await
    }
}

/// What a task says was accepted; an error if that is nothing its stage may accept, whatever the worker says that wrote it.
pub(crate) fn accepted<'a>(
    pipeline: &Pipeline,
    scope: &Scope,
    id: &TaskId,
    task: Option<&'a Task>,
) -> Result<Option<&'a TaskResult>, WrongResult> {
    let Some((task, result)) = task.and_then(|task| Some((task, task.accepted()?))) else {
        return Ok(None);
    };
    let fault = match pipeline.stage(&id.stage) {
        None => Some("its pipeline has no such stage".to_owned()),
        Some(_) if task.id() != id => Some(format!("it calls itself {}", task.id())),
        Some((index, _)) => fault(pipeline, index, scope.heights().0, id.index, result),
    };
    match fault {
        None => Ok(Some(result)),
        Some(fault) => Err(WrongResult {
            task: id.clone(),
            worker: result.worker.clone(),
            why: Wrong::NotOfItsStage(fault),
        }),
    }
}

/// Why this cannot be the result of task `task` of stage `index`, if it cannot.
pub(crate) fn fault(
    pipeline: &Pipeline,
    index: usize,
    height: u64,
    task: u32,
    result: &TaskResult,
) -> Option<String> {
    let stage = &pipeline.stages[index];
    if stage.prover_at(height) != Some(&result.prover) {
        return Some(format!(
            "prover {} is not the one of stage {} at height {height}",
            result.prover, stage.name
        ));
    }
    if stage.output == Output::Proof && result.artifact.bytes == 0 {
        return Some("its proof has no bytes".into());
    }
    let oversized = oversized(result);
    if oversized.is_some() {
        return oversized;
    }
    let believed = stage.output == Output::Data || result.public_values.is_some();
    if !believed {
        return Some("no verifier read public values from the proof".into());
    }
    let other_key = pipeline.provers.get(&result.prover).and_then(|prover| {
        let found = result.verification_key.as_deref();
        prover.other_key(found).map(|pinned| wrong_key(&result.prover, found, pinned))
    });
    if other_key.is_some() || !stage.is_output(task) {
        return other_key;
    }
    pipeline.output_fault(index, result.list.as_ref().map(|list| list.count), &result.fields)
}

/// What takes more room than a result may.
fn oversized(result: &TaskResult) -> Option<String> {
    let hex_bytes = |value: &Option<String>| value.as_ref().map_or(0, |value| value.len().div_ceil(2));
    let sizes = [
        (
            "match fields",
            result.fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
            MAX_FIELD_BYTES,
        ),
        ("public values", hex_bytes(&result.public_values), MAX_PUBLIC_VALUES_BYTES),
        ("verification key", hex_bytes(&result.verification_key), MAX_VERIFICATION_KEY_BYTES),
        ("proof system's name", result.proof_system.as_ref().map_or(0, String::len), MAX_PROOF_SYSTEM_BYTES),
    ];
    let (what, bytes, most) = sizes.into_iter().find(|(_, bytes, most)| bytes > most)?;
    let verb = if what.ends_with('s') { "take" } else { "takes" };
    Some(format!("its {what} {verb} {bytes} bytes; at most {most} may be"))
}

fn wrong_key(prover: &str, found: Option<&str>, pinned: &str) -> String {
    let found = match found {
        Some(key) => format!("is of verification key {key}"),
        None => "names no verification key".to_owned(),
    };
    format!("the proof by prover {prover} {found}, and the pipeline pins {pinned}")
}
