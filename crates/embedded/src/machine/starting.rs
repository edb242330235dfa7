//! The start of a machine, in order: first the tasks that a dead process held are released; then all threads are started, and
//! at last the one that listens to operators.

use std::path::Path;
use std::sync::Arc;

use proofyard_core::pipeline::Pipeline;
use proofyard_energy::meter_of_this_machine;
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::bell::idle_look;
use proofyard_worker::energy::EnergyMeter;
use proofyard_worker::isolation::Isolation;
use proofyard_worker::{Attempts, PoolWorker, WorkDir, WorkerPlan};

use super::local_workers::{forget_worker, local_workers};
use super::pools::{expect_environment, local_plan, pools_of};
use super::sinks::{LocalSink, accounts_folder, check_actions};
use super::socket::Listener;
use super::threads::{advance, advancers, sweep};
use super::{Machine, MachineError, Shared};
use crate::block_on;

impl Machine {
    /// Starts to work on these pipelines. File sinks with relative names write below `sink_base`.
    pub fn start(
        &mut self,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
        isolation: Isolation,
        sink_base: &Path,
    ) -> Result<(), MachineError> {
        let run = |worker: &PoolWorker, shared: &Shared, slot| worker.run_slot(shared, slot);
        let mut pools = pipelines.iter().flat_map(|pipeline| pipeline.pools.values());
        let energy = meter_of_this_machine(pools.any(|pool| pool.gpus_per_slot > 0));
        self.start_slots(pipelines, guard, isolation, energy, sink_base, run)
    }

    /// The same with something in the place of the pipelines' provers: each slot runs its attempts by what `attempts` makes
    /// for it, in this process.
    pub fn start_in_process<A: Attempts>(
        &mut self,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
        sink_base: &Path,
        attempts: impl Fn() -> A + Clone + Send + 'static,
    ) -> Result<(), MachineError> {
        let run = move |worker: &PoolWorker, shared: &Shared, slot| {
            worker.run_slot_with(shared, slot, attempts());
        };
        let (isolation, energy) = (Isolation::nothing(), EnergyMeter::nothing());
        self.start_slots(pipelines, guard, isolation, energy, sink_base, run)
    }

    fn start_slots(
        &mut self,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
        isolation: Isolation,
        energy: EnergyMeter,
        sink_base: &Path,
        run: impl Fn(&PoolWorker, &Shared, u32) + Clone + Send + 'static,
    ) -> Result<(), MachineError> {
        let pools = pools_of(pipelines)?;
        expect_environment(pipelines)?;
        check_actions(pipelines, guard, &self.cancel_sinks)?;
        let sinks = self.local_sinks(pipelines, sink_base, guard)?;
        let accounts = accounts_folder(self.data_dir());
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.idle_look = idle_look(pipelines.iter().map(|pipeline| pipeline.chain.tick_ms).min());
        }
        let work_dir = self.empty_work_dir(&isolation)?;
        let (isolation, energy) = (Arc::new(isolation), Arc::new(energy));
        self.expire_dead_workers()?;
        for _ in 0..advancers() {
            self.spawn("advancer", advance)?;
        }
        self.spawn("sweeper", sweep)?;
        let mut first_slot = 0;
        for (name, pool) in pools {
            let slots = pool.slots;
            let plan = local_plan(name, pool, guard, &work_dir, &isolation, &energy, (first_slot, &accounts));
            self.start_worker(plan, &run)?;
            first_slot += slots;
        }
        for sink in sinks {
            self.spawn("sink", move |shared| sink.run(shared))?;
        }
        self.start_listening(&work_dir)
    }

    /// Expires the workers of the process before this one, which are dead, and so releases their tasks.
    fn expire_dead_workers(&self) -> Result<(), MachineError> {
        let yard = &self.shared.yard;
        for id in block_on(local_workers(&yard.port))? {
            block_on(yard.expire_worker(&id, true))?;
            block_on(forget_worker(&yard.port, &id))?;
        }
        Ok(())
    }

    fn start_worker(
        &mut self,
        plan: WorkerPlan,
        run: &(impl Fn(&PoolWorker, &Shared, u32) + Clone + Send + 'static),
    ) -> Result<(), MachineError> {
        let worker = Arc::new(PoolWorker::new(plan));
        worker.register(&*self.shared)?;
        let keeper = Arc::clone(&worker);
        self.spawn("heartbeat", move |shared| keeper.keep_lease(shared))?;
        for slot in 0..worker.slots() {
            let (worker, run) = (Arc::clone(&worker), run.clone());
            self.spawn("slot", move |shared| run(&worker, shared, slot))?;
        }
        self.workers.push(worker);
        Ok(())
    }

    /// All that they need is there, or nothing is started.
    fn local_sinks(
        &self,
        pipelines: &[Pipeline],
        base: &Path,
        guard: &GuardCommand,
    ) -> Result<Vec<LocalSink>, MachineError> {
        let named = pipelines.iter().flat_map(|pipeline| {
            pipeline.sinks.iter().map(move |(name, sink)| (&pipeline.chain.name, name, sink))
        });
        let sinks = named.map(|(chain, name, sink)| {
            LocalSink::new(chain, name, sink, (base, self.data_dir()), guard, &self.cancel_sinks)
        });
        sinks.collect()
    }

    fn start_listening(&mut self, work_dir: &WorkDir) -> Result<(), MachineError> {
        let listener = Listener::open(self.data_dir(), work_dir.path())?;
        self.spawn("socket", move |shared| listener.serve(shared))
    }
}
