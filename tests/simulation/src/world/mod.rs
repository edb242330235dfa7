//! The world around the handlers: nodes, followers, workers, provers, sinks, operators and the sweeper, each a
//! process that may die, stall and come back. A seed draws how many there are and how badly they behave.

pub mod blocks;
pub mod chains;
pub mod draw;
pub mod edits;
pub mod operators;
pub mod phases;
pub mod pipelines;
pub mod provers;
pub mod proving;
pub mod services;
pub mod workers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use proofyard_core::error::Error;
use proofyard_core::pipeline::Pipeline;
use proofyard_core::planted_bug::PlantedBug;
use proofyard_core::port::{Key, Wake};
use proofyard_core::state::{ChainName, WorkerId};
use proofyard_core::yard::Yard;

use self::blocks::NodeChain;
use self::draw::Plan;
use self::phases::Phase;
use self::pipelines::{LEVELS, RARE};
use self::proving::Proving;
use crate::check::mirror::decode;
use crate::check::{Checker, lost};
use crate::executor::{ProcessId, Signal, Simulation, Step};
use crate::faults::Faults;
use crate::port::WeakPort;
use crate::run::Outcome;
use crate::store::Row;
use crate::trace::TraceMode;
use proofyard_memory_store::Random;

/// What a process does, so that another can replace it when it dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Follower(ChainName),
    Noise(ChainName),
    Sink(ChainName, String),
    Sweeper,
    Operator,
    Worker(String),
    /// Reports that a worker's process has died.
    Watcher,
    /// A handler that a wake started; the wake may come again.
    Service(Wake),
}

pub struct World {
    pub simulation: Simulation,
    pub plan: Plan,
    pub yard: Yard<WeakPort>,
    pub pipelines: BTreeMap<ChainName, Arc<Pipeline>>,
    pub nodes: RefCell<BTreeMap<ChainName, NodeChain>>,
    pub proving: RefCell<Proving>,
    pub checker: RefCell<Checker>,
    pub roles: RefCell<BTreeMap<ProcessId, Role>>,
    pub pool_signals: BTreeMap<String, Signal>,
    /// Notified when a node has a new head.
    pub node_signal: Signal,
    pub sinks: RefCell<services::Sinks>,
    /// Faults have stopped, and no process misbehaves.
    pub is_calm: Cell<bool>,
    /// Nothing polls: neither the sweeper, nor idle slots and sinks.
    pub only_wakes: Cell<bool>,
    /// Dead processes are not replaced any more.
    is_stopped: Cell<bool>,
    /// The last sweeps, after everything has stopped, are over.
    is_swept: Cell<bool>,
    /// From the last fault until everything had settled.
    settled_ms: Cell<u64>,
    /// How many sweeps had time for everything that was due.
    sweeps: Cell<u64>,
    /// Due times that have passed, and how many sweeps there had been when that was first seen.
    overdue: RefCell<BTreeMap<Key, (u64, u64)>>,
    names: Cell<u64>,
    worker_ids: RefCell<BTreeMap<ProcessId, WorkerId>>,
    /// Some chain has a real-time pipeline: a tick of at most a second.
    is_real_time: bool,
    /// Never dies: it restarts the others.
    init: ProcessId,
}

/// After so many steps faults stop, whatever is left to do.
const MAX_BUSY_STEPS: u64 = 60_000;

/// Seeds that settle need far fewer: one that has not by then makes no progress.
const MAX_STEPS: u64 = 400_000;

pub fn run(seed: u64, bug: Option<PlantedBug>, trace: TraceMode) -> Outcome {
    let mut random = Random::new(seed ^ 0x5eed);
    let plan = Plan::draw(&mut random);
    let simulation = Simulation::new(seed, Faults::none(), trace);
    let world = World::new(&simulation, plan, bug);
    let settled_ms = match world {
        Ok(world) => {
            world.run_phases();
            world.settled_ms.get()
        }
        Err(reason) => {
            simulation.violate(reason);
            0
        }
    };
    simulation.end();
    Outcome {
        violation: simulation.violation(),
        counters: simulation.counters(),
        trace: simulation.trace_lines(),
        digest: simulation.digest(),
        steps: simulation.steps(),
        settled_ms,
    }
}

impl World {
    fn new(simulation: &Simulation, plan: Plan, bug: Option<PlantedBug>) -> Result<Rc<Self>, String> {
        let port = WeakPort::new(simulation);
        let yard = match bug {
            Some(bug) => Yard::with_planted_bug(port, bug),
            None => Yard::new(port),
        };
        let yard = yard.with_judge(plan.judged);
        let yard = match plan.page_items {
            Some(items) => yard.with_pages_of(items),
            None => yard,
        };
        let mut pipelines = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for chain in &plan.chains {
            let checked = proofyard_core::pipeline::parse(&chain.text).map_err(|mistakes| {
                format!("the drawn pipeline is not valid: {mistakes:?}\n{}", chain.text)
            })?;
            pipelines.insert(chain.name.clone(), Arc::new(checked.pipeline));
            nodes.insert(
                chain.name.clone(),
                NodeChain::new(chain.name.as_str(), chain.start_height, chain.max_segments),
            );
            simulation.trace(|| format!("pipeline of {}:\n{}", chain.name, chain.text));
        }
        let pool_signals = plan.workers.keys().map(|pool| (pool.clone(), Signal::default())).collect();
        Ok(Rc::new(Self {
            simulation: simulation.clone(),
            yard,
            nodes: RefCell::new(nodes),
            proving: RefCell::new(Proving::new(plan.judged)),
            checker: RefCell::default(),
            roles: RefCell::default(),
            pool_signals,
            node_signal: Signal::default(),
            sinks: RefCell::default(),
            is_calm: Cell::new(false),
            only_wakes: Cell::new(false),
            is_stopped: Cell::new(false),
            is_swept: Cell::new(false),
            settled_ms: Cell::new(0),
            sweeps: Cell::new(0),
            overdue: RefCell::default(),
            names: Cell::new(0),
            worker_ids: RefCell::default(),
            is_real_time: pipelines.values().any(|pipeline| pipeline.chain.tick_ms <= 1_000),
            init: simulation.start_process("init"),
            pipelines,
            plan,
        }))
    }

    /// A name that nothing else in this run has.
    pub fn name(&self, kind: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{kind}{}", self.names.get())
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        self.simulation.random(draw)
    }

    /// Runs a handler, and sometimes drops it at one of its calls; its caller goes on without an answer.
    pub async fn bounded<T>(
        &self,
        handler: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let calls = self.happens(self.plan.cut_offs).then(|| self.draw(|random| random.skewed(60)));
        let began = self.simulation.table().commits();
        let answer = self.simulation.cut_off_after(calls, handler).await;
        if let Some(Ok(_)) = answer {
            self.check_durable(began);
        }
        answer
    }

    /// The same, of a handler whose answer tells the outside what is stored, whoever wrote it: that is on disk.
    pub async fn acknowledged<T>(
        &self,
        handler: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let began = self.simulation.table().commits();
        let answer = self.bounded(handler).await;
        if matches!(answer, Some(Ok(_))) && !self.simulation.table().is_synced(began) {
            let by = self.simulation.caller();
            self.simulation
                .violate(format!("{by:?} was answered, and a power loss may take back what it read"));
        }
        answer
    }

    /// What a call has answered is on disk, of what was written since there were so many commits; the pages of a reorg that it
    /// may have done besides need not be.
    fn check_durable(&self, began: u64) {
        let (table, by) = (self.simulation.table(), self.simulation.caller());
        for change in table.losable_by(by, began) {
            let item = |row: &Option<Row>| row.as_ref().and_then(|row| decode(&change.key, row).ok());
            let (written, on_disk) = (item(&change.after), item(&change.before));
            if let Some(what) = lost::acknowledged(written.as_ref(), on_disk.as_ref()) {
                let key = &change.key;
                self.simulation
                    .violate(format!("{by:?} was answered, and a power loss may take back {what}: {key}"));
            }
        }
    }

    /// True in `per_10k` of 10,000 cases, while there are faults.
    pub fn happens(&self, per_10k: u32) -> bool {
        !self.is_calm.get() && self.simulation.chance(per_10k)
    }

    fn run_phases(self: &Rc<Self>) {
        self.start_all();
        let mut phase = Phase::Busy;
        let (mut ends_at_ms, mut next_look_ms, mut began_ms) = (u64::MAX, 0, 0);
        loop {
            match self.simulation.step() {
                Step::Polled => {}
                Step::Wake(wake) => self.deliver(wake),
                Step::Died(process) => self.replace(process),
                Step::Idle => self.simulation.violate("nothing is left that could run"),
            }
            self.check();
            if self.simulation.violation().is_some() {
                return;
            }
            if self.simulation.steps() > MAX_STEPS {
                let left = self.what_is_left(phase);
                return self.simulation.violate(format!("no end in context, {phase:?}: {left:?}"));
            }
            let now_ms = self.simulation.now_ms();
            if now_ms < next_look_ms {
                continue;
            }
            if phase != Phase::Busy {
                next_look_ms = now_ms + 1_000;
                self.check_overdue(phase);
            }
            match self.what_is_left(phase) {
                Some(left) if now_ms > ends_at_ms => {
                    return self.simulation.violate(format!("{phase:?}, and not settled in time: {left}"));
                }
                Some(_) => {}
                None => {
                    let Some(next) = self.end_phase(phase) else { return };
                    if phase == Phase::Calm {
                        self.settled_ms.set(now_ms - began_ms);
                    }
                    (phase, began_ms) = (next, now_ms);
                    ends_at_ms = now_ms.saturating_add(self.begin_phase(phase));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.simulation.now_ms() >= self.plan.busy_until_ms || self.simulation.steps() >= MAX_BUSY_STEPS
    }

    /// Checks what was committed since the last call.
    pub(super) fn check(&self) {
        self.checker.borrow_mut().check(&self.simulation, &self.proving.borrow());
    }

    fn start_all(self: &Rc<Self>) {
        let world = self.clone();
        self.simulation.spawn(self.init, "begin", async move {
            world.clone().put_pipelines_in_force().await;
            for chain in &world.plan.chains {
                world.start(Role::Follower(chain.name.clone()));
                world.start(Role::Noise(chain.name.clone()));
                for sink in edits::SINK_NAMES.into_iter().chain(["cuts", LEVELS, RARE]) {
                    world.start(Role::Sink(chain.name.clone(), sink.to_owned()));
                }
            }
            for (pool, workers) in &world.plan.workers {
                (0..*workers).for_each(|_| world.start(Role::Worker(pool.clone())));
            }
            world.start(Role::Sweeper);
            world.start(Role::Operator);
            world.simulation.set_faults(world.plan.faults.clone());
            world.make_disasters().await;
        });
        self.start_nodes();
    }

    /// Starts a process in this role.
    pub fn start(self: &Rc<Self>, role: Role) {
        if self.is_stopped.get() && !matches!(role, Role::Service(_)) {
            return;
        }
        let world = self.clone();
        let process = self.simulation.start_process(self.role_name(&role));
        self.roles.borrow_mut().insert(process, role.clone());
        match role {
            Role::Follower(chain) => self.simulation.spawn(process, "follow", world.follow(chain)),
            Role::Noise(chain) => self.simulation.spawn(process, "noise", world.make_noise(chain)),
            Role::Sink(chain, sink) if sink == LEVELS => {
                self.simulation.spawn(process, "level sink", world.tell_levels(chain, sink));
            }
            Role::Sink(chain, sink) => self.simulation.spawn(process, "sink", world.hand_on(chain, sink)),
            Role::Sweeper => self.simulation.spawn(process, "sweep", world.sweep()),
            Role::Operator => self.simulation.spawn(process, "operate", world.operate()),
            Role::Worker(pool) => {
                if let Some(most_ms) = self.plan.worker_clocks_off_ms {
                    let off_ms = self.draw(|random| random.below(2 * most_ms + 1)) as i64 - most_ms as i64;
                    self.simulation.set_clock_off(process, off_ms);
                }
                self.simulation.spawn(process, "work", world.work(process, pool));
            }
            Role::Service(wake) => self.simulation.spawn(process, "advance", world.serve(wake)),
            Role::Watcher => {}
        }
    }

    fn role_name(&self, role: &Role) -> String {
        match role {
            Role::Follower(chain) => format!("follower of {chain}"),
            Role::Noise(chain) => format!("noise on {chain}"),
            Role::Sink(chain, sink) => format!("sink {chain}/{sink}"),
            Role::Sweeper => "sweeper".into(),
            Role::Watcher => "watcher".into(),
            Role::Operator => "operator".into(),
            Role::Worker(pool) => self.name(&format!("{pool}-worker")),
            Role::Service(_) => self.name("service"),
        }
    }

    /// Another process replaces a dead one, after a while.
    fn replace(self: &Rc<Self>, process: ProcessId) {
        if self.is_stopped.get() {
            return;
        }
        self.notice_death(process);
        let role = self.roles.borrow_mut().remove(&process).filter(|role| *role != Role::Watcher);
        let Some(role) = role else { return };
        // A queue redelivers the message a few times, and then gives up.
        if matches!(role, Role::Service(_)) && self.happens(6_000) {
            return;
        }
        let delay_ms = self.draw(|random| random.skewed(5_000));
        let (world, simulation) = (self.clone(), self.simulation.clone());
        self.simulation.spawn(self.init, "restart", async move {
            simulation.sleep(delay_ms).await;
            world.start(role);
        });
    }

    fn deliver(self: &Rc<Self>, wake: Wake) {
        match &wake {
            Wake::Pool { pool } => {
                if let Some(signal) = self.pool_signals.get(pool) {
                    signal.notify(&self.simulation);
                }
            }
            Wake::Sink { .. } => self.sinks.borrow().signal.notify(&self.simulation),
            Wake::Chain { .. } | Wake::Scope { .. } | Wake::Judge { .. } => self.start(Role::Service(wake)),
        }
    }
}
