//! What is planned for: how blocks come, who proves them, and how often each pool's work is needed.

use std::collections::BTreeMap;

use proofyard_core::pipeline::Pipeline;
use proofyard_core::state::{ArtifactRef, Block, BlockHash};
use serde::Serialize;

use crate::PlanError;
use crate::provers::Provers;
use crate::worker::Place;

/// A load, and a fleet for it.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// A block comes each so many seconds.
    pub block_s: f64,
    /// How many a split makes of a block, or of a list.
    pub segments: u32,
    pub blocks: u64,
    pub gpus: u32,
    pub advance: Advance,
    pub seed: u64,
    /// Functions ask AWS Batch for workers, as where workers are its jobs.
    pub counts_workers: bool,
}

/// Who takes the steps that follow a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advance {
    Worker,
    Collector,
}

/// What one block asks for of a pool, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Demand {
    pub tasks: f64,
    /// Of a slot.
    pub slot_s: f64,
    pub gpu_s: f64,
}

impl Load {
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let bad = |what: &str| Err(PlanError::Load(what.to_owned()));
        if !(0.001..=1e6).contains(&self.block_s) {
            return bad("blocks must come each 0.001 to a million seconds");
        }
        if !(1..=4_096).contains(&self.segments) {
            return bad("a block has from 1 to 4,096 segments");
        }
        if !(1..=100_000).contains(&self.blocks) {
            return bad("from 1 to 100,000 blocks can be simulated");
        }
        match self.gpus {
            1..=100_000 => Ok(()),
            _ => bad("a fleet has from 1 to 100,000 GPUs"),
        }
    }

    pub(crate) fn block(&self, pipeline: &Pipeline, number: u64, timestamp_s: u64) -> Block {
        let height = pipeline.chain.start_height + number;
        let hash = |height: u64| BlockHash::from(format!("0x{height:064x}"));
        let fields = pipeline.cut_stages().flat_map(|(_, _, rule)| {
            rule.cut_on.iter().cloned().chain(rule.budget.iter().map(|budget| budget.field.clone()))
        });
        Block {
            height,
            hash: hash(height),
            parent: hash(height.wrapping_sub(1)),
            timestamp_s,
            segments: self.segments,
            fields: fields.map(|name| (name, "1".to_owned())).collect(),
            payload: ArtifactRef { sha256: format!("payload-{height}"), bytes: 1_000_000 },
        }
    }
}

/// What a block asks for of each pool.
pub fn demand(pipeline: &Pipeline, provers: &Provers, segments: u32) -> BTreeMap<String, Demand> {
    let mut demands: BTreeMap<String, Demand> = BTreeMap::new();
    let mut tasks_of: Vec<f64> = Vec::new();
    for stage in &pipeline.stages {
        let cut = stage.cut_by.and_then(|cut| pipeline.stages[cut].cut_rule());
        let scopes = cut.map_or(1.0, |rule| 1.0 / rule.size.max(1) as f64);
        let tasks = stage.expected_tasks(segments) * scopes;
        tasks_of.push(tasks);
        let Some((_, prover)) = stage.provers.last() else { continue };
        let Some(pool) = pipeline.pools.get(&stage.pool) else { continue };
        let seconds = provers.time_of(&stage.name, prover).map_or(0.0, |time| time.mean_s());
        let demand = demands.entry(stage.pool.clone()).or_default();
        demand.tasks += tasks;
        demand.slot_s += tasks * seconds;
        demand.gpu_s += tasks * seconds * f64::from(pool.gpus_per_slot.max(1));
    }
    demands
}

/// The machines of a fleet: its GPUs are shared among the pools that need any as their work is; where no pool says how many
/// GPUs a slot has, each slot is one. Other pools have half as many slots again as their work keeps busy.
pub(crate) fn fleet(pipeline: &Pipeline, demands: &BTreeMap<String, Demand>, load: &Load) -> Vec<Place> {
    let has_gpus = pipeline.pools.values().any(|pool| pool.gpus_per_slot > 0);
    let takes_gpus =
        |pool: &str| !has_gpus || pipeline.pools.get(pool).is_some_and(|pool| pool.gpus_per_slot > 0);
    let all_gpu_s: f64 =
        demands.iter().filter(|(pool, _)| takes_gpus(pool)).map(|(_, demand)| demand.gpu_s).sum();
    let sharing = demands.keys().filter(|pool| takes_gpus(pool)).count().max(1);
    let mut places = Vec::new();
    for (name, demand) in demands {
        let pool = &pipeline.pools[name];
        let mut slots_left = if takes_gpus(name) {
            let share = if all_gpu_s > 0.0 { demand.gpu_s / all_gpu_s } else { 1.0 / sharing as f64 };
            (f64::from(load.gpus) * share / f64::from(pool.gpus_per_slot.max(1))).round() as u32
        } else {
            (demand.slot_s / load.block_s * 1.5).ceil() as u32 + 1
        };
        slots_left = slots_left.max(1);
        let advances = load.advance == Advance::Worker;
        while slots_left > 0 {
            let slots = slots_left.min(pool.slots.max(1));
            places.push(Place { pool_name: name.clone(), pool: pool.clone(), slots, advances });
            slots_left -= slots;
        }
    }
    places
}
