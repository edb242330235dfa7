//! Who works for a pool, and how they hear that a task is listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use proofyard_core::error::{Coded, with_causes};
use proofyard_core::pipeline::Pipeline;
use proofyard_core::port::Wake;
use tracing::warn;

use crate::home::AwsHome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supplier {
    /// Workers that poll the pool's own queue: jobs of AWS Batch, or an operator's.
    Workers,
    /// The function `proposer`, which holds the keys: the pool is that of a stage with an action.
    Proposer,
}

impl AwsHome {
    /// Nothing is asked of a pool that is deployed.
    pub(crate) async fn supplier_of(&self, pool: &str) -> Supplier {
        if self.supply.submits(pool) || self.queues.has_used(&self.names.wake_queue(pool)) {
            return Supplier::Workers;
        }
        match self.yard.is_pool_of_action(pool).await {
            Ok(true) => Supplier::Proposer,
            Ok(false) => Supplier::Workers,
            Err(error) => {
                warn!(pool, code = %error.code(), error = %with_causes(&error), "who works for this pool cannot be read");
                Supplier::Workers
            }
        }
    }

    /// Called by the sweeper: wakes the proposer for what is listed, whatever became of earlier wakes, and also where a pool of
    /// that name has workers. What cannot be read now is for the next tick.
    pub(crate) async fn wake_actions(&self, pipelines: &[Arc<Pipeline>]) {
        let pools =
            pipelines.iter().flat_map(|pipeline| pipeline.pools.keys().map(move |pool| (pipeline, pool)));
        let actions = pools.filter(|(pipeline, pool)| pipeline.is_action(pool)).map(|(_, pool)| pool.clone());
        for pool in actions.collect::<BTreeSet<String>>() {
            match self.yard.waiting_calls(&pool, 1).await {
                Ok(0) => {}
                Ok(_) => self.wake_proposer(vec![Wake::Pool { pool }]).await,
                Err(error) => {
                    warn!(pool, code = %error.code(), error = %with_causes(&error), "its listed tasks cannot be counted")
                }
            }
        }
    }
}
