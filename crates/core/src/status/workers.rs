//! Whether anybody is there to work for a pool, and how, from the leases that workers hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::pages::DuePages;
use crate::port::DueKind;
use crate::state::{Heartbeat, KeyFamily, SeenHeartbeat, Worker};
use crate::transaction::read;
use crate::yard::{Yard, boxed};

/// Pages of the due index looked at in one shard: leases end soon, so they stand before what waits long.
const PAGES: usize = 2;

impl Yard {
    /// What keeps provers from their verifiers, at each pool's workers; those that are looked at.
    #[boxed(?Send)]
    pub async fn isolations(&self) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
        let mut isolations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for shard in DueKind::Worker.shards() {
            for due in DuePages::all(shard).next(self).await?.unwrap_or_default() {
                let heartbeat: Option<Heartbeat> = read(&self.port, &due.key).await?;
                let Some(heartbeat) = heartbeat else { continue };
                let worker: Option<Worker> = read(&self.port, &Worker::key_of(&heartbeat.worker)).await?;
                if let Some(Worker { pool, isolation: Some(isolation), dead: false, .. }) = worker {
                    isolations.entry(pool).or_default().insert(isolation);
                }
            }
        }
        Ok(isolations)
    }

    /// Whether a worker of this pool holds a lease; `None` if more is due than is looked at.
    pub(crate) async fn has_live_worker(&self, pool: &str) -> Result<Option<bool>, Error> {
        let mut all_seen = true;
        for shard in DueKind::Worker.shards() {
            let mut pages = DuePages::all(shard);
            let mut seen = 0;
            while let Some(page) = pages.next(self).await? {
                for due in page.iter().filter(|due| KeyFamily::of(&due.key) == Some(KeyFamily::Heartbeat)) {
                    let heartbeat: Option<Heartbeat> = read(&self.port, &due.key).await?;
                    let Some(heartbeat) = heartbeat else { continue };
                    if self.lease_ended(&heartbeat).await? {
                        continue;
                    }
                    let worker: Option<Worker> = read(&self.port, &Worker::key_of(&heartbeat.worker)).await?;
                    if worker.is_some_and(|worker| worker.pool == pool && !worker.dead) {
                        return Ok(Some(true));
                    }
                }
                seen += 1;
                if seen == PAGES {
                    all_seen = false;
                    break;
                }
            }
        }
        Ok(all_seen.then_some(false))
    }

    /// As far as a sweeper has seen; whether it is expired, one must say.
    async fn lease_ended(&self, heartbeat: &Heartbeat) -> Result<bool, Error> {
        let seen: Option<SeenHeartbeat> = read(&self.port, &SeenHeartbeat::key_of(&heartbeat.worker)).await?;
        let stands = seen.filter(|seen| seen.at_ms == heartbeat.at_ms);
        Ok(stands.is_some_and(|seen| seen.since_ms + heartbeat.lease_ms <= self.port.now_ms()))
    }
}
