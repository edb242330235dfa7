//! Invariant 2, frontier first, as an interval rule: no task of the pool that the worker may run, and that was listed
//! from the claim's start to its end, had a lower rank than the one it took.

use std::collections::BTreeMap;

use proofyard_core::state::{ChainName, Listing, ScopeId, Task, WorkerId};

use proofyard_core::transaction::Item as _;

use super::Context;
use super::mirror::{Changed, Item, Mirror};
use super::ranks::{self, Rank};

/// Chain and sort key of a listing.
type Place = (ChainName, String);

/// Since which step each listing could have been claimed.
#[derive(Default)]
pub struct Claims {
    /// By pool, then by place.
    listed: BTreeMap<String, BTreeMap<Place, Listed>>,
    /// At which step a chain last took no work (paused or halted); absent if it always did.
    held_back: BTreeMap<ChainName, u64>,
    /// At which step a scope last was not live.
    unwanted: BTreeMap<ScopeId, u64>,
}

struct Listed {
    since_step: u64,
    /// Worked out from the block.
    rank: Rank,
    listing: Listing,
}

/// When a claim began.
#[derive(Clone, Copy)]
pub struct ClaimStart {
    pub step: u64,
    pub ms: u64,
}

impl Claims {
    pub fn note(&mut self, context: &Context<'_>, commit: &[Changed]) {
        let step = context.simulation.steps();
        for change in commit {
            match (change.before.as_deref(), change.after.as_deref()) {
                (before, Some(Item::Listing(listing))) => {
                    if let Some(Item::Listing(before)) = before {
                        context.must(before.id == listing.id, || {
                            format!("two tasks are listed as {}", change.key)
                        });
                    }
                    check_task_of(context, listing);
                    self.list(context, &change.key.sort, listing);
                }
                (Some(Item::Listing(listing)), None) => {
                    check_avoid(context, commit, listing);
                    let place = (listing.id.chain(), change.key.sort.clone());
                    self.listed.entry(listing.pool.clone()).or_default().remove(&place);
                }
                (before, Some(Item::Chain(state))) => {
                    let took = matches!(before, Some(Item::Chain(before)) if before.takes_work());
                    if !took || !state.takes_work() {
                        self.held_back.insert(state.chain.clone(), step);
                    }
                }
                // A change of its task may have interrupted a claim, so a listing counts from there.
                (_, Some(Item::Task(task))) if task.is_listed() => {
                    let place = (task.id().chain(), Listing::of(task).key().sort);
                    let listed =
                        self.listed.get_mut(task.pool()).and_then(|listings| listings.get_mut(&place));
                    if let Some(listed) = listed {
                        listed.since_step = step;
                    }
                }
                (before, Some(Item::Scope(scope))) => {
                    let was_live = matches!(before, Some(Item::Scope(before)) if before.is_live());
                    if !was_live || !scope.is_live() {
                        self.unwanted.insert(scope.id().clone(), step);
                    }
                }
                _ => {}
            }
        }
    }

    fn list(&mut self, context: &Context<'_>, sort: &str, listing: &Listing) {
        let Some(rank) = ranks::rank_of(context, &listing.id) else {
            return context
                .must(false, || format!("{} is listed, and has no place in the order", listing.id));
        };
        let place = (listing.id.chain(), sort.to_owned());
        let listed = Listed { since_step: context.simulation.steps(), rank, listing: listing.clone() };
        self.listed.entry(listing.pool.clone()).or_default().insert(place, listed);
    }

    /// After a power loss all listings count from now.
    pub fn restart(&mut self, context: &Context<'_>) {
        self.listed.clear();
        let step = context.simulation.steps();
        for (key, item) in context.mirror.items() {
            match item {
                Item::Listing(listing) => self.list(context, &key.sort, listing),
                Item::Chain(state) => {
                    self.held_back.insert(state.chain.clone(), step);
                }
                _ => {}
            }
        }
    }

    /// A worker got a task by a claim that began at `since` and ends now.
    pub fn check(
        &self,
        context: &Context<'_>,
        worker: &WorkerId,
        since: ClaimStart,
        pool: &str,
        task: &Task,
    ) {
        context.simulation.count("check: claim");
        let Some(rank) = ranks::rank_of(context, task.id()) else { return };
        if let Some(lower) = self.claimable(context, worker, since, pool, |other| *other < rank) {
            context.simulation.violate(format!(
                "{worker} took {} of {rank:?} from pool {pool} while {} of {:?} was listed all the time",
                task.id(),
                lower.listing.id,
                lower.rank
            ));
        }
    }

    /// A claim that began at `since` and ends now found nothing: then nothing may have been there all the time.
    pub fn check_nothing(&self, context: &Context<'_>, worker: &WorkerId, since: ClaimStart, pool: &str) {
        context.simulation.count("check: claim found nothing");
        if let Some(listed) = self.claimable(context, worker, since, pool, |_| true) {
            context.simulation.violate(format!(
                "{worker} found nothing in pool {pool} while {} was listed all the time",
                listed.listing.id
            ));
        }
    }

    /// A listing of such a rank that the worker could have claimed at any moment since then.
    fn claimable(
        &self,
        context: &Context<'_>,
        worker: &WorkerId,
        since: ClaimStart,
        pool: &str,
        is_such: impl Fn(&Rank) -> bool,
    ) -> Option<&Listed> {
        let ClaimStart { step: since_step, ms: since_ms } = since;
        let listed = self.listed.get(pool).into_iter().flatten();
        let is_claimable = |((chain, _), listed): &(&Place, &Listed)| {
            let was_held_back = self.held_back.get(chain).is_some_and(|step| *step >= since_step)
                || context.mirror.chain(chain).is_none_or(|state| !state.takes_work());
            let listing = &listed.listing;
            let avoided = listing
                .avoid
                .as_ref()
                .is_some_and(|avoid| avoid.worker == *worker && avoid.until_ms > since_ms);
            is_such(&listed.rank)
                && listed.since_step < since_step
                && !was_held_back
                && !avoided
                && self.unwanted.get(&listing.id.scope).is_none_or(|step| *step < since_step)
                && may_run(context.mirror, listing, worker)
        };
        listed.into_iter().find(is_claimable).map(|(_, listed)| listed)
    }

    pub fn listings(&self) -> impl Iterator<Item = &Listing> {
        self.listed.values().flat_map(|listings| listings.values().map(|listed| &listed.listing))
    }
}

/// Listings of orphans, and of tasks that are over, may be there until a claim deletes them.
fn may_run(mirror: &Mirror, listing: &Listing, worker: &WorkerId) -> bool {
    let Some(task) = mirror.task(&listing.id) else { return false };
    let Some(scope) = mirror.scope(&listing.id.scope) else { return false };
    task.is_open()
        && scope.is_canonical()
        && scope.is_live()
        && task.attempts().iter().all(|attempt| attempt.worker != *worker)
}

/// A worker that failed a task does not get it back at once, unless it is the pool's only worker.
fn check_avoid(context: &Context<'_>, commit: &[Changed], listing: &Listing) {
    let Some(avoid) = &listing.avoid else { return };
    let Some(attempt) =
        commit.iter().find_map(|change| match (change.before.as_deref(), change.after.as_deref()) {
            (Some(Item::Task(before)), Some(Item::Task(after))) if *after.id() == listing.id => {
                after.attempts().iter().find(|attempt| !before.attempts().contains(attempt))
            }
            _ => None,
        })
    else {
        return;
    };
    let alone = context.mirror.worker(&attempt.worker).is_none_or(|worker| worker.alone);
    if attempt.worker == avoid.worker {
        context.simulation.count("check: the one that failed it took it again");
    }
    context.must(alone || attempt.worker != avoid.worker || avoid.until_ms <= attempt.started_ms, || {
        format!("{} took {}, which it had failed, before others could", attempt.worker, listing.id)
    });
}

/// A listing's task is listed, under the same rank.
fn check_task_of(context: &Context<'_>, listing: &Listing) {
    let task = context.mirror.task(&listing.id);
    context.must(task.is_some_and(|task| task.is_listed() && task.rank() == listing.rank), || {
        format!("{} is listed, and its task is {task:?}", listing.id)
    });
}
