//! Whether anybody is there to work for a pool, from the leases that workers hold.

use crate::error::Error;
use crate::port::{DueKind, Port};
use crate::state::{Heartbeat, Worker};
use crate::transaction::read;
use crate::yard::Yard;

/// Pages of the due index looked at in one shard: leases end soon, so they stand before what waits long.
const PAGES: usize = 2;

impl<P: Port> Yard<P> {
    /// Whether a worker of this pool holds a lease; `None` if more is due than is looked at.
    pub(crate) async fn has_live_worker(&self, pool: &str) -> Result<Option<bool>, Error> {
        let mut all_seen = true;
        for shard in DueKind::Worker.shards() {
            let mut page = self.due_page(shard, None, u64::MAX).await?;
            let mut pages = 0;
            while let Some(last) = page.last().cloned() {
                for due in page.iter().filter(|due| due.key.sort == "hb") {
                    let heartbeat: Option<Heartbeat> = read(&self.port, &due.key).await?;
                    let Some(heartbeat) = heartbeat.filter(|lease| lease.until_ms > self.port.now_ms())
                    else {
                        continue;
                    };
                    let worker: Option<Worker> = read(&self.port, &Worker::key_of(&heartbeat.worker)).await?;
                    if worker.is_some_and(|worker| worker.pool == pool && !worker.dead) {
                        return Ok(Some(true));
                    }
                }
                pages += 1;
                if pages == PAGES {
                    all_seen = false;
                    break;
                }
                page = self.due_page(shard, Some(&last), u64::MAX).await?;
            }
        }
        Ok(all_seen.then_some(false))
    }
}
