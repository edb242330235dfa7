//! The checker: after each commit it reads what changed, straight from the store, and asks whether every promise
//! still holds. It knows the true node and the true proofs, which the handlers do not.

pub mod claims;
pub mod due;
pub mod mirror;
pub mod order;
pub mod out_log;
pub mod proofs;
pub mod reduction;
pub mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use proofyard_core::pipeline::Pipeline;

use self::mirror::Mirror;
use crate::executor::Simulation;
use crate::world::proving::Proving;

/// What all checks may look at.
pub struct Sight<'a> {
    pub simulation: &'a Simulation,
    pub mirror: &'a Mirror,
    pub pipelines: &'a BTreeMap<String, Arc<Pipeline>>,
    pub proving: &'a Proving,
}

impl Sight<'_> {
    pub fn pipeline(&self, chain: &str) -> Option<&Pipeline> {
        self.pipelines.get(chain).map(|pipeline| &**pipeline)
    }

    /// Checks one promise.
    pub fn must(&self, holds: bool, broken: impl FnOnce() -> String) {
        if !holds {
            self.simulation.violate(broken());
        }
    }
}

#[derive(Default)]
pub struct Checker {
    pub mirror: Mirror,
    pub out_logs: out_log::OutLogs,
    pub claims: claims::Claims,
}

impl Checker {
    /// Looks at everything that was committed since it last looked.
    pub fn look(
        &mut self,
        simulation: &Simulation,
        pipelines: &BTreeMap<String, Arc<Pipeline>>,
        proving: &Proving,
    ) {
        let journal = simulation.table_mut().take_journal();
        for changes in journal {
            let commit = match self.mirror.apply(&changes) {
                Ok(commit) => commit,
                Err(reason) => return simulation.violate(reason),
            };
            let sight = Sight { simulation, mirror: &self.mirror, pipelines, proving };
            order::check(&sight, &commit);
            self.out_logs.check(&sight, &commit);
            tasks::check(&sight, &commit);
            proofs::check(&sight, &commit);
            reduction::check(&sight, &commit);
            due::check(&sight, &commit);
            self.claims.note(&sight, &commit);
        }
    }
}
