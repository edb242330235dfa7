//! Promise 2, frontier first, by the interval rule: during the whole of a claim no listed task of that pool which
//! the worker may run had a lower rank than the one it took.

use std::collections::BTreeMap;

use proofyard_core::state::{Listing, Task};

use proofyard_core::transaction::Item as _;

use super::Sight;
use super::mirror::{Item, Mirror, Seen};
use super::ranks::{self, Rank};

/// A claim never says that there is nothing while there is something.
const CLAIM_FINDS_WHAT_IS_LISTED: bool = true;

/// Chain and sort key of a listing.
type Place = (String, String);

/// Since when what is true now has been true, in steps.
#[derive(Default)]
pub struct Claims {
    /// By pool, then by place.
    listed: BTreeMap<String, BTreeMap<Place, Listed>>,
    /// When a chain last did not take work; absent while it never did not.
    held_back: BTreeMap<String, u64>,
    /// When a scope last was not wanted.
    unwanted: BTreeMap<String, u64>,
}

struct Listed {
    since_step: u64,
    /// Worked out from the block.
    rank: Rank,
    listing: Listing,
}

/// When a claim began.
#[derive(Clone, Copy)]
pub struct Since {
    pub step: u64,
    pub ms: u64,
}

impl Claims {
    pub fn note(&mut self, sight: &Sight<'_>, commit: &[Seen]) {
        let step = sight.simulation.steps();
        for seen in commit {
            match (seen.before.as_deref(), seen.after.as_deref()) {
                (before, Some(Item::Listing(listing))) => {
                    if let Some(Item::Listing(before)) = before {
                        sight.must(before.id == listing.id, || {
                            format!("two tasks are listed as {}", seen.key)
                        });
                    }
                    has_task(sight, listing);
                    self.list(sight, &seen.key.sort, listing);
                }
                (Some(Item::Listing(listing)), None) => {
                    avoids(sight, commit, listing);
                    let place = (listing.id.chain().to_owned(), seen.key.sort.clone());
                    self.listed.entry(listing.pool.clone()).or_default().remove(&place);
                }
                (before, Some(Item::Chain(state))) => {
                    let took = matches!(before, Some(Item::Chain(before)) if before.takes_work());
                    if !took || !state.takes_work() {
                        self.held_back.insert(state.chain.clone(), step);
                    }
                }
                // A listing counts from the last change of its task.
                (_, Some(Item::Task(task))) if task.is_listed() => {
                    let place = (task.id.chain().to_owned(), Listing::of(task).key().sort);
                    let listed =
                        self.listed.get_mut(&task.pool).and_then(|listings| listings.get_mut(&place));
                    if let Some(listed) = listed {
                        listed.since_step = step;
                    }
                }
                (before, Some(Item::Scope(scope))) => {
                    let was_live = matches!(before, Some(Item::Scope(before)) if before.is_live());
                    if !was_live || !scope.is_live() {
                        self.unwanted.insert(scope.id.clone(), step);
                    }
                }
                _ => {}
            }
        }
    }

    fn list(&mut self, sight: &Sight<'_>, sort: &str, listing: &Listing) {
        let Some(rank) = ranks::rank_of(sight, &listing.id) else {
            return sight.must(false, || format!("{} is listed, and has no place in the order", listing.id));
        };
        let place = (listing.id.chain().to_owned(), sort.to_owned());
        let listed = Listed { since_step: sight.simulation.steps(), rank, listing: listing.clone() };
        self.listed.entry(listing.pool.clone()).or_default().insert(place, listed);
    }

    /// After a power loss everything counts from then.
    pub fn restart(&mut self, sight: &Sight<'_>) {
        self.listed.clear();
        let step = sight.simulation.steps();
        for (key, item) in sight.mirror.items() {
            match item {
                Item::Listing(listing) => self.list(sight, &key.sort, listing),
                Item::Chain(state) => {
                    self.held_back.insert(state.chain.clone(), step);
                }
                _ => {}
            }
        }
    }

    /// A worker got a task by a claim that began at `since` and ends now.
    pub fn check(&self, sight: &Sight<'_>, worker: &str, since: Since, pool: &str, task: &Task) {
        sight.simulation.count("check: claim");
        let Some(rank) = ranks::rank_of(sight, &task.id) else { return };
        if let Some(lower) = self.waited(sight, worker, since, pool, |other| *other < rank) {
            sight.simulation.violate(format!(
                "{worker} took {} of {rank:?} from pool {pool} while {} of {:?} was listed all the time",
                task.id, lower.listing.id, lower.rank
            ));
        }
    }

    /// A worker was told that there is nothing for it.
    pub fn check_nothing(&self, sight: &Sight<'_>, worker: &str, since: Since, pool: &str) {
        sight.simulation.count("check: claim found nothing");
        if let Some(listed) = self.waited(sight, worker, since, pool, |_| CLAIM_FINDS_WHAT_IS_LISTED) {
            sight.simulation.violate(format!(
                "{worker} found nothing in pool {pool} while {} was listed all the time",
                listed.listing.id
            ));
        }
    }

    /// What the worker might have run during the whole of a claim, of such a rank.
    fn waited(
        &self,
        sight: &Sight<'_>,
        worker: &str,
        since: Since,
        pool: &str,
        is_such: impl Fn(&Rank) -> bool,
    ) -> Option<&Listed> {
        let Since { step: since_step, ms: since_ms } = since;
        let listed = self.listed.get(pool).into_iter().flatten();
        let waited = |((chain, _), listed): &(&Place, &Listed)| {
            let was_held_back = self.held_back.get(chain).is_some_and(|step| *step >= since_step)
                || sight.mirror.chain(chain).is_none_or(|state| !state.takes_work());
            let listing = &listed.listing;
            let avoided = listing
                .avoid
                .as_ref()
                .is_some_and(|avoid| avoid.worker == worker && avoid.until_ms > since_ms);
            is_such(&listed.rank)
                && listed.since_step < since_step
                && !was_held_back
                && !avoided
                && self.unwanted.get(&listing.id.scope).is_none_or(|step| *step < since_step)
                && may_run(sight.mirror, listing, worker)
        };
        listed.into_iter().find(waited).map(|(_, listed)| listed)
    }

    pub fn listings(&self) -> impl Iterator<Item = &Listing> {
        self.listed.values().flat_map(|listings| listings.values().map(|listed| &listed.listing))
    }
}

/// Listings of orphans, and of what is over, are only waiting to be taken away.
fn may_run(mirror: &Mirror, listing: &Listing, worker: &str) -> bool {
    let Some(task) = mirror.task(&listing.id) else { return false };
    let Some(scope) = mirror.scope(&listing.id.scope) else { return false };
    task.is_open()
        && scope.is_canonical()
        && scope.is_live()
        && task.attempts().iter().all(|attempt| attempt.worker != worker)
}

/// Who failed a task does not get it back at once, where there are others.
fn avoids(sight: &Sight<'_>, commit: &[Seen], listing: &Listing) {
    let Some(avoid) = &listing.avoid else { return };
    let Some(attempt) =
        commit.iter().find_map(|seen| match (seen.before.as_deref(), seen.after.as_deref()) {
            (Some(Item::Task(before)), Some(Item::Task(after))) if after.id == listing.id => {
                after.attempts().iter().find(|attempt| !before.attempts().contains(attempt))
            }
            _ => None,
        })
    else {
        return;
    };
    let alone = sight.mirror.worker(&attempt.worker).is_none_or(|worker| worker.alone);
    if attempt.worker == avoid.worker {
        sight.simulation.count("check: the one that failed it took it again");
    }
    sight.must(alone || attempt.worker != avoid.worker || avoid.until_ms <= attempt.started_ms, || {
        format!("{} took {}, which it had failed, before others could", attempt.worker, listing.id)
    });
}

/// A listing and its task know each other.
fn has_task(sight: &Sight<'_>, listing: &Listing) {
    let task = sight.mirror.task(&listing.id);
    sight.must(task.is_some_and(|task| task.is_listed() && task.rank == listing.rank), || {
        format!("{} is listed, and its task is {task:?}", listing.id)
    });
}
