//! A worker is not expired before its lease ends. Until when the lease holds is what the yard's last answer to the worker
//! implies, by true time.

use std::collections::BTreeMap;

use proofyard_core::state::WorkerId;

use super::mirror::{Changed, Item};
use super::{CLOCK_SKEW_MS, Context};

/// Until when each worker's lease holds, in true time.
#[derive(Default)]
pub struct Leases(BTreeMap<WorkerId, u64>);

impl Leases {
    /// The yard accepted a registration or a heartbeat: the lease holds until then, or longer.
    pub fn extend(&mut self, worker: &WorkerId, until_ms: u64) {
        let known_ms = self.0.entry(worker.clone()).or_default();
        *known_ms = until_ms.max(*known_ms);
    }

    /// A power loss ends all workers, and may take their heartbeats back.
    pub fn restart(&mut self) {
        self.0.clear();
    }

    pub fn check(&self, context: &Context<'_>, commit: &[Changed]) {
        for change in commit {
            let (Some(Item::Worker(before)), Some(Item::Worker(after))) =
                (change.before.as_deref(), change.after.as_deref())
            else {
                continue;
            };
            // A watcher that sees a process end need not wait for its lease.
            if before.dead || !after.dead || context.by.name != "sweep" {
                continue;
            }
            context.simulation.count("check: lease ran out");
            let until_ms = self.0.get(&after.id).copied().unwrap_or(0);
            context.must(context.simulation.now_ms() + CLOCK_SKEW_MS >= until_ms, || {
                format!(
                    "{} was expired {} ms before its lease ends",
                    after.id,
                    until_ms - context.simulation.now_ms()
                )
            });
        }
    }
}
