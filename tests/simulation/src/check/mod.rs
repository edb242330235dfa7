//! The checker: after each commit it reads what changed, straight from the store and without faults, and checks every
//! invariant. It knows the true node and the true proofs, which the handlers do not.
//!
//! The invariants are those of ARCHITECTURE.md ("What always holds"), by the numbers they have there.

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
use proofyard_core::state::{ChainName, PipelineHash, Scope, Task};

use self::mirror::{Item, Mirror};
use crate::executor::Simulation;
use crate::store::Caller;
use crate::world::proving::Proving;

/// How far a handler's clock may be from the true time, in checks that compare the two.
pub const CLOCK_SKEW_MS: u64 = 200;

/// What every check may read.
pub struct Context<'a> {
    pub simulation: &'a Simulation,
    pub mirror: &'a Mirror,
    pub pipelines: &'a BTreeMap<PipelineHash, Arc<Pipeline>>,
    pub proving: &'a Proving,
    /// Who made the commit that is checked.
    pub by: Caller,
}

impl Context<'_> {
    /// The pipeline that is in force.
    pub fn pipeline(&self, chain: &ChainName) -> Option<&Pipeline> {
        self.pipelines.get(&self.mirror.chain(chain)?.pipeline).map(|pipeline| &**pipeline)
    }

    /// The pipeline that a scope was opened with.
    pub fn pipeline_of(&self, scope: &Scope) -> Option<&Pipeline> {
        match scope.pipeline().is_none() {
            true => self.pipeline(scope.chain()),
            false => self.pipelines.get(scope.pipeline()).map(|pipeline| &**pipeline),
        }
    }

    /// One invariant: unless it holds, the run fails with this message.
    pub fn must(&self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.simulation.violate(violation());
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
    pipelines: BTreeMap<PipelineHash, Arc<Pipeline>>,
}

impl Checker {
    /// Checks everything that was committed since the last call.
    pub fn check(&mut self, simulation: &Simulation, proving: &Proving) {
        let journal = simulation.table_mut().take_journal();
        let mut is_lost = false;
        for commit in journal {
            let changes = match self.mirror.apply(&commit.changes) {
                Ok(changes) => changes,
                Err(reason) => return simulation.violate(reason),
            };
            for text in changes.iter().filter_map(|change| match change.after.as_deref() {
                Some(Item::Text(text)) => Some(text),
                _ => None,
            }) {
                if let Ok(checked) = proofyard_core::pipeline::parse(&text.text) {
                    self.pipelines.insert(text.hash.clone(), Arc::new(checked.pipeline));
                }
            }
            let (mirror, pipelines) = (&self.mirror, &self.pipelines);
            let context = Context { simulation, mirror, pipelines, proving, by: commit.by };
            if commit.is_lost {
                is_lost = true;
                continue;
            }
            order::check(&context, &changes);
            self.out_logs.check(&context, &changes);
            tasks::check(&context, &changes);
            self.budgets.check(&context, &changes);
            proofs::check(&context, &changes);
            self.quorums.check(&context, &changes);
            self.leases.check(&context, &changes);
            reduction::check(&context, &changes);
            due::check(&context, &changes);
            self.claims.note(&context, &changes);
        }
        if is_lost {
            self.restart(simulation, proving);
        }
    }

    /// After a power loss: what is on disk is all there is.
    fn restart(&mut self, simulation: &Simulation, proving: &Proving) {
        let tasks = self.mirror.items().filter_map(|(_, item)| match item {
            Item::Task(task) => Some(&**task),
            _ => None,
        });
        self.budgets.restart(tasks.collect::<Vec<&Task>>().into_iter());
        let (mirror, pipelines) = (&self.mirror, &self.pipelines);
        let context = Context { simulation, mirror, pipelines, proving, by: Caller::default() };
        self.claims.restart(&context);
        self.out_logs.restart(&context);
        self.leases.restart();
    }

    /// For questions about what is stored now.
    pub fn context<'a>(&'a self, simulation: &'a Simulation, proving: &'a Proving) -> Context<'a> {
        let Self { mirror, pipelines, .. } = self;
        Context { simulation, mirror, pipelines, proving, by: Caller::default() }
    }
}
