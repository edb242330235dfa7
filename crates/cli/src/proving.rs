//! Proving what a blocks file has to its end, or what a source brings until it is stopped: the machine at work, what is shown of it, and how it may end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proofyard_core::Pipeline;
use proofyard_core::committed::Passed;
use proofyard_core::error::{Code, Error};
use proofyard_core::port::Port;
use proofyard_core::state::{ChainName, OutKind};
use proofyard_core::status::{Finished, ParkedTask};
use proofyard_embedded::block_on;
use proofyard_embedded::machine::{Feed, FeedError, GuardCommand, LocalIntake, Machine, Source};
use proofyard_prover::runner::adopt_orphans;
use proofyard_worker::isolation::{Isolation, Wanted};
use serde_json::json;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::signals::{Signals, StopSignal};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be proved, and where.
pub struct Job<'a> {
    /// The pipeline file's text, and what it says.
    pub text: &'a str,
    pub pipeline: &'a Pipeline,
    /// File sinks with relative names write below it.
    pub sink_base: &'a Path,
    pub input: Input,
    /// Sinks that an edited pipeline may take away from a log before they got all of it.
    pub give_up_sinks: BTreeSet<String>,
    pub data: &'a Path,
    pub guard: &'a GuardCommand,
    /// What is to keep provers from their verifiers.
    pub isolation: Wanted,
}

type BringFacts = dyn FnOnce(&LocalIntake) -> Result<(), FeedError> + Send;

/// Where the blocks come from.
pub enum Input {
    File(Feed),
    /// Anything that brings facts until the machine stops.
    Source(Box<BringFacts>),
}

/// How it ended, with the yard stopped in order.
pub struct Ended {
    pub how: End,
    pub figures: Figures,
}

pub enum End {
    Finished,
    /// Nothing moves until an operator acts.
    Stuck {
        parked: Vec<ParkedTask>,
        reason: String,
    },
    Stopped(StopSignal),
}

pub struct Figures {
    /// Of the whole chain.
    pub blocks_committed: u64,
    pub blocks_missed: u64,
    /// Of this run.
    pub committed_now: u64,
    pub proofs_accepted: u64,
    pub took: Duration,
    /// What tasks cost outside prover and verifier, ascending.
    pub overheads: Vec<Duration>,
}

/// Works until the file is proved (or all of it that can be, where more blocks may follow), nothing moves, or a signal
/// comes.
pub fn prove(job: Job<'_>, progress: &Arc<Progress>, signals: &Signals) -> Result<Ended, Failure> {
    let shown = Arc::clone(progress);
    adopt_orphans().map_err(|error| {
        let message = "this process cannot take over the processes that provers leave behind";
        Failure::work_as(Code::ProcessFault, message).caused_by(&error)
    })?;
    let mut machine = Machine::open(job.data, true, move |error| shown.note(error))?;
    let isolation = isolate(&machine, &job, progress)?;
    block_on(machine.yard().change_pipeline(job.text, &job.give_up_sinks))?;
    let mut run = Run::begin(&job, progress);
    run.sequence = block_on(machine.yard().frontier(run.chain))?.next_sequence;
    machine.start(std::slice::from_ref(job.pipeline), job.guard, isolation, job.sink_base)?;
    run.feeder = Some(match job.input {
        Input::File(feed) => machine.feed(run.chain, feed)?,
        Input::Source(source) => machine.run_source(source)?,
    });
    let how = run.follow(&machine, signals);
    progress.end();
    let figures = run.figures(&machine);
    // In order also after a failure, which counts more than an error of stopping.
    let stopped = machine.stop();
    let how = how?;
    stopped?;
    Ok(Ended { how, figures: figures? })
}

/// Before anything is changed: a strict pipeline is not worked on where a prover could answer for its verifier.
fn isolate(machine: &Machine, job: &Job<'_>, progress: &Progress) -> Result<Isolation, Failure> {
    let isolation = machine.isolate(job.isolation, std::slice::from_ref(job.pipeline), job.guard)?;
    match isolation.warning() {
        Some(warning) if job.pipeline.chain.strict => {
            let message = format!("{warning}; the pipeline is strict, so nothing is proved");
            Err(Failure::usage_as(Code::StrictWithoutIsolation, message))
        }
        Some(warning) => {
            progress.note(&format!("warning: {warning}"));
            Ok(isolation)
        }
        None => Ok(isolation),
    }
}

struct Run<'a> {
    chain: &'a ChainName,
    /// The file's end is the chain's.
    ends: bool,
    progress: &'a Progress,
    started: Instant,
    feeder: Option<Source>,
    /// Next of the out log to look at.
    sequence: u64,
    committed_now: u64,
}

impl<'a> Run<'a> {
    fn begin(job: &Job<'a>, progress: &'a Progress) -> Self {
        let chain = &job.pipeline.chain.name;
        let ends = matches!(&job.input, Input::File(feed) if feed.ends);
        Self { chain, ends, progress, started: Instant::now(), feeder: None, sequence: 0, committed_now: 0 }
    }

    fn follow(&mut self, machine: &Machine, signals: &Signals) -> Result<End, Failure> {
        loop {
            if let Some(signal) = signals.stop() {
                return Ok(End::Stopped(signal));
            }
            if let Some(error) = machine.failure() {
                return Err(Failure::work(error));
            }
            self.end_feeding()?;
            self.print_commits(machine)?;
            if self.progress.is_due() {
                self.progress.show(&block_on(machine.yard().status(self.chain, false))?);
            }
            if self.feeder.is_none() {
                let finished = match self.ends {
                    true => block_on(machine.yard().is_finished(self.chain))?,
                    false => block_on(machine.yard().is_finished_so_far(self.chain))?,
                };
                match finished {
                    Finished::No => {}
                    Finished::Yes => {
                        self.print_commits(machine)?;
                        return Ok(End::Finished);
                    }
                    Finished::Stuck { parked, reason } => return Ok(End::Stuck { parked, reason }),
                }
            }
            thread::sleep(LOOK);
        }
    }

    /// A file that is not what it was is bad input, wherever proving is by then.
    fn end_feeding(&mut self) -> Result<(), Failure> {
        match self.feeder.take_if(|feeder| feeder.is_finished()).map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(FeedError::Yard(error)))) => Err(error.into()),
            Some(Ok(Err(error @ FeedError::Artifact(_)))) => Err(Failure::work(error)),
            Some(Ok(Err(error))) => Err(Failure::usage(error)),
            Some(Err(_)) => Err(Failure::work_as(Code::Defect, "the source of blocks panicked")),
        }
    }

    fn print_commits(&mut self, machine: &Machine) -> Result<(), Failure> {
        loop {
            let entries = block_on(machine.yard().out_log(self.chain, self.sequence))?;
            if entries.is_empty() {
                return Ok(());
            }
            block_on(Port::sync(&machine.yard().port)).map_err(Error::from)?;
            for entry in &entries {
                self.sequence = entry.sequence + 1;
                let event = match &entry.kind {
                    OutKind::Proof { from, to, .. } => {
                        self.committed_now += to - from + 1;
                        "committed"
                    }
                    OutKind::Retract { .. } => "retracted",
                };
                self.progress.event(&json!({ "event": event, "entry": entry }));
            }
        }
    }

    fn figures(&self, machine: &Machine) -> Result<Figures, Failure> {
        let Passed { committed, missed } = block_on(machine.yard().heights_passed(self.chain))?;
        Ok(Figures {
            blocks_committed: committed,
            blocks_missed: missed,
            committed_now: self.committed_now,
            proofs_accepted: machine.proofs_accepted(),
            took: self.started.elapsed(),
            overheads: machine.overheads().sorted(),
        })
    }
}
