//! One run: a yard from nothing, its blocks, and what each task took.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::pipeline::Pipeline;
use proofyard_core::state::ArtifactRef;
use proofyard_embedded::block_on;
use proofyard_embedded::lock::STATE_FILE;
use proofyard_embedded::machine::{GuardCommand, Machine};
use proofyard_embedded::store::Syncs;
use proofyard_worker::Sample;
use proofyard_worker::isolation::Isolation;

use crate::commits::Commits;
use crate::in_process::Sleeps;
use crate::load::{Commands, Load, ProverKind};
use crate::measured::{Growth, Measured};
use crate::taking_in::{record, take_in, take_in_and_list};
use crate::usage::{Cpu, forget_peak_memory};
use crate::{BenchError, Taken};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Where no task ends for this long, and its proving time, nothing ends by itself.
pub const MOST_QUIET: Duration = Duration::from_secs(30);
/// Blocks in flight while those are made that are committed before.
const AHEAD: u64 = 1_000;

/// Where and how runs are made.
pub struct Bench<'a> {
    /// Empty before each run.
    pub folder: &'a Path,
    pub guard: &'a GuardCommand,
    pub commands: Commands,
    /// Asked now and then whether to give up.
    pub stop: &'a dyn Fn() -> bool,
}

/// What a run left to be worked out.
pub(crate) struct Observed {
    pub taken: Vec<Taken>,
    /// Of the tasks that are measured.
    pub samples: Vec<Sample>,
    /// How many were done meanwhile, those of blocks that are open behind them included: processor time and syncs are theirs.
    pub done: usize,
    pub commits: Vec<Instant>,
    pub cpu: Cpu,
    /// What was synced by those who work, and how many waited for it: without the acknowledgements.
    pub syncs: Syncs,
    pub growth: Option<Growth>,
    pub database_bytes: u64,
}

impl Bench<'_> {
    pub fn run(&self, load: &Load) -> Result<Measured, BenchError> {
        load.check()?;
        if load.committed > 0 {
            self.commit_before(load)?;
        }
        let listed = if load.open > 0 { Some(self.list(load)?) } else { None };
        forget_peak_memory();
        let before = Cpu::now();
        let began = Instant::now();
        let mut machine = self.open()?;
        let done = self.work(&mut machine, load, listed.is_none());
        // In order also after an error, which counts more than one of stopping.
        let syncs = synced(&machine);
        let stopped = machine.stop();
        let mut observed = done?;
        stopped?;
        let acknowledged = match &listed {
            None => observed.taken.len() as u64 + 1,
            Some(_) => 0,
        };
        observed.syncs = Syncs {
            done: syncs.done.saturating_sub(acknowledged),
            waited_for: syncs.waited_for.saturating_sub(acknowledged),
        };
        observed.cpu = Cpu::now().since(before);
        observed.database_bytes = self.database_bytes();
        if let Some((taken, growth)) = listed {
            let claims = observed.samples.iter().map(|sample| sample.claimed);
            let restart = claims.min().map_or(Duration::ZERO, |first| first.saturating_duration_since(began));
            observed.growth = Some(Growth { restart_to_claim_ms: restart.as_secs_f64() * 1_000.0, ..growth });
            observed.taken = taken;
        }
        Measured::of(load, observed)
    }

    fn open(&self) -> Result<Machine, BenchError> {
        Ok(Machine::open(&self.folder.join("yard"), true, |_| {})?)
    }

    fn database_bytes(&self) -> u64 {
        fs::metadata(self.folder.join("yard").join(STATE_FILE)).map_or(0, |found| found.len())
    }

    /// Puts the load's pipeline in force with this prover; answers it and what every block and in-process proof is.
    fn prepare(
        &self,
        machine: &Machine,
        load: &Load,
        prover: ProverKind,
    ) -> Result<(Pipeline, ArtifactRef), BenchError> {
        let text = load.pipeline(prover, &self.commands)?;
        let pipeline = block_on(machine.yard().record_pipeline(&text))?;
        Ok((pipeline, machine.artifacts().put_bytes(b"{\"block\":{}}")?))
    }

    fn start(
        &self,
        machine: &mut Machine,
        load: &Load,
        prover: ProverKind,
        (pipeline, payload): (&Pipeline, &ArtifactRef),
    ) -> Result<(), BenchError> {
        let pipelines = std::slice::from_ref(pipeline);
        match prover {
            ProverKind::InProcess => {
                let sleeps = Sleeps { prove: load.prove(), proof: payload.clone() };
                machine.start_in_process(pipelines, self.guard, self.folder, move || sleeps.clone())?;
            }
            ProverKind::Stream | ProverKind::Files => {
                machine.start(pipelines, self.guard, Isolation::nothing(), self.folder)?;
            }
        }
        Ok(())
    }

    /// Makes the blocks that are committed before, in process and without a sleep: they are not measured.
    fn commit_before(&self, load: &Load) -> Result<(), BenchError> {
        let quick = Load { prove_ms: 0, blocks: load.committed, committed: 0, open: 0, ..load.clone() };
        let mut machine = self.open()?;
        let (pipeline, payload) = self.prepare(&machine, &quick, ProverKind::InProcess)?;
        self.start(&mut machine, &quick, ProverKind::InProcess, (&pipeline, &payload))?;
        let done = quick.heights().try_for_each(|height| {
            if height.is_multiple_of(AHEAD) {
                self.wait_until(&machine, &quick, &pipeline, height.saturating_sub(AHEAD))?;
            }
            record(&machine, height, quick.segments, (&pipeline, &payload))
        });
        let done = done.and_then(|()| self.wait_until(&machine, &quick, &pipeline, load.committed));
        let stopped = machine.stop();
        done?;
        Ok(stopped?)
    }

    /// Takes in and lists the blocks that are measured and those that stay open; the machine is closed again after that.
    fn list(&self, load: &Load) -> Result<(Vec<Taken>, Growth), BenchError> {
        let machine = self.open()?;
        let (pipeline, payload) = self.prepare(&machine, load, load.prover)?;
        let listed = take_in_and_list(&machine, load, (&pipeline, &payload), self.stop)?;
        machine.stop()?;
        let blocks = load.blocks + load.open;
        let growth = Growth {
            taken_in_a_second: blocks as f64 / listed.took.as_secs_f64().max(f64::MIN_POSITIVE),
            database_bytes: self.database_bytes(),
            restart_to_claim_ms: 0.0,
        };
        Ok((listed.taken, growth))
    }

    fn work(&self, machine: &mut Machine, load: &Load, takes_in: bool) -> Result<Observed, BenchError> {
        let (pipeline, payload) = self.prepare(machine, load, load.prover)?;
        let take_in = |machine: &Machine| match takes_in {
            true => take_in(machine, load, (&pipeline, &payload), self.stop),
            false => Ok(Vec::new()),
        };
        let start = |machine: &mut Machine| {
            self.start(machine, load, load.prover, (&pipeline, &payload))?;
            Ok::<_, BenchError>(
                (!load.is_closed()).then(|| Commits::watch(machine, &pipeline, *load.heights().start())),
            )
        };
        let (taken, commits) = match load.is_closed() {
            true => (take_in(machine)?, start(machine)?),
            false => {
                let commits = start(machine)?;
                (take_in(machine)?, commits)
            }
        };
        self.wait_until(machine, load, &pipeline, *load.heights().end())?;
        let mut samples = machine.overheads().samples();
        let done = samples.len();
        samples.retain(|sample| load.heights().contains(&sample.height));
        Ok(Observed {
            taken,
            samples,
            done,
            commits: commits.map_or_else(Vec::new, |commits| commits.times(load.blocks as usize)),
            cpu: Cpu::default(),
            syncs: Syncs::default(),
            growth: None,
            database_bytes: 0,
        })
    }

    /// Waits until this height is committed.
    fn wait_until(
        &self,
        machine: &Machine,
        load: &Load,
        pipeline: &Pipeline,
        height: u64,
    ) -> Result<(), BenchError> {
        let chain = &pipeline.chain.name;
        let most_quiet = MOST_QUIET + load.prove();
        let (mut done, mut since) = (0, Instant::now());
        while block_on(machine.yard().frontier(chain))?.height <= height {
            if (self.stop)() {
                return Err(BenchError::Interrupted);
            }
            let now = machine.proofs_accepted();
            if now != done {
                (done, since) = (now, Instant::now());
            }
            if since.elapsed() > most_quiet {
                let status = block_on(machine.yard().status(chain, false))?;
                let parked = status.parked.first().map(|parked| parked.reason.clone());
                let reason = parked.unwrap_or_else(|| "`proofyard status` would say why".to_owned());
                let quiet_s = most_quiet.as_secs();
                return Err(BenchError::Stuck { done, tasks: load.tasks(), quiet_s, reason });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// By the store and the artifacts of this machine, since it was opened.
fn synced(machine: &Machine) -> Syncs {
    let (state, artifacts) = (machine.yard().port.store().syncs(), machine.artifacts().syncs());
    Syncs { done: state.done + artifacts, waited_for: state.waited_for + artifacts }
}
