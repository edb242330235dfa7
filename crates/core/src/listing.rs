//! Listing tasks for workers, and when the sweeper must look at one: what `record`, `claim`, `sweep` and `advance` have in
//! common.
//!
//! What becomes of a task is for its own methods ([`Task`]) to say; here is what is written beside it in the same transaction,
//! and how long it may be left alone.

use std::sync::Arc;

use crate::error::{Error, Refusal};
use crate::pipeline::TaskLimits;
use crate::port::Wake;
use crate::state::{Listing, Task};
use crate::transaction::{Item, Tx};
use crate::yard::Yard;

/// Parked work is looked at hourly.
pub(crate) const PARKED_LOOK_MS: u64 = 3_600_000;
/// What an attempt may take beyond its own limits (proving and verifying are limited by the worker) before the
/// sweeper takes it for lost.
const TIME_LIMIT_GRACE_MS: u64 = 30_000;

/// Lets workers claim a task that was listed.
pub(crate) fn put_listing(tx: &mut Tx<'_>, listing: Option<Listing>) -> Result<(), Error> {
    let Some(listing) = listing else { return Ok(()) };
    tx.put(&listing)?;
    tx.send(Wake::Pool { pool: listing.pool });
    Ok(())
}

/// Before a task is parked or over, or nobody wants it: no worker claims it any more.
pub(crate) fn delete_listing(tx: &mut Tx<'_>, task: &Task) {
    if task.is_listed() {
        tx.delete(Listing::of(task).key());
    }
}

impl Yard {
    pub(crate) async fn limits_of(&self, task: &Task) -> Result<Arc<TaskLimits>, Error> {
        let pipeline = self.pipeline(&task.id().chain(), task.pipeline()).await?;
        let limits = pipeline.stage(&task.id().stage).map(|(_, stage)| stage.limits.clone());
        let unknown = || Refusal::UnknownTask(task.id().to_string());
        Ok(Arc::new(limits.ok_or_else(unknown)?))
    }
}

/// Sets when the sweeper must look at a task that runs or is parked. A running task is due now: the sweeper works out how long
/// it has run, and sets the real time ([`next_look_ms`]).
pub(crate) fn reschedule(yard: &Yard, task: &mut Task) {
    let wait_ms = if task.is_parked() { PARKED_LOOK_MS } else { 0 };
    task.look_at(Some(yard.due_in(wait_ms)));
}

/// When the sweeper must look at a task that is being claimed. If the claimer's clock is behind, the sweeper comes early and
/// corrects the time; if it is ahead, the sweeper comes late.
pub(crate) async fn first_look_ms(yard: &Yard, task: &Task) -> Result<u64, Error> {
    match task.attempts() {
        [] => Ok(next_look_ms(&*yard.limits_of(task).await?, true, yard.port.now_ms(), 0)),
        _ => Ok(yard.due_in(0)),
    }
}

/// When the sweeper must look at a task whose oldest attempt has run so long, by the clock of who asks: at its hedge, where
/// it may have one, or its time limit.
pub(crate) fn next_look_ms(limits: &TaskLimits, may_hedge: bool, now_ms: u64, ran_ms: u64) -> u64 {
    let limit_ms = attempt_limit_ms(limits);
    let until_ms = limits.hedge_ms.filter(|_| may_hedge).map_or(limit_ms, |hedge_ms| hedge_ms.min(limit_ms));
    now_ms + until_ms.saturating_sub(ran_ms)
}

/// Setting up, proving, setting a verifier up and verifying each have the stage's time limit, kept by the worker.
pub(crate) fn attempt_limit_ms(limits: &TaskLimits) -> u64 {
    limits.time_limit_ms.saturating_mul(4).saturating_add(TIME_LIMIT_GRACE_MS)
}
