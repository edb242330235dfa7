//! A worker whose lease holds is not expired: what it was told of its lease counts, by true time.

use std::collections::BTreeMap;

use super::mirror::{Item, Seen};
use super::{CLOCK_SKEW_MS, Sight};

/// Until when each worker was told that it holds its work.
#[derive(Default)]
pub struct Leases(BTreeMap<String, u64>);

impl Leases {
    /// The yard said yes to a call that began a lease before this time.
    pub fn told(&mut self, worker: &str, until_ms: u64) {
        let told_ms = self.0.entry(worker.to_owned()).or_default();
        *told_ms = until_ms.max(*told_ms);
    }

    /// With the power went what was not on disk of them, and the workers.
    pub fn restart(&mut self) {
        self.0.clear();
    }

    pub fn check(&self, sight: &Sight<'_>, commit: &[Seen]) {
        for seen in commit {
            let (Some(Item::Worker(before)), Some(Item::Worker(after))) =
                (seen.before.as_deref(), seen.after.as_deref())
            else {
                continue;
            };
            // Whoever sees a process end need not wait for its lease.
            if before.dead || !after.dead || sight.by.name != "sweep" {
                continue;
            }
            sight.simulation.count("check: lease ran out");
            let until_ms = self.0.get(&after.id).copied().unwrap_or(0);
            sight.must(sight.simulation.now_ms() + CLOCK_SKEW_MS >= until_ms, || {
                format!(
                    "{} was expired {} ms before its lease ends",
                    after.id,
                    until_ms - sight.simulation.now_ms()
                )
            });
        }
    }
}
