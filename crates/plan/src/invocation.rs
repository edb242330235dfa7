//! One invocation, as on AWS: one message or one claimed task, with the steps that follow, from the first read to the last
//! send. What crates/aws does there over AWS's clients is done here over the queues of this process.

use std::cell::RefCell;
use std::rc::Rc;

use proofyard_core::error::Error;
use proofyard_core::outbox::Outbox;
use proofyard_core::port::{Port, Wake};
use proofyard_core::view::View;
use proofyard_core::yard::Yard;

use crate::cloud::Cloud;
use crate::functions::Container;
use crate::port::CloudPort;
use crate::queues::Message;
use crate::usage::{Step, Usage};

/// Messages that one send takes.
const MESSAGES_A_SEND: usize = 10;
/// How many entries are handed on at once.
const ENTRIES_IN_A_ROW: usize = 64;

pub(crate) struct Invocation {
    pub step: Step,
    /// `None` where every read asks the table.
    pub view: RefCell<Option<View>>,
    pub outbox: Outbox,
    pub usage: RefCell<Usage>,
}

impl Invocation {
    /// Reads nothing twice.
    pub fn begin(step: Step) -> Self {
        Self { view: RefCell::new(Some(View::default())), ..Self::uncached(step) }
    }

    /// Reads the table each time.
    pub fn uncached(step: Step) -> Self {
        let usage = RefCell::new(Usage { times: 1, ..Usage::default() });
        Self { step, view: RefCell::new(None), outbox: Outbox::default(), usage }
    }

    pub fn count(&self, count: impl FnOnce(&mut Usage)) {
        count(&mut self.usage.borrow_mut());
    }

    pub fn forget_reads(&self) -> bool {
        self.view.borrow_mut().as_mut().is_some_and(View::forget)
    }

    /// AWS keeps the clocks of functions; a worker's is its host's.
    pub fn has_yards_clock(&self) -> bool {
        matches!(self.step, Step::Ingest | Step::Dispatcher | Step::Collector | Step::Sweeper)
    }

    pub fn cpu_us(&self, cloud: &Cloud) -> u64 {
        match self.has_yards_clock() {
            true => cloud.draw_us(|all| &all.function_cpu_a_call, 1),
            false => cloud.draw_us(|all| &all.worker_cpu_a_call, 1),
        }
    }

    /// Ends it: what it used is counted for this step.
    pub fn end(&self, cloud: &Cloud, step: Step) {
        cloud.account(step, *self.usage.borrow());
    }

    /// Takes the steps that its handlers have sent, as long as there is time; puts the rest on the queues.
    pub async fn take_steps_until(
        self: &Rc<Self>,
        cloud: &Rc<Cloud>,
        container: Option<&Container>,
        until_us: u64,
    ) -> Result<(), Error> {
        let yard = cloud.yard(self);
        let mut passing = None;
        while cloud.now_us() < until_us
            && passing.is_none()
            && let Some(step) = self.outbox.take_step()
        {
            match self.take_step(cloud, &yard, &step).await {
                Ok(()) => {}
                Err(error) if error.passes() => passing = Some(error),
                Err(error) => cloud.note("a step", &error),
            }
        }
        self.deliver(cloud, container).await;
        passing.map_or(Ok(()), Err)
    }

    async fn take_step(&self, cloud: &Rc<Cloud>, yard: &Yard<CloudPort>, step: &Wake) -> Result<(), Error> {
        let Wake::Sink { chain, sink } = step else { return yard.advance(step).await };
        for _ in 0..ENTRIES_IN_A_ROW {
            let Some(entry) = yard.sink_next(chain, sink).await? else { break };
            yard.chain(chain).await?;
            self.put_objects(cloud, 1).await;
            yard.sink_done(sink, &entry).await?;
        }
        Ok(())
    }

    /// Side by side.
    pub async fn put_objects(&self, cloud: &Cloud, objects: u64) {
        let us = (0..objects).map(|_| cloud.draw_us(|all| &all.s3_put, 1)).max().unwrap_or(0);
        cloud.executor.sleep_us(us + self.cpu_us(cloud)).await;
        self.count(|usage| {
            usage.calls += objects;
            usage.rounds += 1;
            usage.object_puts += objects;
        });
    }

    async fn send_to_queue(&self, cloud: &Cloud, is_fifo: bool) {
        cloud.wait(|all| &all.sqs_send, 1).await;
        cloud.executor.sleep_us(self.cpu_us(cloud)).await;
        self.count(|usage| {
            usage.calls += 1;
            usage.rounds += 1;
            if is_fifo { usage.fifo_requests += 1 } else { usage.standard_requests += 1 }
        });
    }

    /// Puts a block event on its chain's queue.
    pub async fn post(&self, cloud: &Rc<Cloud>, message: Message) {
        self.send_to_queue(cloud, true).await;
        crate::queues::send(cloud, Step::Dispatcher, cloud.pipeline.chain.name.as_str(), message);
    }

    /// Puts all wakes that are left on the queues of their receivers; a function also sees to the pools' workers.
    pub async fn deliver(self: &Rc<Self>, cloud: &Rc<Cloud>, container: Option<&Container>) {
        let mut steps = Vec::new();
        for wake in self.outbox.take_all() {
            match &wake {
                Wake::Pool { pool } => {
                    self.send_to_queue(cloud, false).await;
                    if let Some(queue) = cloud.wakes.get(pool) {
                        queue.token(cloud);
                    }
                    if let Some(container) = container {
                        self.ensure_workers(cloud, container, pool, false).await;
                    }
                }
                Wake::Chain { chain } => steps.push((chain.to_string(), wake)),
                Wake::Scope { scope } => steps.push((scope.to_string(), wake)),
                Wake::Sink { chain, sink } => steps.push((format!("{chain}:sink:{sink}"), wake)),
                // There is no judge here.
                Wake::Judge { .. } => {}
            }
        }
        for some in steps.chunks(MESSAGES_A_SEND) {
            self.send_to_queue(cloud, true).await;
            for (group, wake) in some {
                crate::queues::send(cloud, Step::Collector, group, Message::Wake(wake.clone()));
            }
        }
    }

    /// Counts what waits for workers of a pool, and asks AWS Batch what runs, as often as a function does. The fleet is as
    /// large as it was said to be, so nothing is submitted.
    pub async fn ensure_workers(
        self: &Rc<Self>,
        cloud: &Rc<Cloud>,
        container: &Container,
        pool: &str,
        on_tick: bool,
    ) {
        if !cloud.load.counts_workers || !container.is_time_to_count(pool, on_tick, cloud.now_us()) {
            return;
        }
        if let Err(error) = self.count_workers(cloud, pool, on_tick).await {
            cloud.note("counting workers", &error);
        }
    }

    async fn count_workers(
        self: &Rc<Self>,
        cloud: &Rc<Cloud>,
        pool: &str,
        on_tick: bool,
    ) -> Result<(), Error> {
        let yard = cloud.yard(self);
        if yard.pool(pool).await?.is_none() {
            return Ok(());
        }
        let waiting = yard.waiting_tasks(pool, proofyard_core::cadence::MAX_WAITING_TASKS).await?;
        let reads = u64::from(on_tick) + u64::from(waiting > 0);
        for _ in 0..reads {
            // Of the pool's submissions: none is kept here.
            cloud.wait(|all| &all.dynamodb_get, 1).await;
        }
        self.count(|usage| {
            usage.calls += reads;
            usage.rounds += reads;
            usage.half_reads += 2 * reads;
        });
        if waiting > 0 {
            cloud.wait(|all| &all.batch_list, 1).await;
            self.count(|usage| {
                usage.calls += 5;
                usage.rounds += 1;
            });
        }
        Ok(())
    }

    /// What a message brings is recorded; the steps that follow are left in the outbox.
    pub async fn record(self: &Rc<Self>, cloud: &Rc<Cloud>, message: &Message) -> Result<(), Error> {
        let yard = cloud.yard(self);
        match message {
            Message::Block { block, sent_ms } => {
                let chain = &cloud.pipeline.chain.name;
                yard.record_acknowledged_block(chain, block, Some(*sent_ms)).await.map(drop)
            }
            Message::Wake(wake) => {
                yard.port.send(std::slice::from_ref(wake)).await;
                Ok(())
            }
        }
    }
}
