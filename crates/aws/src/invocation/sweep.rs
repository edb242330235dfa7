//! A sweep on AWS: visits what is due, prints metrics, submits workers to the pools.

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use proofyard_core::cadence::{LONGEST_SWEEP_MS, SHORTEST_SWEEP_MS};
use proofyard_core::error::{Coded, Error, with_causes};
use proofyard_core::port::Port;
use tracing::error;

use crate::home::{AwsHome, shortest_tick_ms};

impl AwsHome {
    /// One sweep, which reads the table each time. The wakes that it sends are left in the outbox, but for those of the proposer.
    pub fn sweep(&self) -> LocalBoxFuture<'_, Result<(), Error>> {
        self.sweep_until(Instant::now() + Duration::from_millis(LONGEST_SWEEP_MS))
    }

    /// Sweeps for a tick, or until then: the next tick's sweep goes on with what is left. Metrics and workers come before
    /// the open blocks and cuts, which may be very many.
    pub(super) fn sweep_until(&self, until: Instant) -> LocalBoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let AwsHome { yard, supply, metrics, .. } = self;
            let left = until.saturating_duration_since(Instant::now());
            let pipelines = self.pipelines_of(yard.chains().await?).await?;
            let tick_ms = shortest_tick_ms(&pipelines).max(SHORTEST_SWEEP_MS);
            self.wake_actions(&pipelines).await;
            let budget_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).min(tick_ms);
            let mut sweep = yard.begin_sweep(budget_ms).await?;
            sweep.what_frees_work().await?;
            let printed = metrics.print_gauges(yard, supply).await;
            supply.ensure_all_workers(yard).await;
            sweep.scopes().await?;
            let swept = sweep.end().await?;
            for (key, error) in &swept.errors {
                error!(%key, code = %error.code(), error = %with_causes(error), "a visit failed; its item stays due");
            }
            if swept.round_over {
                metrics.print_sweep(yard.port.now_ms());
            }
            printed
        })
    }
}
