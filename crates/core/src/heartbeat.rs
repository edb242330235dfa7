//! Workers: registration, heartbeats, expiry.
//!
//! One write for each host extends the lease of all that its slots hold. Clocks of two hosts are never compared: a sweeper
//! writes down when it first saw a heartbeat, and a worker is expired when that very heartbeat was its newest for a whole
//! lease of the yard's time. Expiry marks the worker dead on condition that its heartbeat did not move, then empties its
//! slots and lists their tasks again; no claim can join a dead worker.

use crate::claim::is_unwanted;
use crate::error::{Error, Refusal};
use crate::pages::KeyPages;
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Version};
use crate::record::{Ending, end_attempt};
use crate::state::{Attempt, Heartbeat, Held, Scope, SeenHeartbeat, Slot, Task, Worker, WorkerId};
use crate::transaction::{Item, read, read_many, read_stored, transact};
use crate::yard::{Yard, boxed};

/// Slots of one worker.
pub const MAX_SLOTS: u32 = 4_096;

/// What a worker says of itself when it starts. Its id must be new at each start.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRegistration {
    pub worker: WorkerId,
    pub pool: String,
    pub slots: u32,
    /// No other worker serves the pool.
    pub alone: bool,
    pub lease_ms: u64,
    /// What keeps its provers from their verifiers, as people read it.
    pub isolation: Option<String>,
}

/// An attempt that nobody needs any more: the worker cancels it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObsoleteAttempt {
    pub slot: u32,
    pub claim: String,
    pub reason: ObsoleteReason,
}

/// Why nobody needs an attempt, which decides what becomes of what its prover has started elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObsoleteReason {
    /// The claim is not live any more, and the task is not over: another worker may work on it.
    Lost,
    /// The task is over, or its block left the chain or was given up: nobody works on it.
    Unwanted,
}

/// How long an attempt has run that is still live.
pub(crate) struct Ran {
    /// At least, up to now; 0 where nobody has seen a heartbeat of its worker.
    pub all_ms: u64,
    /// Up to the last heartbeat of its worker that was seen, if any was after it began: what is known of one that was lost.
    pub at_work_ms: Option<u64>,
}

impl Yard {
    #[boxed(?Send)]
    pub async fn register_worker(&self, registration: &WorkerRegistration) -> Result<(), Error> {
        if !(1..=MAX_SLOTS).contains(&registration.slots) {
            let slots = registration.slots;
            return Err(Refusal::BadSlotCount { slots, most: MAX_SLOTS }.into());
        }
        let now_ms = self.port.now_ms();
        transact(&self.port, async |tx| {
            if tx.check::<Worker>(&Worker::key_of(&registration.worker)).await?.is_some() {
                return Ok(());
            }
            tx.put(&Worker {
                id: registration.worker.clone(),
                pool: registration.pool.clone(),
                slots: registration.slots,
                alone: registration.alone,
                started_ms: now_ms,
                dead: false,
                failures_in_row: 0,
                quarantined_until_ms: None,
                isolation: registration.isolation.clone(),
                price_microusd_per_hour: None,
            })?;
            tx.put(&Heartbeat {
                worker: registration.worker.clone(),
                lease_ms: registration.lease_ms,
                at_ms: now_ms,
            })
        })
        .await
    }

    /// What the worker knows of what its machine costs an hour: attempts that it claims from now on cost that, and what the pool
    /// says where it knows nothing.
    #[boxed(?Send)]
    pub async fn price_worker(&self, worker: &WorkerId, microusd_per_hour: Option<u64>) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let state: Option<Worker> = tx.check(&Worker::key_of(worker)).await?;
            let state = state.filter(|state| !state.dead);
            let state = state.ok_or_else(|| Error::WorkerDead { worker: worker.to_string() })?;
            tx.put(&Worker { price_microusd_per_hour: microusd_per_hour, ..state })
        })
        .await
    }

    /// Extends the worker's lease and answers which of its attempts it should cancel.
    #[boxed(?Send)]
    pub async fn heartbeat(&self, worker: &WorkerId, lease_ms: u64) -> Result<Vec<ObsoleteAttempt>, Error> {
        let at_ms = self.port.now_ms();
        let slots = transact(&self.port, async |tx| {
            let state: Option<Worker> = tx.peek(&Worker::key_of(worker)).await?;
            let heartbeat: Option<Heartbeat> = tx.check(&Heartbeat::key_of(worker)).await?;
            match (state.filter(|state| !state.dead), heartbeat) {
                (Some(state), Some(heartbeat)) => {
                    tx.put(&Heartbeat { lease_ms, at_ms, ..heartbeat })?;
                    Ok(state.slots)
                }
                _ => Err(Error::WorkerDead { worker: worker.to_string() }),
            }
        })
        .await?;
        let slots: Vec<u32> = (0..slots).collect();
        let mut pages = KeyPages::of(&slots, |slot| Slot::key_of(worker, *slot));
        let mut obsolete = Vec::new();
        while let Some(page) = pages.next::<Slot>(&self.port).await? {
            let slots = page.into_iter().filter_map(|(_, slot)| slot);
            let held = slots.filter_map(|slot| Some((slot.slot, slot.held?))).collect();
            obsolete.extend(self.obsolete_of(held).await?);
        }
        Ok(obsolete)
    }

    async fn obsolete_of(&self, slots: Vec<(u32, Held)>) -> Result<Vec<ObsoleteAttempt>, Error> {
        let keys: Vec<Key> = slots.iter().map(|(_, held)| held.task.task_key()).collect();
        let tasks = read_many::<Task>(&self.port, &keys).await?;
        let keys: Vec<Key> = slots.iter().map(|(_, held)| Scope::key_of(&held.task.scope)).collect();
        let scopes = read_many::<Scope>(&self.port, &keys).await?;
        let found = slots.into_iter().zip(tasks).zip(scopes);
        Ok(found
            .filter_map(|(((slot, held), task), scope)| {
                let reason = obsolete_reason(&held.claim, task.as_ref(), scope.as_ref())?;
                Some(ObsoleteAttempt { slot, claim: held.claim, reason })
            })
            .collect())
    }

    /// A sweeper's look at a worker: a heartbeat that it had not seen is noted, and one that stood for a whole lease was
    /// the last.
    pub(crate) async fn look_at_worker(&self, key: &Key) -> Result<(), Error> {
        let Some((version, heartbeat)) = read_stored::<Heartbeat>(&self.port, key).await? else {
            return Ok(());
        };
        let seen: Option<SeenHeartbeat> = read(&self.port, &SeenHeartbeat::key_of(&heartbeat.worker)).await?;
        match seen.filter(|seen| seen.version == version) {
            Some(seen) if self.lease_is_over(&heartbeat, version, &seen) => {
                self.expire_worker(&heartbeat.worker, false).await
            }
            Some(_) => Ok(()),
            None => self.note_heartbeat(&heartbeat, version).await,
        }
    }

    async fn note_heartbeat(&self, heartbeat: &Heartbeat, version: Version) -> Result<(), Error> {
        let Heartbeat { worker, at_ms, .. } = heartbeat;
        let since_ms = self.port.now_ms();
        transact(&self.port, async |tx| {
            let key = Heartbeat::key_of(worker);
            let seen: Option<SeenHeartbeat> = tx.check(&SeenHeartbeat::key_of(worker)).await?;
            // Nothing is left behind of a worker that is gone meanwhile.
            tx.check::<Heartbeat>(&key).await?;
            let is_news = seen.is_none_or(|seen| seen.version != version);
            if is_news && tx.version_seen(&key) == Some(version) {
                tx.put(&SeenHeartbeat { worker: worker.clone(), version, since_ms, at_ms: *at_ms })?;
            }
            Ok(())
        })
        .await
    }

    fn lease_is_over(&self, heartbeat: &Heartbeat, version: Version, seen: &SeenHeartbeat) -> bool {
        let now_ms = self.port.now_ms();
        if self.planted(PlantedBug::LeaseByTheWorkersClock) {
            return heartbeat.at_ms.saturating_add(heartbeat.lease_ms) <= now_ms;
        }
        seen.version == version && seen.since_ms.saturating_add(heartbeat.lease_ms) <= now_ms
    }

    /// How long an attempt has run.
    pub(crate) async fn ran(&self, attempt: &Attempt) -> Result<Ran, Error> {
        let seen: Option<SeenHeartbeat> = read(&self.port, &SeenHeartbeat::key_of(&attempt.worker)).await?;
        Ok(Ran {
            all_ms: seen.as_ref().map_or(0, |seen| seen.elapsed_ms(attempt.started_ms, self.port.now_ms())),
            at_work_ms: seen.and_then(|seen| seen.at_ms.checked_sub(attempt.started_ms)).filter(|ms| *ms > 0),
        })
    }

    /// Ends a worker whose lease ran out, or whose end was seen: nothing it held stays held.
    #[boxed(?Send)]
    pub async fn expire_worker(&self, id: &WorkerId, seen_dead: bool) -> Result<(), Error> {
        let slots = transact(&self.port, async |tx| {
            let heartbeat: Option<Heartbeat> = tx.check(&Heartbeat::key_of(id)).await?;
            let worker: Option<Worker> = tx.check(&Worker::key_of(id)).await?;
            let seen: Option<SeenHeartbeat> = tx.peek(&SeenHeartbeat::key_of(id)).await?;
            let version = tx.version_seen(&Heartbeat::key_of(id));
            let is_over = |heartbeat: &Heartbeat| match (&seen, version) {
                (Some(seen), Some(version)) => self.lease_is_over(heartbeat, version, seen),
                _ => false,
            };
            match (heartbeat, worker) {
                (Some(heartbeat), Some(worker))
                    if worker.dead
                        || seen_dead
                        || is_over(&heartbeat)
                        || self.planted(PlantedBug::LiveWorkerExpired) =>
                {
                    tx.put(&Worker { dead: true, ..worker.clone() })?;
                    Ok(Some(worker.slots))
                }
                _ => Ok(None),
            }
        })
        .await?;
        let Some(slots) = slots else { return Ok(()) };
        let slots: Vec<u32> = (0..slots).collect();
        let mut pages = KeyPages::of(&slots, |slot| Slot::key_of(id, *slot));
        while let Some(page) = pages.next::<Slot>(&self.port).await? {
            for slot in page.into_iter().filter_map(|(_, slot)| slot) {
                self.empty_slot(id, slot.slot).await?;
            }
        }
        // Last, since the heartbeat's due time is what brings the sweeper back after a crash in between.
        transact(&self.port, async |tx| {
            if tx.check::<Heartbeat>(&Heartbeat::key_of(id)).await?.is_some() {
                tx.delete(Heartbeat::key_of(id));
                tx.delete(SeenHeartbeat::key_of(id));
                tx.delete(Worker::key_of(id));
            }
            Ok(())
        })
        .await
    }

    async fn empty_slot(&self, worker: &WorkerId, slot: u32) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let slot: Option<Slot> = tx.check(&Slot::key_of(worker, slot)).await?;
            let Some(slot) = slot else { return Ok(()) };
            if let Some(held) = &slot.held
                && let Some(mut task) = tx.check::<Task>(&held.task.task_key()).await?
                && task.attempt(&held.claim).is_some()
            {
                let ending = Ending::Lost { reason: "its worker was lost" };
                end_attempt(self, tx, &mut task, &held.claim, ending).await?;
                tx.put(&task)?;
            }
            tx.delete(slot.key());
            Ok(())
        })
        .await
    }
}

/// Why the attempt with this claim is not needed, if it is not. Without its scope, only its task is asked.
pub(crate) fn obsolete_reason(
    claim: &str,
    task: Option<&Task>,
    scope: Option<&Scope>,
) -> Option<ObsoleteReason> {
    let is_over = task.is_none_or(|task| task.is_accepted() || task.is_cancelled());
    if is_over || scope.is_some_and(is_unwanted) {
        return Some(ObsoleteReason::Unwanted);
    }
    let is_live = task.is_some_and(|task| task.attempt(claim).is_some());
    (!is_live).then_some(ObsoleteReason::Lost)
}
