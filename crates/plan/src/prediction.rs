//! What a run says: times, machines, calls and dollars.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cloud::Cloud;
use crate::load::{Demand, Load, demand};
use crate::observed::Parts;
use crate::usage::{Dollars, Step, Usage};

const MONTH_S: f64 = 30.0 * 86_400.0;
/// How often a mapping and a worker ask a queue that has nothing.
const MAPPING_POLLS_A_SECOND: f64 = 15.0 / 60.0;
const WORKER_POLLS_A_SECOND: f64 = 1.0 / 5.0;
/// The share of blocks, the first ones, that is not counted: functions start cold.
const WARM_UP: u64 = 10;

/// By nearest rank, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50_s: f64,
    pub p90_s: f64,
    pub p99_s: f64,
    pub max_s: f64,
}

impl Percentiles {
    fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        let at = |percent: usize| {
            let rank = (times_us.len() * percent).div_ceil(100).max(1);
            times_us.get(rank - 1).map_or(0.0, |us| *us as f64 / 1e6)
        };
        Self { p50_s: at(50), p90_s: at(90), p99_s: at(99), max_s: at(100) }
    }
}

/// What became of the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Blocks {
    pub came: u64,
    pub committed: u64,
    /// Of those, without the warm-up.
    pub counted: u64,
    /// When the last one had come: how many were not committed, and since when the oldest of them waited.
    pub lag_blocks: u64,
    pub lag_s: f64,
    /// The fleet does not keep up.
    pub lag_grows: bool,
}

/// What one step used of AWS, on average, each time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepUsage {
    pub step: Step,
    pub times: u64,
    pub calls: f64,
    pub rounds: f64,
    pub read_units: f64,
    pub write_units: f64,
    pub object_puts: f64,
    pub object_gets: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    pub load: Load,
    pub machines: u64,
    pub gpus: u64,
    pub blocks: Blocks,
    /// From a block's arrival to its commit.
    pub latency: Percentiles,
    /// What of it is not proving on the critical path, nor waiting for a free slot or for other blocks.
    pub orchestration: Percentiles,
    /// What of orchestration it takes, on the critical path, until a free slot has claimed a task that is listed.
    pub until_claimed: Percentiles,
    /// What of it is waiting for a free slot, on the critical path.
    pub waiting_for_machines: Percentiles,
    /// What of it is waiting for blocks before, or for a cut's others.
    pub waiting_for_blocks: Percentiles,
    pub proving: Percentiles,
    /// What one block asks for, by pool.
    pub demand: BTreeMap<String, Demand>,
    /// So many would be busy all the time.
    pub gpus_needed: f64,
    /// The share of the time in which slots were busy, proving or with what is around it, by pool.
    pub busy: BTreeMap<String, f64>,
    pub most_slots_busy: BTreeMap<String, u64>,
    pub tasks: u64,
    pub steps: Vec<StepUsage>,
    /// How often workers look for a task, all together, which reads one partition of the table.
    pub looks_a_second: f64,
    pub cold_starts_share: f64,
    /// Messages and steps that were tried again.
    pub retries: u64,
    pub usd_a_block: Dollars,
    pub usd_a_month: Dollars,
    /// How long was simulated.
    pub simulated_s: f64,
}

/// What a run leaves.
pub(crate) struct Ended {
    pub machines: u64,
    pub gpus: u64,
    /// From the first block until one more would have come after the last.
    pub lasted_us: u64,
    pub lag_blocks_at_half: u64,
    pub lag_blocks: u64,
    pub lag_us: u64,
    /// By pool, all slots together.
    pub busy_us: BTreeMap<String, u64>,
    pub usage: BTreeMap<Step, Usage>,
}

impl Ended {
    /// Blocks wait more and more: those that wait at the end are more than at half of the time, by more than one in ten.
    pub fn lag_grows(&self) -> bool {
        let more = self.lag_blocks.saturating_sub(self.lag_blocks_at_half);
        self.lag_blocks > 2 && more >= 2 && more as f64 > 0.1 * self.lag_blocks_at_half as f64
    }
}

impl Prediction {
    /// The busiest pool's share.
    pub fn busy_share(&self) -> f64 {
        self.busy.values().copied().fold(0.0, f64::max)
    }

    pub(crate) fn of(cloud: &Cloud, ended: &Ended) -> Self {
        let (load, parts) = (&cloud.load, parts(cloud));
        let demand = demand(&cloud.pipeline, &cloud.provers, load.segments);
        let gpus_needed = demand.values().map(|demand| demand.gpu_s).sum::<f64>() / load.block_s;
        let times = |of: fn(&Parts) -> u64| Percentiles::of(parts.iter().map(of).collect());
        let lasted_s = ended.lasted_us as f64 / 1e6;
        let used = with_polls(cloud, ended, lasted_s);
        let mut usd = Dollars::of(&used, &cloud.latencies.prices);
        usd.machines = ended.gpus as f64 * lasted_s / 3_600.0 * cloud.latencies.prices.gpu_hours.usd;
        let mut observed = cloud.observed.borrow_mut();
        let slots = observed.pools.iter_mut().map(|(pool, seen)| (pool.clone(), seen.slots())).collect();
        let functions = &cloud.functions;
        Self {
            load: load.clone(),
            machines: ended.machines,
            gpus: ended.gpus,
            blocks: Blocks {
                came: observed.arrived_us.len() as u64,
                committed: observed.committed.len() as u64,
                counted: parts.len() as u64,
                lag_blocks: ended.lag_blocks,
                lag_s: ended.lag_us as f64 / 1e6,
                lag_grows: ended.lag_grows(),
            },
            latency: times(|parts| parts.latency_us),
            orchestration: times(|parts| parts.orchestration_us),
            until_claimed: times(|parts| parts.taking_us),
            waiting_for_machines: times(|parts| parts.machines_us),
            waiting_for_blocks: times(|parts| parts.blocks_us),
            proving: times(|parts| parts.proving_us),
            demand,
            gpus_needed,
            busy: busy(ended, &slots),
            most_slots_busy: observed
                .pools
                .iter()
                .map(|(pool, seen)| (pool.clone(), seen.most_busy))
                .collect(),
            tasks: observed.tasks(),
            steps: steps(&ended.usage),
            looks_a_second: looks(&ended.usage) as f64 / lasted_s,
            cold_starts_share: functions.cold_starts.get() as f64 / functions.starts.get().max(1) as f64,
            retries: cloud.retries.get(),
            usd_a_block: usd.times(1.0 / load.blocks as f64),
            usd_a_month: usd.times(MONTH_S / lasted_s),
            simulated_s: cloud.now_us() as f64 / 1e6,
        }
    }
}

/// Of the committed blocks after the warm-up.
fn parts(cloud: &Cloud) -> Vec<Parts> {
    let observed = cloud.observed.borrow();
    let first = cloud.pipeline.chain.start_height + cloud.load.blocks / WARM_UP;
    let counted = observed.committed.keys().filter(|height| **height >= first);
    counted.filter_map(|height| observed.parts(*height, cloud.pipeline.chain.window)).collect()
}

/// All that was used, with what is asked of queues that have nothing.
fn with_polls(cloud: &Cloud, ended: &Ended, lasted_s: f64) -> Usage {
    let workers: usize = cloud.wakes.values().map(crate::queues::WakeQueue::workers).sum();
    let polls = Usage {
        fifo_requests: (2.0 * MAPPING_POLLS_A_SECOND * lasted_s) as u64,
        standard_requests: ((MAPPING_POLLS_A_SECOND + WORKER_POLLS_A_SECOND * workers as f64) * lasted_s)
            as u64,
        ..Usage::default()
    };
    ended.usage.values().fold(polls, |sum, usage| sum + *usage)
}

fn busy(ended: &Ended, slots: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    let share = |(pool, us): (&String, &u64)| {
        let all_us = slots.get(pool).copied().unwrap_or(0) * ended.lasted_us;
        (pool.clone(), *us as f64 / all_us.max(1) as f64)
    };
    ended.busy_us.iter().map(share).collect()
}

fn looks(usage: &BTreeMap<Step, Usage>) -> u64 {
    [Step::Worker, Step::IdleLook].iter().filter_map(|step| usage.get(step)).map(|usage| usage.times).sum()
}

fn steps(usage: &BTreeMap<Step, Usage>) -> Vec<StepUsage> {
    let each = |(step, usage): (&Step, &Usage)| {
        let mean = |count: u64| count as f64 / usage.times.max(1) as f64;
        StepUsage {
            step: *step,
            times: usage.times,
            calls: mean(usage.calls),
            rounds: mean(usage.rounds),
            read_units: mean(usage.half_reads) / 2.0,
            write_units: mean(usage.writes),
            object_puts: mean(usage.object_puts),
            object_gets: mean(usage.object_gets),
        }
    };
    usage.iter().filter(|(_, usage)| usage.times > 0).map(each).collect()
}
