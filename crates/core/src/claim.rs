//! Claiming: a worker's slot takes the listed task of lowest rank that it may run.
//!
//! Each pool has one ordered range of listed tasks for each chain. A claim merges their heads, and takes one task by deleting
//! its listing, writing its attempt and its slot, and checking that the worker lives, in one transaction. It reads its slot
//! first, so that a claim that is retried after an unknown outcome finds itself. Listings of blocks that left the chain are
//! cleared in pages, so that a whole branch of them hides nothing for long.

use crate::error::Error;
use crate::listing::first_look_ms;
use crate::pages::{Pages, Rows};
use crate::pipeline::Pool;
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Range, Stored};
use crate::state::worker::PoolChain;
use crate::state::{ChainName, ChainState, Held, Listing, PoolTasks, Scope, Slot, Task, Worker, WorkerId};
use crate::transaction::{Tx, read, read_many, read_range, transact};
use crate::yard::{Yard, boxed};

/// Heads read of each chain's range.
const HEADS: usize = 16;
/// Chains of one pool.
const MAX_CHAINS: usize = 256;
/// Rounds of reading heads and losing the race for one, before the claim has to be made again.
const MAX_ROUNDS: u32 = 32;
/// Pages of stale listings that one claim clears, listings looked at in one, and cleared in one transaction: at most three
/// items each.
const MAX_STALE_PAGES: u32 = 64;
const STALE_A_PAGE: usize = 64;
const CLEARED_AT_ONCE: usize = 24;

/// Which worker claims, for which slot, under which id that it made up.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRequest {
    pub worker: WorkerId,
    pub slot: u32,
    pub claim: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClaimOutcome {
    Claimed(Box<Task>),
    /// Nothing is listed that this worker may run now.
    Nothing,
    Quarantined {
        until_ms: u64,
    },
    /// The slot holds another claim that was never ended; release it first.
    SlotHolds(Box<Held>),
}

struct Head {
    key: Key,
    stored: Stored,
    listing: Listing,
}

impl Head {
    fn of((key, stored, listing): (Key, Stored, Listing)) -> Self {
        Self { key, stored, listing }
    }
}

enum Try {
    Done(ClaimOutcome),
    /// Another worker was faster.
    Again,
    /// The listing was stale and is gone now; there may be more of its kind.
    Cleared,
}

impl Yard {
    /// Takes one task for a free slot.
    #[boxed(?Send)]
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimOutcome, Error> {
        let now_ms = self.port.now_ms();
        let mut worker = self.live_worker(&request.worker).await?;
        worker.alone |= self.planted(PlantedBug::AvoidIgnored);
        if let Some(until_ms) = worker.quarantined_until_ms.filter(|until_ms| *until_ms > now_ms) {
            return Ok(ClaimOutcome::Quarantined { until_ms });
        }
        let mut stale_pages = 0;
        for _ in 0..MAX_ROUNDS {
            let Some(head) = self.pick(&worker, now_ms).await? else {
                return self.nothing(request).await;
            };
            match transact(&self.port, async |tx| self.take(tx, request, &head).await).await? {
                Try::Done(outcome) => return Ok(outcome),
                Try::Again => {}
                Try::Cleared => self.clear_stale(&head.key, &mut stale_pages).await?,
            }
            if stale_pages >= MAX_STALE_PAGES {
                break;
            }
        }
        // There is, or was, something, and so it does not say that there is nothing.
        Err(Error::Contended { tries: MAX_ROUNDS })
    }

    /// The pool as its pipelines declare it; `None` where no pipeline names it.
    #[boxed(?Send)]
    pub async fn pool(&self, pool: &str) -> Result<Option<Pool>, Error> {
        for chain in self.chains_with(pool, self.takes()).await? {
            if let Some(declared) = self.chain(&chain).await?.1.pools.get(pool) {
                return Ok(Some(declared.clone()));
            }
        }
        Ok(None)
    }

    /// Whether a pool is that of a stage with an action.
    #[boxed(?Send)]
    pub async fn is_pool_of_action(&self, pool: &str) -> Result<bool, Error> {
        for chain in self.chains_of_pool(pool).await? {
            match self.chain(&chain).await {
                Ok((_, pipeline)) if pipeline.is_action(pool) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.passes() => return Err(error),
                // One that cannot be read says nothing of the others.
                Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Which chains a pool serves, at most 256.
    #[boxed(?Send)]
    pub async fn chains_of_pool(&self, pool: &str) -> Result<Vec<ChainName>, Error> {
        self.chains_with(pool, PoolTasks::All).await
    }

    async fn chains_with(&self, pool: &str, tasks: PoolTasks) -> Result<Vec<ChainName>, Error> {
        let served = read_range::<PoolChain>(&self.port, &PoolChain::range(pool, MAX_CHAINS)).await?;
        let mut chains = Vec::with_capacity(served.len());
        for (_, _, PoolChain { chain, acts, .. }) in served {
            let has_such = match (tasks, acts) {
                (PoolTasks::All, _) => true,
                (_, Some(acts)) => acts == (tasks == PoolTasks::Calls),
                (_, None) => self.may_have(&chain, pool, tasks).await?,
            };
            if has_such {
                chains.push(chain);
            }
        }
        Ok(chains)
    }

    /// Of state in which a chain's row does not say it: its pipeline does.
    async fn may_have(&self, chain: &ChainName, pool: &str, tasks: PoolTasks) -> Result<bool, Error> {
        match self.chain(chain).await {
            Ok((_, pipeline)) => Ok(pipeline.is_action(pool) == (tasks == PoolTasks::Calls)),
            Err(error) if error.passes() => Err(error),
            // It may.
            Err(_) => Ok(true),
        }
    }

    /// How many listed tasks of a pool wait for a worker; counts no further than `limit`.
    #[boxed(?Send)]
    pub async fn waiting_tasks(&self, pool: &str, limit: usize) -> Result<usize, Error> {
        self.listed(pool, self.takes(), limit).await
    }

    /// How many listed calls of a pool wait for whoever makes them, whatever this yard takes; counts no further than `limit`.
    #[boxed(?Send)]
    pub async fn waiting_calls(&self, pool: &str, limit: usize) -> Result<usize, Error> {
        self.listed(pool, PoolTasks::Calls, limit).await
    }

    async fn listed(&self, pool: &str, tasks: PoolTasks, limit: usize) -> Result<usize, Error> {
        let mut waiting = 0;
        for chain in self.chains_with(pool, tasks).await? {
            let state: Option<ChainState> = read(&self.port, &ChainState::key_of(&chain)).await?;
            if waiting < limit && state.is_some_and(|state| state.takes_work()) {
                let range = Range::all(Listing::partition(pool, &chain), limit - waiting);
                waiting += self.port.range(&range).await?.len();
            }
        }
        Ok(waiting)
    }

    async fn live_worker(&self, id: &WorkerId) -> Result<Worker, Error> {
        let worker: Option<Worker> = read(&self.port, &Worker::key_of(id)).await?;
        worker.filter(|worker| !worker.dead).ok_or_else(|| Error::WorkerDead { worker: id.to_string() })
    }

    /// The lowest rank among the heads of all chains; among equals, one by chance.
    async fn pick(&self, worker: &Worker, now_ms: u64) -> Result<Option<Head>, Error> {
        let mut heads = Vec::new();
        for chain in self.chains_with(&worker.pool, self.takes()).await? {
            let state: Option<ChainState> = read(&self.port, &ChainState::key_of(&chain)).await?;
            if state.is_some_and(|state| state.takes_work()) {
                heads.extend(self.heads(worker, &chain, now_ms).await?);
            }
        }
        let Some(lowest) = heads.iter().map(|head| &head.listing.rank).min().cloned() else {
            return Ok(None);
        };
        heads.retain(|head| head.listing.rank == lowest || self.planted(PlantedBug::AnyRank));
        let chosen = self.port.random() as usize % heads.len();
        Ok(Some(heads.swap_remove(chosen)))
    }

    /// Up to 16 listings of lowest rank in one chain that this worker may run. If a whole head has one rank, its
    /// claimers are spread over all of that rank.
    async fn heads(&self, worker: &Worker, chain: &ChainName, now_ms: u64) -> Result<Vec<Head>, Error> {
        let partition = Listing::partition(&worker.pool, chain);
        let mut pages = Pages::of(Range::all(partition, self.page_of(HEADS)));
        while let Some(page) = pages.next(&self.port).await? {
            let allowed = allowed(worker, page, now_ms);
            match allowed.first().map(|head| &head.listing.rank) {
                None => {}
                Some(rank) if pages.has_more() && allowed.iter().all(|head| head.listing.rank == *rank) => {
                    let spread = self.spread(worker, chain, rank, now_ms).await?;
                    return Ok(if spread.is_empty() { allowed } else { spread });
                }
                Some(_) => return Ok(allowed),
            }
        }
        Ok(Vec::new())
    }

    async fn spread(
        &self,
        worker: &Worker,
        chain: &ChainName,
        rank: &str,
        now_ms: u64,
    ) -> Result<Vec<Head>, Error> {
        let (place, limit) = (self.port.random(), self.page_of(HEADS));
        let range = Listing::within_rank(&worker.pool, chain, rank, place, limit);
        Ok(allowed(worker, read_range(&self.port, &range).await?, now_ms))
    }

    async fn take(&self, tx: &mut Tx<'_>, request: &ClaimRequest, head: &Head) -> Result<Try, Error> {
        if let Some(outcome) = self.held(tx, request).await? {
            return Ok(Try::Done(outcome));
        }
        let worker: Option<Worker> = tx.check(&Worker::key_of(&request.worker)).await?;
        let Some(worker) = worker.filter(|worker| !worker.dead) else {
            return Err(Error::WorkerDead { worker: request.worker.to_string() });
        };
        let id = &head.listing.id;
        let task: Option<Task> = tx.check(&id.task_key()).await?;
        let Some(mut task) = task.filter(Task::is_listed) else {
            return self.drop_stale(tx, head).await;
        };
        let scope: Option<Scope> = tx.peek(&Scope::key_of(&id.scope)).await?;
        if scope.as_ref().is_none_or(is_unwanted) {
            return self.unlist_unwanted(tx, head, task).await;
        }
        let due_ms = first_look_ms(self, &task).await?;
        let attempt = task.claim(&worker, request.slot, &request.claim, self.port.now_ms(), due_ms);
        let Some(attempt) = attempt else { return self.drop_stale(tx, head).await };
        tx.delete_seen(head.key.clone(), &head.stored);
        tx.put(&task)?;
        let held = Held { task: id.clone(), attempt, claim: request.claim.clone() };
        tx.put(&Slot { worker: request.worker.clone(), slot: request.slot, held: Some(held) })?;
        Ok(Try::Done(ClaimOutcome::Claimed(Box::new(task))))
    }

    /// What the slot holds: this very claim, if an earlier call's answer was lost.
    async fn held(&self, tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Option<ClaimOutcome>, Error> {
        let slot: Option<Slot> = tx.check(&Slot::key_of(&request.worker, request.slot)).await?;
        let Some(held) = slot.and_then(|slot| slot.held) else { return Ok(None) };
        if self.planted(PlantedBug::NoClaimId) {
            return Ok(None);
        }
        if held.claim != request.claim {
            return Ok(Some(ClaimOutcome::SlotHolds(Box::new(held))));
        }
        let task: Option<Task> = tx.peek(&held.task.task_key()).await?;
        Ok(Some(match task {
            Some(task) => ClaimOutcome::Claimed(Box::new(task)),
            None => ClaimOutcome::SlotHolds(Box::new(held)),
        }))
    }

    /// Nothing is there, unless an earlier call of this very claim took a task.
    async fn nothing(&self, request: &ClaimRequest) -> Result<ClaimOutcome, Error> {
        let held = transact(&self.port, async |tx| self.held(tx, request).await).await?;
        Ok(held.unwrap_or(ClaimOutcome::Nothing))
    }

    /// A listing whose task is claimed or over; it cannot come back as this very version.
    async fn drop_stale(&self, tx: &mut Tx<'_>, head: &Head) -> Result<Try, Error> {
        let still: Option<Listing> = tx.check(&head.key).await?;
        if still.is_some() {
            tx.delete_seen(head.key.clone(), &head.stored);
        }
        Ok(Try::Again)
    }

    /// Its block left the chain or was given up. The scope is checked: if it returns, it lists its tasks again.
    async fn unlist_unwanted(&self, tx: &mut Tx<'_>, head: &Head, mut task: Task) -> Result<Try, Error> {
        tx.check::<Scope>(&Scope::key_of(&task.id().scope)).await?;
        tx.delete_seen(head.key.clone(), &head.stored);
        task.withdraw();
        tx.put(&task)?;
        Ok(Try::Cleared)
    }

    /// Deletes, from this listing on, the listings of scopes whose work is not wanted, page by page, as long as there is
    /// nothing else and `pages` are not too many.
    async fn clear_stale(&self, from: &Key, pages: &mut u32) -> Result<(), Error> {
        let limit = self.page_of(STALE_A_PAGE);
        let range = Range { from: from.sort.clone(), ..Range::all(from.partition.clone(), limit) };
        let mut found = Pages::of(range);
        while let Some(page) = found.next(&self.port).await? {
            let cleared = self.clear_page(page.into_iter().map(Head::of).collect()).await?;
            *pages += 1;
            if cleared < limit || *pages >= MAX_STALE_PAGES {
                break;
            }
        }
        Ok(())
    }

    /// Says how many of them were unwanted.
    async fn clear_page(&self, page: Vec<Head>) -> Result<usize, Error> {
        let keys: Vec<Key> = page.iter().map(|head| Scope::key_of(&head.listing.id.scope)).collect();
        let scopes = read_many::<Scope>(&self.port, &keys).await?;
        let unwanted = page.into_iter().zip(scopes);
        let unwanted: Vec<Head> = unwanted
            .filter(|(_, scope)| scope.as_ref().is_none_or(is_unwanted))
            .map(|(head, _)| head)
            .collect();
        for heads in unwanted.chunks(self.page_of(CLEARED_AT_ONCE)) {
            transact(&self.port, async |tx| {
                let keys = |head: &Head| [Scope::key_of(&head.listing.id.scope), head.listing.id.task_key()];
                tx.fetch(heads.iter().flat_map(keys)).await?;
                for head in heads {
                    let id = &head.listing.id;
                    let scope: Option<Scope> = tx.check(&Scope::key_of(&id.scope)).await?;
                    let task: Option<Task> = tx.check(&id.task_key()).await?;
                    let listed = task.filter(Task::is_listed);
                    if let Some(task) = listed.filter(|_| scope.as_ref().is_none_or(is_unwanted)) {
                        self.unlist_unwanted(tx, head, task).await?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(unwanted.len())
    }
}

/// Those that this worker may run.
fn allowed(worker: &Worker, page: Rows<Listing>, now_ms: u64) -> Vec<Head> {
    page.into_iter().map(Head::of).filter(|head| may_run(worker, &head.listing, now_ms)).collect()
}

/// A worker that failed a task gets it again only after others had the chance.
fn may_run(worker: &Worker, listing: &Listing, now_ms: u64) -> bool {
    let avoided =
        listing.avoid.as_ref().is_some_and(|avoid| avoid.worker == worker.id && avoid.until_ms > now_ms);
    worker.alone || !avoided
}

/// Nobody needs its results now: it is off the chain, given up, or not opened again yet.
pub(crate) fn is_unwanted(scope: &Scope) -> bool {
    !scope.is_live()
}
