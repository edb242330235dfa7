//! What all that runs in a plan shares: time, chance, the table, latencies, and what is counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::error::{Error, with_causes};
use proofyard_core::pipeline::Pipeline;
use proofyard_core::yard::Yard;
use proofyard_memory_store::Random;

use crate::executor::Executor;
use crate::functions::Functions;
use crate::invocation::Invocation;
use crate::latencies::{Latencies, Latency};
use crate::load::Load;
use crate::observed::Observed;
use crate::port::CloudPort;
use crate::provers::Provers;
use crate::queues::{FifoQueue, WakeQueue};
use crate::table::Table;
use crate::usage::{Step, Usage};
use crate::worker::EmptyLook;

/// The yard's time when a run begins, in milliseconds of the Unix epoch.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) struct Cloud {
    pub executor: Executor,
    pub random: RefCell<Random>,
    pub table: RefCell<Table>,
    pub latencies: Latencies,
    pub provers: Provers,
    pub pipeline: Pipeline,
    pub load: Load,
    pub observed: RefCell<Observed>,
    pub usage: RefCell<BTreeMap<Step, Usage>>,
    pub functions: Functions,
    pub blocks: FifoQueue,
    pub results: FifoQueue,
    /// By pool.
    pub wakes: BTreeMap<String, WakeQueue>,
    /// By pool.
    pub empty_looks: RefCell<BTreeMap<String, EmptyLook>>,
    /// The first error that no retry helps against.
    pub failed: RefCell<Option<String>>,
    /// Messages and steps that were tried again.
    pub retries: Cell<u64>,
    /// Over it, others share parsed pipelines.
    root: RefCell<Option<Yard<CloudPort>>>,
}

impl Cloud {
    pub fn new(load: &Load, pipeline: Pipeline, provers: &Provers, latencies: &Latencies) -> Rc<Self> {
        let pools = pipeline.pools.keys();
        let cloud = Rc::new(Self {
            executor: Executor::default(),
            random: RefCell::new(Random::new(load.seed)),
            table: RefCell::default(),
            latencies: latencies.clone(),
            provers: provers.clone(),
            load: load.clone(),
            observed: RefCell::new(Observed::of(pipeline.pools.keys())),
            usage: RefCell::default(),
            functions: Functions::default(),
            blocks: FifoQueue::default(),
            results: FifoQueue::default(),
            wakes: pools.map(|pool| (pool.clone(), WakeQueue::default())).collect(),
            empty_looks: RefCell::default(),
            failed: RefCell::default(),
            retries: Cell::default(),
            root: RefCell::default(),
            pipeline,
        });
        let port = CloudPort::new(&cloud, Rc::new(Invocation::uncached(Step::WorkerStart)));
        *cloud.root.borrow_mut() = Some(Yard::new(port));
        cloud
    }

    pub fn now_us(&self) -> u64 {
        self.executor.now_us()
    }

    /// The yard's handlers over an invocation's port.
    pub fn yard(self: &Rc<Self>, invocation: &Rc<Invocation>) -> Yard<CloudPort> {
        let port = CloudPort::new(self, Rc::clone(invocation));
        match &*self.root.borrow() {
            Some(root) => root.over(port),
            None => Yard::new(port),
        }
    }

    /// Waits as long as one call takes.
    pub async fn wait(&self, latency: impl Fn(&Latencies) -> &Latency, items: usize) {
        let us = self.draw_us(latency, items);
        self.executor.sleep_us(us).await;
    }

    pub fn draw_us(&self, latency: impl Fn(&Latencies) -> &Latency, items: usize) -> u64 {
        latency(&self.latencies).draw_us(&mut self.random.borrow_mut(), items)
    }

    pub fn account(&self, step: Step, usage: Usage) {
        let mut all = self.usage.borrow_mut();
        let sum = all.entry(step).or_default();
        *sum = *sum + usage;
    }

    /// An error that comes again however often it is tried ends the run; others are counted.
    pub fn note(&self, what: &str, error: &Error) {
        if error.passes() || matches!(error, Error::WorkerDead { .. }) {
            self.retries.set(self.retries.get() + 1);
            return;
        }
        self.failed.borrow_mut().get_or_insert_with(|| format!("{what}: {}", with_causes(error)));
    }

    /// Ends everything; what holds this is dropped.
    pub fn end(&self) {
        self.executor.end();
        *self.root.borrow_mut() = None;
    }
}
