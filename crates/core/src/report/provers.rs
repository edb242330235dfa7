//! What each prover did: one row for each stage, prover and proof system.

use std::collections::BTreeMap;

use serde::Serialize;

use super::TrustedSetup;
use super::figures::{percentile, share};
use super::spending::{SpendingFigures, UsedByEach};
use crate::pipeline::{Output, Stage};
use crate::spending::Used;
use crate::state::{Task, TaskResult};

/// The tasks of one prover in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProverFigures {
    pub stage: String,
    pub prover: String,
    /// As it named it with its proofs.
    pub proof_system: Option<String>,
    pub output: Output,
    /// What it makes commits, alone or in a quorum.
    pub commits: bool,
    /// Without those that a quorum cancelled.
    pub tasks: u64,
    pub cancelled: u64,
    pub accepted: u64,
    /// Accepted within the deadline since the block's acknowledgement; of a cut, since that of its first block.
    pub on_time: u64,
    /// From 0 to 1, of its tasks.
    pub on_time_share: Option<f64>,
    pub prove_p50_ms: Option<u64>,
    pub prove_p99_ms: Option<u64>,
    pub verify_p50_ms: Option<u64>,
    pub bytes_p50: Option<u64>,
    pub bytes_max: Option<u64>,
    /// The least that it stated.
    pub security_bits_min: Option<u32>,
    pub trusted_setup: TrustedSetup,
    pub attempts: u64,
    /// As counted now: an operator's `retry` starts a task's counts again.
    pub failures: u64,
    pub losses: u64,
    pub crashes: u64,
    pub delays: u64,
    /// Of each task that has a result, all its attempts; the sums are of all tasks.
    pub spending: SpendingFigures,
}

/// One task, and what it is held against.
pub(super) struct Judged<'a> {
    pub(super) stage: &'a Stage,
    pub(super) task: &'a Task,
    pub(super) commits: bool,
    /// Until when its proof is on time.
    pub(super) until_ms: u64,
}

#[derive(Default)]
pub(super) struct ProverSums {
    /// By stage and prover.
    rows: BTreeMap<(String, String), Sums>,
}

#[derive(Default)]
struct Sums {
    output: Option<Output>,
    commits: bool,
    by_system: BTreeMap<Option<String>, Done>,
    /// Tasks without a result have no proof system.
    rest: Counts,
    rest_used: Used,
}

#[derive(Default)]
struct Done {
    counts: Counts,
    on_time: u64,
    results: Vec<Kept>,
    used: UsedByEach,
    security_bits_min: Option<u32>,
    trusted_setup: Option<TrustedSetup>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    tasks: u64,
    cancelled: u64,
    attempts: u64,
    failures: u64,
    losses: u64,
    crashes: u64,
    delays: u64,
}

/// The figures of one result.
struct Kept {
    prove_ms: u64,
    verify_ms: u64,
    bytes: u64,
}

impl ProverSums {
    pub(super) fn add(&mut self, judged: &Judged<'_>) {
        let Judged { stage, task, commits, until_ms } = judged;
        let result = task.accepted();
        let planned = || stage.prover_at(task.height()).unwrap_or_default().to_owned();
        let prover = result.map_or_else(planned, |result| result.prover.clone());
        let sums = self.rows.entry((stage.name.clone(), prover)).or_default();
        sums.output = Some(stage.output);
        sums.commits |= commits;
        match result {
            Some(result) => {
                let done = sums.by_system.entry(result.proof_system.clone()).or_default();
                done.counts.add(task);
                done.used.add(Used::of(task));
                done.add(result, *until_ms);
            }
            None => {
                sums.rest.add(task);
                sums.rest_used = sums.rest_used.with(Used::of(task));
            }
        }
    }

    /// In the order of these stages; others last.
    pub(super) fn figures(self, stages: &[Stage]) -> Vec<ProverFigures> {
        let place = |name: &str| stages.iter().position(|stage| stage.name == name).unwrap_or(stages.len());
        let mut figures: Vec<_> =
            self.rows.into_iter().flat_map(|((stage, prover), sums)| sums.figures(&stage, &prover)).collect();
        figures.sort_by_key(|row| place(&row.stage));
        figures
    }
}

impl Sums {
    fn figures(mut self, stage: &str, prover: &str) -> Vec<ProverFigures> {
        // What has no result counts where most of the prover's results are.
        let most =
            self.by_system.iter().max_by_key(|(_, done)| done.results.len()).map(|(name, _)| name.clone());
        let main = self.by_system.entry(most.flatten()).or_default();
        main.counts = main.counts.sum(self.rest);
        main.used.add_to_sum(self.rest_used);
        let (output, commits) = (self.output.unwrap_or(Output::Proof), self.commits);
        let rows = self.by_system.into_iter();
        rows.map(|(system, done)| done.figures(stage, prover, system, output, commits)).collect()
    }
}

impl Done {
    fn add(&mut self, result: &TaskResult, until_ms: u64) {
        self.on_time += u64::from(result.at_ms <= until_ms);
        self.results.push(Kept {
            prove_ms: result.prove_ms,
            verify_ms: result.verify_ms,
            bytes: result.artifact.bytes,
        });
        self.security_bits_min = self.security_bits_min.into_iter().chain(result.security_bits).min();
        let stated = TrustedSetup::from(result.trusted_setup);
        self.trusted_setup = Some(self.trusted_setup.map_or(stated, |before| before.with(stated)));
    }

    fn figures(
        self,
        stage: &str,
        prover: &str,
        proof_system: Option<String>,
        output: Output,
        commits: bool,
    ) -> ProverFigures {
        let sorted = |figure: fn(&Kept) -> u64| {
            let mut figures: Vec<u64> = self.results.iter().map(figure).collect();
            figures.sort_unstable();
            figures
        };
        let (prove, bytes) = (sorted(|kept| kept.prove_ms), sorted(|kept| kept.bytes));
        ProverFigures {
            stage: stage.to_owned(),
            prover: prover.to_owned(),
            proof_system,
            output,
            commits,
            tasks: self.counts.tasks,
            cancelled: self.counts.cancelled,
            accepted: self.results.len() as u64,
            on_time: self.on_time,
            on_time_share: share(self.on_time, self.counts.tasks),
            prove_p50_ms: percentile(&prove, 50),
            prove_p99_ms: percentile(&prove, 99),
            verify_p50_ms: percentile(&sorted(|kept| kept.verify_ms), 50),
            bytes_p50: percentile(&bytes, 50),
            bytes_max: bytes.last().copied(),
            security_bits_min: self.security_bits_min,
            trusted_setup: self.trusted_setup.unwrap_or_default(),
            attempts: self.counts.attempts,
            failures: self.counts.failures,
            losses: self.counts.losses,
            crashes: self.counts.crashes,
            delays: self.counts.delays,
            spending: self.used.figures(),
        }
    }
}

impl Counts {
    fn add(&mut self, task: &Task) {
        let cancelled = task.is_cancelled();
        self.tasks += u64::from(!cancelled);
        self.cancelled += u64::from(cancelled);
        self.attempts += u64::from(task.started());
        self.failures += u64::from(task.failures());
        self.losses += u64::from(task.losses());
        self.crashes += u64::from(task.crashes());
        self.delays += u64::from(task.delays());
    }

    fn sum(self, other: Self) -> Self {
        Self {
            tasks: self.tasks + other.tasks,
            cancelled: self.cancelled + other.cancelled,
            attempts: self.attempts + other.attempts,
            failures: self.failures + other.failures,
            losses: self.losses + other.losses,
            crashes: self.crashes + other.crashes,
            delays: self.delays + other.delays,
        }
    }
}
