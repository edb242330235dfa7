//! The phases of a run, and what must hold at the end of each.
//!
//! After the busy phase faults stop, and every acknowledged block must become committed, missed or orphaned, with nothing
//! left listed, held or parked. Then one more block on each chain must be committed by wakes alone, without any polling;
//! and another by due times alone, without any wake: so neither hides that the other is missing. At last all processes
//! stop, hours pass, and nothing may be left that is due.

use std::rc::Rc;
use std::sync::Arc;

use proofyard_core::pipeline::Pipeline;
use proofyard_core::port::Key;
use proofyard_core::state::{Branch, ChainName, Progress, Table};
use proofyard_core::work::Assignment;

use super::pipelines::RARE;
use super::{Role, World};
use crate::check::CLOCK_SKEW_MS;
use crate::check::mirror::Item;
use crate::faults::Faults;

/// Simulated time from the last fault until everything must be done: more than the longest backoffs, leases, limits and
/// quarantines together. Of thousands of seeds the slowest took 7 minutes.
const SETTLES_WITHIN_MS: u64 = 20 * 60_000;
/// By then provers take almost no time and wakes arrive at once; followers ask their node every few seconds.
const SETTLES_BY_WAKES_WITHIN_MS: u64 = 60_000;
/// Enough for a few sweeps for each step; besides, see [`World::longest_quiet_ms`].
const SETTLES_BY_DUE_TIMES_WITHIN_MS: u64 = 15 * 60_000;
/// A scope to which nothing happens is looked at this rarely, or more often.
const LONGEST_QUIET_TICKS: u64 = 16;
/// Longer than anything that is due at rest: parked work is looked at hourly.
const REST_MS: u64 = 2 * 3_600_000;
/// A sweep at rest may still find items that are over, and takes their due times away; the last one finds none.
const SWEEPS_AT_REST: u32 = 3;

/// How many sweeps may pass without a visit to an item that is due: one was already past it, and the index may be late.
const OVERDUE_SWEEPS: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Busy,
    Calm,
    ByWakes,
    ByDueTimes,
    Stopped,
}

impl World {
    pub(super) fn end_phase(self: &Rc<Self>, phase: Phase) -> Option<Phase> {
        match phase {
            Phase::Busy => Some(Phase::Calm),
            Phase::Calm => {
                self.check_settled();
                Some(Phase::ByWakes)
            }
            // What waits for its time alone gets no wake.
            Phase::ByWakes if self.plan.ends_by_due_times || self.has_rare_sinks() => Some(Phase::ByDueTimes),
            Phase::ByWakes | Phase::ByDueTimes => {
                self.check_settled();
                Some(Phase::Stopped)
            }
            Phase::Stopped => {
                self.check_stopped();
                None
            }
        }
    }

    fn has_rare_sinks(&self) -> bool {
        self.pipelines.values().any(|pipeline| pipeline.sinks.contains_key(RARE))
    }

    /// Answers how long the phase may take, in simulated time.
    pub(super) fn begin_phase(self: &Rc<Self>, phase: Phase) -> u64 {
        self.simulation.trace(|| format!("{phase:?}"));
        match phase {
            Phase::Busy => u64::MAX,
            Phase::Calm => {
                self.simulation.set_faults(Faults::none());
                self.is_calm.set(true);
                // An operator may be asleep for long; its replacement begins at once.
                self.kill_where(|role| matches!(role, Role::Operator));
                SETTLES_WITHIN_MS
            }
            Phase::ByWakes => {
                self.only_wakes.set(true);
                self.mine_one_more();
                SETTLES_BY_WAKES_WITHIN_MS
            }
            Phase::ByDueTimes => {
                self.only_wakes.set(false);
                self.simulation.set_faults(Faults { wake_drop: 10_000, ..Faults::none() });
                self.mine_one_more();
                SETTLES_BY_DUE_TIMES_WITHIN_MS + self.longest_quiet_ms()
            }
            Phase::Stopped => {
                self.simulation.set_faults(Faults::none());
                self.is_stopped.set(true);
                self.kill_where(|_| true);
                self.simulation.drop_wakes();
                let (world, sweeper) = (self.clone(), self.simulation.start_process("last sweeper"));
                self.simulation.spawn(sweeper, "sweep", async move { world.sweep_at_rest().await });
                u64::MAX
            }
        }
    }

    /// Each node mines one more block, after which the chain's input ends.
    fn mine_one_more(self: &Rc<Self>) {
        for (chain, node) in self.nodes.borrow_mut().iter_mut() {
            self.draw(|random| node.mine(random));
            let (world, chain) = (self.clone(), chain.clone());
            self.simulation.spawn(self.init, "end the input", async move { world.end_input(&chain).await });
        }
        // Idle slots and sinks look once, and then wait as long as this phase says.
        self.pool_signals.values().for_each(|signal| signal.notify(&self.simulation));
        self.sinks.borrow().signal.notify(&self.simulation);
    }

    async fn end_input(&self, chain: &ChainName) {
        loop {
            self.simulation.sleep(500).await;
            let head = self.nodes.borrow().get(chain).and_then(|node| node.head.clone());
            let tip = self.checker.borrow().mirror.tip(chain).and_then(|tip| tip.head.clone());
            if tip.map(|(_, hash)| hash) != head {
                continue;
            }
            match self.yard.record_end(chain).await {
                Ok(()) => return,
                Err(error) => self.expect_passing("record_end", &error),
            }
        }
    }

    async fn sweep_at_rest(&self) {
        for sweep in 1..=SWEEPS_AT_REST {
            self.simulation.sleep(REST_MS).await;
            self.simulation.reset_due_reads();
            match self.yard.sweep().await {
                Ok(swept) => {
                    if sweep == SWEEPS_AT_REST && swept.visited > 0 {
                        let (visited, shown) = (swept.visited, self.simulation.most_due_reads());
                        self.simulation.violate(format!("at rest a sweep visits {visited} items: {shown:?}"));
                    }
                    self.check_sweep(swept);
                }
                Err(error) => self.expect_passing("sweep", &error),
            }
        }
        self.is_swept.set(true);
    }

    fn check_stopped(&self) {
        self.simulation.count("check: at rest");
        let table = self.simulation.table();
        for (partition, sort, due_ms) in table.all_due() {
            let key = Key::new(partition.clone(), sort.clone());
            self.simulation.violate(format!("all is settled, and {key} is due at {due_ms}"));
        }
        let mut keys = table.rows().map(|(partition, sort, _)| Key::new(partition.clone(), sort.clone()));
        if let Some(key) = keys.find(|key| Table::of(key) == Some(Table::Worker)) {
            self.simulation.violate(format!("no worker is left, but {key}"));
        }
    }

    /// How many sweeps had time for everything that was due.
    pub(super) fn sweeps(&self) -> u64 {
        self.sweeps.get()
    }

    /// What one block can lose where no wake tells of anything: each stage's last result may come right after a look at a scope
    /// that was quiet for long, and so may its commit.
    fn longest_quiet_ms(&self) -> u64 {
        let quiet = |pipeline: &Arc<Pipeline>| {
            (pipeline.stages.len() as u64 + 1) * LONGEST_QUIET_TICKS * pipeline.chain.tick_ms
        };
        self.pipelines.values().map(quiet).max().unwrap_or(0)
    }

    /// Time for a few more sweeps than an overdue item may see.
    pub(super) fn overdue_ms(&self) -> u64 {
        let ticks = self.pipelines.values().map(|pipeline| pipeline.chain.tick_ms);
        (OVERDUE_SWEEPS + 2) * ticks.min().unwrap_or(0) + 10_000
    }

    /// Each item that is due must be visited soon, and the visit must move its due time or take it away.
    pub(super) fn check_overdue(&self, phase: Phase) {
        let mut overdue = self.overdue.borrow_mut();
        if !matches!(phase, Phase::Calm | Phase::ByDueTimes) {
            return overdue.clear();
        }
        let (now_ms, sweeps) = (self.simulation.now_ms(), self.sweeps.get());
        let table = self.simulation.table();
        // Heartbeats are due all the time: each sweep reads each worker's.
        let passed = table.all_due().filter(|(_, sort, due_ms)| *due_ms <= now_ms && *sort != "hb");
        *overdue = passed
            .map(|(partition, sort, due_ms)| (Key::new(partition.clone(), sort.clone()), due_ms))
            .filter(|(key, _)| table.is_shown(key, now_ms))
            .map(|(key, due_ms)| {
                let seen =
                    overdue.get(&key).filter(|(was_ms, _)| *was_ms == due_ms).map(|(_, sweeps)| *sweeps);
                (key, (due_ms, seen.unwrap_or(sweeps)))
            })
            .collect();
        let is_forgotten = |(_, (_, seen)): &(&Key, &(u64, u64))| seen + OVERDUE_SWEEPS < sweeps;
        if let Some((key, (due_ms, _))) = overdue.iter().find(is_forgotten) {
            let checker = self.checker.borrow();
            let item = checker.mirror.get(key);
            self.simulation
                .violate(format!("{key} was due at {due_ms}, and no sweep has changed that: {item:?}"));
        }
    }

    /// Whether a prover is to take so long that a second copy of its task must start.
    pub(super) fn straggles(&self, assignment: &Assignment) -> bool {
        // Where the worker's clock is ahead, the copy may start later.
        let is_ahead = self.simulation.process_now_ms() > self.simulation.now_ms() + CLOCK_SKEW_MS;
        let may = self.is_calm.get() && !self.only_wakes.get() && assignment.attempt == 1 && !is_ahead;
        may && assignment.stage().limits.hedge_ms.is_some() && self.simulation.chance(1_000)
    }

    /// What is not done yet, if anything.
    pub(super) fn what_is_left(&self, phase: Phase) -> Option<String> {
        match phase {
            Phase::Busy => (!self.is_over()).then(|| "it is busy".to_owned()),
            Phase::Stopped => (!self.is_swept.get()).then(|| "the last sweeps".to_owned()),
            _ => self
                .chains_left()
                .or_else(|| self.items_left(phase))
                .or_else(|| self.sinks_left())
                .or_else(|| self.levels_left()),
        }
    }

    fn chains_left(&self) -> Option<String> {
        let checker = self.checker.borrow();
        let nodes = self.nodes.borrow();
        for (chain, node) in nodes.iter() {
            let (tip, frontier) = (checker.mirror.tip(chain)?, checker.mirror.frontier(chain)?);
            let head = node.head_block().map(|block| (block.height, block.hash.clone()));
            if tip.head != head {
                return Some(format!("{chain}: the tip is {:?}, the node's head {head:?}", tip.head));
            }
            if tip.height().is_some_and(|height| frontier.height <= height) {
                return Some(format!("{chain}: the frontier is {} of {:?}", frontier.height, tip.head));
            }
            if checker.mirror.chain(chain).is_some_and(|state| state.reorg.is_some()) {
                return Some(format!("{chain}: a reorg is not finished"));
            }
            if let Some(left) = self.cuts_left(chain, frontier.height) {
                return Some(left);
            }
        }
        None
    }

    fn cuts_left(&self, chain: &ChainName, height: u64) -> Option<String> {
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        let context = checker.context(&self.simulation, &proving);
        let pipeline = context.pipeline(chain)?;
        for (_, stage, _) in pipeline.cut_stages().filter(|(index, ..)| pipeline.commit_cut() != Some(*index))
        {
            let emitted = checker
                .mirror
                .out_state(chain, &stage.name)
                .map_or(pipeline.chain.start_height, |out| out.next_from);
            if emitted < height {
                return Some(format!(
                    "{chain}/{}: cuts are handed on up to {emitted} of {height}",
                    stage.name
                ));
            }
        }
        None
    }

    fn items_left(&self, phase: Phase) -> Option<String> {
        let checker = self.checker.borrow();
        for (key, item) in checker.mirror.items() {
            let is_left = match item {
                // A scope is settled by a visit, which may come later than the wakes; members of a missed block may still
                // disagree.
                Item::Scope(scope) => scope.is_watched() && !scope.is_settled() && phase != Phase::ByWakes,
                Item::Task(task) => {
                    let is_wanted =
                        checker.mirror.scope(&task.id().scope).is_some_and(|scope| scope.is_live());
                    is_wanted && (task.is_open() || task.is_parked())
                }
                Item::Listing(_) => true,
                Item::Slot(slot) => {
                    slot.held.is_some()
                        && checker.mirror.worker(&slot.worker).is_some_and(|worker| !worker.dead)
                }
                _ => false,
            };
            if is_left {
                return Some(format!("{key} is left: {item:?}"));
            }
        }
        if phase == Phase::ByWakes { None } else { self.unseen_result() }
    }

    /// A late result of a settled quorum, which is seen by the visit that it is due for where no wake tells of it.
    fn unseen_result(&self) -> Option<String> {
        let (checker, table) = (self.checker.borrow(), self.simulation.table());
        let mut due = table.all_due().map(|(partition, sort, _)| Key::new(partition.clone(), sort.clone()));
        let is_result =
            |key: &Key| matches!(checker.mirror.get(key), Some(Item::Task(task)) if task.is_accepted());
        due.find(is_result).map(|key| format!("the result of {key} is not seen yet"))
    }

    /// Once nothing is left to do: every acknowledged block is committed, missed, orphaned, or was never on the chain.
    pub(super) fn check_settled(&self) {
        self.simulation.count("check: settled");
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        if let Some(dissent) =
            checker.quorums.unreported_dissent(&checker.context(&self.simulation, &proving))
        {
            self.simulation.violate(dissent);
        }
        for (chain, node) in self.nodes.borrow().iter() {
            for (height, hash) in &node.acknowledged {
                let scopes = checker.mirror.scopes_of(chain, *height, hash);
                let is_canonical =
                    checker.mirror.canonical(chain, *height).is_some_and(|place| place.hash == *hash);
                let frontier = checker.mirror.frontier(chain).map_or(0, |frontier| frontier.height);
                let has_end = scopes.iter().any(|scope| match scope.branch() {
                    Branch::Canonical => {
                        is_canonical
                            && *height < frontier
                            && matches!(
                                scope.progress(),
                                Progress::Proved | Progress::Missed | Progress::Open
                            )
                    }
                    Branch::Stored | Branch::Orphaned => !is_canonical,
                });
                if !has_end {
                    self.simulation.violate(format!(
                        "{chain}: the acknowledged block {height} {hash} is lost: {scopes:?}"
                    ));
                }
            }
        }
    }
}
