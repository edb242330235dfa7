//! What a seed draws for its world: chains, workers, and how often each thing goes wrong.

use std::collections::BTreeMap;

use super::pipelines::{self, Pools};
use crate::executor::START_MS;
use crate::faults::Faults;
use proofyard_core::state::ChainName;
use proofyard_memory_store::Random;

/// No handler compares two hosts' clocks, so they may be off by hours.
pub const WORKER_CLOCKS_OFF_MAX_MS: u64 = 3 * 3_600_000;

#[derive(Clone, Debug)]
pub struct ChainPlan {
    pub name: ChainName,
    pub start_height: u64,
    pub text: String,
    pub blocks: u64,
    pub block_interval_ms: u64,
    pub max_segments: u64,
    /// How often a new block is on another branch, in 10,000; and how far back that begins.
    pub reorg: u32,
    pub reorg_depth: u64,
    /// How long the node stays on a branch once all blocks are there.
    pub flip_interval_ms: u64,
}

/// Rates are per 10,000.
#[derive(Clone, Debug)]
pub struct Plan {
    pub faults: Faults,
    /// How many items a page of a handler's loop takes, if fewer than in a home.
    pub page_items: Option<usize>,
    pub chains: Vec<ChainPlan>,
    /// By pool.
    pub workers: BTreeMap<String, u32>,
    pub slots: u32,
    pub prove_ms: u64,
    pub prover_fails: u32,
    pub prover_refuses: u32,
    pub proves_wrong: u32,
    /// A valid proof with public values unlike those of other provers.
    pub disagrees: u32,
    pub worker_dies: u32,
    pub worker_freezes: u32,
    pub spot_storm: u32,
    pub everything_dies: u32,
    pub power_loss: u32,
    pub releases: u32,
    pub disobeys: u32,
    pub sink_fails: u32,
    /// A handler's future is dropped at some call, and its process goes on.
    pub cut_offs: u32,
    /// How far the clocks of workers' hosts may be off, either way; `None` where they work on the yard's machine.
    pub worker_clocks_off_ms: Option<u64>,
    /// A message is handled in an invocation, with the steps that it leads to.
    pub invocations: u32,
    pub noise_interval_ms: u64,
    pub operator_interval_ms: u64,
    pub busy_until_ms: u64,
    /// The run has a phase in which one more block must be committed without wakes; it takes long.
    pub ends_by_due_times: bool,
    /// Nothing is handed on before a judge has looked at it.
    pub judged: bool,
}

impl Plan {
    pub fn draw(random: &mut Random) -> Self {
        let pools = Pools::draw(random);
        let chains: Vec<ChainPlan> = (0..*random.pick(&[1, 1, 1, 2, 2, 3]))
            .map(|index| ChainPlan::draw(["chain-a", "chain-b", "chain-c"][index], &pools, random))
            .collect();
        let workers =
            pools.names.iter().map(|pool| ((*pool).to_owned(), random.between(1, 4) as u32)).collect();
        let mining_ms = chains.iter().map(|chain| chain.blocks * chain.block_interval_ms).max().unwrap_or(0);
        let plan = Self {
            faults: Faults::draw(random),
            page_items: *random.pick(&[None, Some(1), Some(2), Some(4)]),
            chains,
            workers,
            slots: random.between(1, 2) as u32,
            prove_ms: *random.pick(&[0, 20, 500, 5_000]),
            prover_fails: rate(random, 3_000),
            prover_refuses: rate(random, 600),
            proves_wrong: rate(random, 2_000),
            disagrees: *random.pick(&[0, 3_000, 8_000]),
            worker_dies: rate(random, 1_000),
            worker_freezes: rate(random, 2_000),
            spot_storm: rate(random, 600),
            everything_dies: rate(random, 300),
            power_loss: rate(random, 1_000),
            releases: rate(random, 1_000),
            disobeys: rate(random, 6_000),
            sink_fails: rate(random, 5_000),
            cut_offs: rate(random, 3_000),
            worker_clocks_off_ms: *random.pick(&[None, Some(100), Some(WORKER_CLOCKS_OFF_MAX_MS)]),
            invocations: rate(random, 10_000),
            noise_interval_ms: *random.pick(&[1_000, 5_000, 60_000]),
            operator_interval_ms: *random.pick(&[500, 3_000, 20_000, 3_600_000]),
            busy_until_ms: START_MS + mining_ms + random.between(1_000, 30_000),
            ends_by_due_times: random.chance(4_000),
            judged: false,
        };
        // Drawn last, so that all else of each seed is as it was before there were judges.
        let judged = random.chance(4_000);
        let forge = if judged { *random.pick(&[0, 300, 1_500]) } else { 0 };
        Self { judged, faults: Faults { forge, ..plan.faults }, ..plan }
    }
}

impl ChainPlan {
    #[allow(clippy::expect_used, reason = "names of its own, as chains can be called")]
    fn draw(name: &str, pools: &Pools, random: &mut Random) -> Self {
        let name: ChainName = name.parse().expect("a chain's name");
        let start_height = *random.pick(&[0, 1, 1_020]);
        let text = pipelines::draw(&name, start_height, pools, random);
        // Sometimes so many segments that a group's tasks take several pages.
        let (blocks, max_segments) =
            if random.chance(1_000) { (2, 60) } else { (random.between(2, 10), random.between(1, 4)) };
        Self {
            name,
            start_height,
            text,
            blocks,
            block_interval_ms: *random.pick(&[10, 500, 5_000]),
            max_segments,
            reorg: *random.pick(&[0, 2_000, 5_000]),
            reorg_depth: random.between(1, 6),
            flip_interval_ms: *random.pick(&[200, 2_000]),
        }
    }
}

/// Never in some seeds, often in others.
fn rate(random: &mut Random, often: u32) -> u32 {
    *random.pick(&[0, 0, often / 5, often])
}
