//! The checker: after each commit it reads what changed, straight from the store, and asks whether every promise
//! still holds. It knows the true node and the true proofs, which the handlers do not.

pub mod budgets;
pub mod claims;
pub mod due;
pub mod leases;
pub mod lost;
pub mod mirror;
pub mod order;
pub mod out_log;
pub mod proofs;
pub mod quorums;
pub mod ranks;
pub mod reduction;
pub mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use proofyard_core::pipeline::Pipeline;
use proofyard_core::state::{Scope, Task};

use self::mirror::{Item, Mirror};
use crate::executor::Simulation;
use crate::store::Caller;
use crate::world::proving::Proving;

/// How far two clocks that should be alike may be apart, in checks that compare a handler's time with the true one.
pub const CLOCK_SKEW_MS: u64 = 200;

/// What all checks may look at.
pub struct Sight<'a> {
    pub simulation: &'a Simulation,
    pub mirror: &'a Mirror,
    /// By the hash of their text.
    pub pipelines: &'a BTreeMap<String, Arc<Pipeline>>,
    pub proving: &'a Proving,
    /// Who made the commit that is looked at.
    pub by: Caller,
}

impl Sight<'_> {
    /// The pipeline that is in force.
    pub fn pipeline(&self, chain: &str) -> Option<&Pipeline> {
        self.pipelines.get(&self.mirror.chain(chain)?.pipeline).map(|pipeline| &**pipeline)
    }

    /// The pipeline that a scope was opened with.
    pub fn pipeline_of(&self, scope: &Scope) -> Option<&Pipeline> {
        match scope.pipeline.is_empty() {
            true => self.pipeline(&scope.chain),
            false => self.pipelines.get(&scope.pipeline).map(|pipeline| &**pipeline),
        }
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
    pub quorums: quorums::Quorums,
    pub leases: leases::Leases,
    budgets: budgets::Budgets,
    pipelines: BTreeMap<String, Arc<Pipeline>>,
}

impl Checker {
    /// Looks at everything that was committed since it last looked.
    pub fn look(&mut self, simulation: &Simulation, proving: &Proving) {
        let journal = simulation.table_mut().take_journal();
        let mut is_lost = false;
        for commit in journal {
            let seen = match self.mirror.apply(&commit.changes) {
                Ok(seen) => seen,
                Err(reason) => return simulation.violate(reason),
            };
            for text in seen.iter().filter_map(|seen| match seen.after.as_deref() {
                Some(Item::Text(text)) => Some(text),
                _ => None,
            }) {
                if let Ok(checked) = proofyard_core::pipeline::parse(&text.text) {
                    self.pipelines.insert(text.hash.clone(), Arc::new(checked.pipeline));
                }
            }
            let (mirror, pipelines) = (&self.mirror, &self.pipelines);
            let sight = Sight { simulation, mirror, pipelines, proving, by: commit.by };
            if commit.is_lost {
                is_lost = true;
                lost::check(&sight, &seen);
                continue;
            }
            order::check(&sight, &seen);
            self.out_logs.check(&sight, &seen);
            tasks::check(&sight, &seen);
            self.budgets.check(&sight, &seen);
            proofs::check(&sight, &seen);
            self.quorums.check(&sight, &seen);
            self.leases.check(&sight, &seen);
            reduction::check(&sight, &seen);
            due::check(&sight, &seen);
            self.claims.note(&sight, &seen);
        }
        if is_lost {
            self.restart(simulation, proving);
        }
    }

    /// What is on disk is all there is.
    fn restart(&mut self, simulation: &Simulation, proving: &Proving) {
        let tasks = self.mirror.items().filter_map(|(_, item)| match item {
            Item::Task(task) => Some(&**task),
            _ => None,
        });
        self.budgets.restart(tasks.collect::<Vec<&Task>>().into_iter());
        let (mirror, pipelines) = (&self.mirror, &self.pipelines);
        let sight = Sight { simulation, mirror, pipelines, proving, by: Caller::default() };
        self.claims.restart(&sight);
        self.out_logs.restart(&sight);
        self.leases.restart();
    }

    /// To ask about what is stored now.
    pub fn sight<'a>(&'a self, simulation: &'a Simulation, proving: &'a Proving) -> Sight<'a> {
        let Self { mirror, pipelines, .. } = self;
        Sight { simulation, mirror, pipelines, proving, by: Caller::default() }
    }
}
