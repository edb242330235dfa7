//! The pools that a machine works for: those of all its pipelines, with one worker each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proofyard_core::pipeline::{Pipeline, Pool};
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::energy::EnergyMeter;
use proofyard_worker::isolation::Isolation;
use proofyard_worker::{WorkDir, WorkerPlan};

use super::MachineError;

/// The plan of a pool's one worker, which works until the machine stops.
pub(super) fn local_plan(
    pool_name: String,
    pool: Pool,
    guard: &GuardCommand,
    work_dir: &Arc<WorkDir>,
    isolation: &Arc<Isolation>,
    energy: &Arc<EnergyMeter>,
    (first_slot, accounts): (u32, &Path),
) -> WorkerPlan {
    WorkerPlan {
        id_prefix: "local".to_owned(),
        pool_name,
        pool,
        alone: true,
        max_tasks: None,
        idle_out: None,
        guard: guard.clone(),
        work_dir: Arc::clone(work_dir),
        isolation: Arc::clone(isolation),
        energy: Arc::clone(energy),
        first_slot,
        accounts: Some(accounts.to_owned()),
    }
}

/// Refuses pipelines whose provers need variables that this environment does not have.
pub(super) fn expect_environment(pipelines: &[Pipeline]) -> Result<(), MachineError> {
    for (prover, plan) in pipelines.iter().flat_map(|pipeline| &pipeline.provers) {
        if let Some(name) = plan.environment_from.iter().find(|name| std::env::var(name).is_err()) {
            return Err(MachineError::NoVariable {
                what: format!("prover {prover}"),
                name: format!("{name} (`environment_from`)"),
            });
        }
    }
    Ok(())
}

/// The pools of all pipelines of this yard.
pub(super) fn pools_of(pipelines: &[Pipeline]) -> Result<BTreeMap<String, Pool>, MachineError> {
    let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
    let acts = |name: &String| {
        let provers = pipelines.iter().filter_map(|pipeline| pipeline.provers.get(name));
        provers.into_iter().any(|prover| prover.contract.is_some())
    };
    for (name, pool) in pipelines.iter().flat_map(|pipeline| &pipeline.pools) {
        match pools.get(name) {
            Some(known) if known != pool && acts(name) => {
                return Err(MachineError::SlotsDiffer { stage: name.clone() });
            }
            Some(known) if known != pool => return Err(MachineError::PoolsDiffer { pool: name.clone() }),
            _ => {
                pools.insert(name.clone(), pool.clone());
            }
        }
    }
    Ok(pools)
}
