//! The functions: containers that start cold, stay warm for a while and take one batch at a time; ingest and the sweeper.
//! The dispatcher and the collector are what their queues hand messages to ([`crate::queues`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proofyard_core::cadence::{COUNT_WORKERS_EVERY_MS, GAUGES_EVERY_MS, LONGEST_SWEEP_MS, SHORTEST_SWEEP_MS};
use proofyard_core::error::Error;
use proofyard_core::port::Port;
use proofyard_core::state::Block;

use crate::cloud::Cloud;
use crate::executor::Bell;
use crate::invocation::Invocation;
use crate::queues::Message;
use crate::usage::{Step, Usage};

/// As in infra/spec/yard.json.
const MOST_AT_ONCE: u32 = 50;
const MEMORY_MB: u64 = 256;
const SWEEPER_MEMORY_MB: u64 = 512;
/// How many latencies of blocks one look exports.
const MAX_VALUES: usize = 100;
const MINUTE_MS: u64 = 60_000;

/// What one process of a function remembers.
#[derive(Default)]
pub(crate) struct Container {
    counted_us: RefCell<HashMap<(String, bool), u64>>,
    told_us: Cell<Option<u64>>,
}

impl Container {
    pub fn is_time_to_count(&self, pool: &str, on_tick: bool, now_us: u64) -> bool {
        let mut counted = self.counted_us.borrow_mut();
        let last_us = counted.get(&(pool.to_owned(), on_tick)).copied();
        let is_time = last_us.is_none_or(|last_us| last_us + COUNT_WORKERS_EVERY_MS * 1_000 <= now_us);
        if is_time {
            counted.insert((pool.to_owned(), on_tick), now_us);
        }
        is_time
    }

    fn is_time_to_tell(&self, now_us: u64) -> bool {
        let is_time = self.told_us.get().is_none_or(|last_us| last_us + GAUGES_EVERY_MS * 1_000 <= now_us);
        if is_time {
            self.told_us.set(Some(now_us));
        }
        is_time
    }
}

#[derive(Default)]
pub(crate) struct Functions {
    /// Since when each has been idle, latest last.
    idle: RefCell<BTreeMap<Step, Vec<(u64, Container)>>>,
    running: RefCell<BTreeMap<Step, u32>>,
    freed: Bell,
    pub cold_starts: Cell<u64>,
    pub starts: Cell<u64>,
}

/// Runs one invocation of a function, in a container that is there or a new one.
pub(crate) async fn invoke(cloud: &Rc<Cloud>, step: Step, work: impl AsyncFnOnce(&Container)) {
    let functions = &cloud.functions;
    while functions.running.borrow().get(&step).is_some_and(|running| *running >= MOST_AT_ONCE) {
        functions.freed.wait(functions.freed.rung(), &cloud.executor, u64::MAX).await;
    }
    *functions.running.borrow_mut().entry(step).or_default() += 1;
    let began_us = cloud.now_us();
    functions.starts.set(functions.starts.get() + 1);
    let container = match take_warm(cloud, step) {
        Some(container) => container,
        None => {
            functions.cold_starts.set(functions.cold_starts.get() + 1);
            cloud.wait(|all| &all.function_cold_start, 1).await;
            Container::default()
        }
    };
    work(&container).await;
    let billed_us = (cloud.now_us() - began_us).div_ceil(1_000).max(1) * 1_000;
    let memory_mb = if step == Step::Sweeper { SWEEPER_MEMORY_MB } else { MEMORY_MB };
    cloud.account(step, Usage { gb_microseconds: billed_us * memory_mb / 1_024, ..Usage::default() });
    functions.idle.borrow_mut().entry(step).or_default().push((cloud.now_us(), container));
    *functions.running.borrow_mut().entry(step).or_default() -= 1;
    functions.freed.ring(&cloud.executor);
}

/// The container that was used last; one that was idle for too long is gone.
fn take_warm(cloud: &Cloud, step: Step) -> Option<Container> {
    let stays_us = (cloud.latencies.function_stays_warm_s.value * 1e6) as u64;
    let mut idle = cloud.functions.idle.borrow_mut();
    let (since_us, container) = idle.get_mut(&step)?.pop()?;
    (since_us + stays_us >= cloud.now_us()).then_some(container)
}

/// A block comes by the webhook: its payload is stored, then its event is put on the chain's queue.
pub(crate) async fn ingest(cloud: &Rc<Cloud>, block: Block) {
    cloud.wait(|all| &all.webhook_to_function, 1).await;
    invoke(cloud, Step::Ingest, async |_| {
        let invocation = Rc::new(Invocation::begin(Step::Ingest));
        let yard = cloud.yard(&invocation);
        if let Err(error) = yard.chain(&cloud.pipeline.chain.name).await {
            cloud.note("ingest", &error);
        }
        invocation.put_objects(cloud, 1).await;
        let message = Message::Block { block, sent_ms: yard.port.now_ms() };
        invocation.post(cloud, message).await;
        invocation.count(|usage| {
            usage.function_calls += 1;
            usage.webhook_requests += 1;
        });
        invocation.end(cloud, Step::Ingest);
    })
    .await;
}

/// The sweeper's schedule: each minute its ticks are sent, delayed.
pub(crate) async fn tick(cloud: Rc<Cloud>) {
    let tick_ms = cloud.pipeline.chain.tick_ms.clamp(1_000, MINUTE_MS) / 1_000 * 1_000;
    let mut minute_us = cloud.now_us();
    loop {
        let ticks = MINUTE_MS.div_ceil(tick_ms);
        let sends = ticks.div_ceil(10);
        let usage = Usage { standard_requests: sends, function_calls: 1, calls: sends, ..Usage::default() };
        cloud.account(Step::Sweeper, usage);
        for number in 0..ticks {
            cloud.executor.sleep_until_us(minute_us + number * tick_ms * 1_000).await;
            let of = Rc::clone(&cloud);
            cloud.executor.spawn(async move {
                of.wait(|all| &all.standard_to_function, 1).await;
                invoke(&of, Step::Sweeper, async |container| sweep(&of, container).await).await;
            });
        }
        minute_us += MINUTE_MS * 1_000;
        cloud.executor.sleep_until_us(minute_us).await;
    }
}

async fn sweep(cloud: &Rc<Cloud>, container: &Container) {
    let invocation = Rc::new(Invocation::begin(Step::Sweeper));
    invocation.count(|usage| {
        usage.standard_requests += 2;
        usage.function_calls += 1;
    });
    if let Err(error) = sweep_once(cloud, &invocation, container).await {
        cloud.note("a sweep", &error);
    }
    let until_us = cloud.now_us() + LONGEST_SWEEP_MS * 1_000;
    if let Err(error) = invocation.take_steps_until(cloud, Some(container), until_us).await {
        cloud.note("a sweep's steps", &error);
    }
    invocation.end(cloud, Step::Sweeper);
}

async fn sweep_once(
    cloud: &Rc<Cloud>,
    invocation: &Rc<Invocation>,
    container: &Container,
) -> Result<(), Error> {
    let yard = cloud.yard(invocation);
    let mut tick_ms = MINUTE_MS;
    for chain in yard.chains().await? {
        tick_ms = tick_ms.min(yard.chain(&chain).await?.1.chain.tick_ms);
    }
    let mut sweep = yard.begin_sweep(tick_ms.clamp(SHORTEST_SWEEP_MS, LONGEST_SWEEP_MS)).await?;
    sweep.what_frees_work().await?;
    if container.is_time_to_tell(cloud.now_us()) {
        for chain in yard.chains().await? {
            let gauges = yard.gauges(&chain, MAX_VALUES).await?;
            for sink in &gauges.sinks {
                yard.sink_lag_ms(&chain, sink).await?;
            }
        }
    }
    for pool in cloud.wakes.keys() {
        invocation.ensure_workers(cloud, container, pool, true).await;
    }
    sweep.scopes().await?;
    for (key, error) in sweep.end().await?.errors {
        cloud.note(&format!("a visit to {key}"), &error);
    }
    Ok(())
}
