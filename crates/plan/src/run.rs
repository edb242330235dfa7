//! One run: the pipeline is put in force, machines come, then blocks do, and what happened becomes a prediction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::pipeline::Pipeline;

use crate::PlanError;
use crate::cloud::{Cloud, START_MS};
use crate::functions::{ingest, tick};
use crate::invocation::Invocation;
use crate::latencies::Latencies;
use crate::load::{Load, demand, fleet};
use crate::prediction::{Ended, Prediction};
use crate::provers::Provers;
use crate::usage::{Step, Usage};
use crate::worker::run_machines;

/// How long after the last block a run goes on at least, and how many times as long as blocks came at most.
const AFTERWARDS_US: u64 = 120_000_000;

/// What a window of time used.
type ByStep = BTreeMap<Step, Usage>;

/// Predicts what a pipeline on AWS does under a load. `text` is the pipeline's file, which was found to be without mistakes.
pub fn predict(
    text: &str,
    pipeline: &Pipeline,
    load: &Load,
    provers: &Provers,
    latencies: &Latencies,
) -> Result<Prediction, PlanError> {
    load.check()?;
    for stage in &pipeline.stages {
        for (_, prover) in &stage.provers {
            if provers.time_of(&stage.name, prover).is_none() {
                return Err(PlanError::NoProofTime { stage: stage.name.clone(), prover: prover.clone() });
            }
        }
    }
    let cloud = Cloud::new(load, pipeline.clone(), provers, latencies);
    let ended = run(&cloud, text);
    let failed = cloud.failed.borrow_mut().take();
    let prediction = match (ended, failed) {
        (_, Some(failed)) => Err(PlanError::Failed(failed)),
        (Some(ended), None) => Ok(Prediction::of(&cloud, &ended)),
        (None, None) => Err(PlanError::Failed("it took no pipeline".to_owned())),
    };
    cloud.end();
    prediction
}

fn run(cloud: &Rc<Cloud>, text: &str) -> Option<Ended> {
    let is_ready = Rc::new(Cell::new(false));
    let (of, ready, text) = (Rc::clone(cloud), Rc::clone(&is_ready), text.to_owned());
    cloud.executor.spawn(async move {
        let invocation = Rc::new(Invocation::uncached(Step::WorkerStart));
        match of.yard(&invocation).record_pipeline(&text).await {
            Ok(_) => ready.set(true),
            Err(error) => of.note("the pipeline", &error),
        }
        // An invocation each: only what is wanted once.
        invocation.outbox.take_all();
    });
    cloud.executor.run(u64::MAX, || false);
    if !is_ready.get() {
        return None;
    }
    let demands = demand(&cloud.pipeline, &cloud.provers, cloud.load.segments);
    let places = fleet(&cloud.pipeline, &demands, &cloud.load);
    let machines = places.len() as u64;
    let gpus: u64 = places.iter().map(|place| u64::from(place.slots * place.pool.gpus_per_slot.max(1))).sum();
    for place in places {
        cloud.executor.spawn(run_machines(Rc::clone(cloud), place));
    }
    cloud.executor.spawn(tick(Rc::clone(cloud)));
    let leases = cloud.pipeline.pools.values().map(|pool| pool.lease_ms);
    // All machines have come by then.
    cloud.executor.run(cloud.now_us() + leases.max().unwrap_or(0) / 3 * 1_000 + 2_000_000, || false);
    Some(take_blocks(cloud, machines, gpus))
}

/// Has blocks come, and waits for their commits for a while.
fn take_blocks(cloud: &Rc<Cloud>, machines: u64, gpus: u64) -> Ended {
    let (began_us, usage_before) = (cloud.now_us(), cloud.usage.borrow().clone());
    let of = Rc::clone(cloud);
    cloud.executor.spawn(async move { arrive(&of).await });
    let blocks = cloud.load.blocks;
    let block_us = cloud.load.block_s * 1e6;
    let half_us = began_us + (block_us * (blocks as f64 / 2.0)) as u64;
    let last_us = began_us + (block_us * blocks as f64) as u64;
    let is_failed = || cloud.failed.borrow().is_some();
    let busy_before_us = busy_us(cloud);
    run_to(cloud, half_us);
    let lag_at_half = lag(cloud);
    run_to(cloud, last_us);
    let (lag_blocks, lag_us) = lag(cloud);
    let busy_us = busy_us(cloud).into_iter().map(|(pool, us)| {
        let before_us = busy_before_us.get(&pool).copied().unwrap_or_default();
        (pool, us - before_us)
    });
    let busy_us = busy_us.collect();
    let usage = used_since(cloud, &usage_before);
    let committed = || cloud.observed.borrow().committed.len() as u64 >= blocks;
    let ended = Ended {
        machines,
        gpus,
        lasted_us: last_us - began_us,
        lag_blocks_at_half: lag_at_half.0,
        lag_blocks,
        lag_us,
        busy_us,
        usage,
    };
    // What falls behind would only fall further behind.
    if !ended.lag_grows() {
        let over_us = last_us + AFTERWARDS_US.max(last_us - began_us);
        cloud.executor.run(over_us, || committed() || is_failed());
    }
    ended
}

/// Also where nothing happens until then.
fn run_to(cloud: &Cloud, until_us: u64) {
    cloud.executor.run(until_us, || cloud.failed.borrow().is_some());
}

async fn arrive(cloud: &Rc<Cloud>) {
    let began_us = cloud.now_us();
    for number in 0..cloud.load.blocks {
        let at_us = began_us + (cloud.load.block_s * 1e6 * number as f64) as u64;
        cloud.executor.sleep_until_us(at_us).await;
        let block = cloud.load.block(&cloud.pipeline, number, (START_MS + at_us / 1_000) / 1_000);
        cloud.observed.borrow_mut().arrived_us.insert(block.height, cloud.now_us());
        let of = Rc::clone(cloud);
        cloud.executor.spawn(async move { ingest(&of, block).await });
    }
}

/// How many blocks have come and are not committed, and since when the oldest of them.
fn lag(cloud: &Cloud) -> (u64, u64) {
    let observed = cloud.observed.borrow();
    let mut waiting =
        observed.arrived_us.iter().filter(|(height, _)| !observed.committed.contains_key(height));
    match waiting.next() {
        None => (0, 0),
        Some((_, arrived_us)) => (1 + waiting.count() as u64, cloud.now_us() - arrived_us),
    }
}

fn busy_us(cloud: &Cloud) -> BTreeMap<String, u64> {
    let now_us = cloud.now_us();
    let mut observed = cloud.observed.borrow_mut();
    observed.pools.iter_mut().map(|(pool, seen)| (pool.clone(), seen.busy_us(now_us))).collect()
}

fn used_since(cloud: &Cloud, before: &ByStep) -> ByStep {
    let now = cloud.usage.borrow();
    now.iter().map(|(step, usage)| (*step, *usage - before.get(step).copied().unwrap_or_default())).collect()
}
