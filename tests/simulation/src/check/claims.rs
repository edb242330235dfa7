//! Promise 2, frontier first, by the interval rule: during the whole of a claim no listed task of that pool which
//! the worker may run had a lower rank than the one it took.

use std::collections::BTreeMap;

use proofyard_core::state::{Branch, Listing, TaskStatus};

use proofyard_core::transaction::Item as _;

use super::Sight;
use super::mirror::{Item, Mirror, Seen};

/// Chain and sort key of a listing.
type Place = (String, String);

/// Since when what is true now has been true, in steps.
#[derive(Default)]
pub struct Claims {
    /// By pool, then by place.
    listed: BTreeMap<String, BTreeMap<Place, (u64, Listing)>>,
    /// When a chain last did not take work; absent while it never did not.
    held_back: BTreeMap<String, u64>,
    /// When a scope last was not wanted.
    unwanted: BTreeMap<String, u64>,
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
                    let place = (listing.id.chain().to_owned(), seen.key.sort.clone());
                    let listings = self.listed.entry(listing.pool.clone()).or_default();
                    listings.insert(place, (step, listing.clone()));
                }
                (Some(Item::Listing(listing)), None) => {
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
                (_, Some(Item::Task(task))) if task.listed => {
                    let place = (task.id.chain().to_owned(), Listing::of(task).key().sort);
                    let listed =
                        self.listed.get_mut(&task.pool).and_then(|listings| listings.get_mut(&place));
                    if let Some((since_step, _)) = listed {
                        *since_step = step;
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

    /// A worker got a task by a claim that began at `since` and ends now.
    pub fn check(&self, sight: &Sight<'_>, worker: &str, since: Since, pool: &str, rank: &str) {
        sight.simulation.count("check: claim");
        let Since { step: since_step, ms: since_ms } = since;
        for ((chain, _), (listed_step, listing)) in self.listed.get(pool).into_iter().flatten() {
            let was_held_back = self.held_back.get(chain).is_some_and(|step| *step >= since_step)
                || sight.mirror.chain(chain).is_none_or(|state| !state.takes_work());
            let avoided = listing
                .avoid
                .as_ref()
                .is_some_and(|avoid| avoid.worker == worker && avoid.until_ms > since_ms);
            if listing.rank.as_str() >= rank
                || *listed_step >= since_step
                || was_held_back
                || avoided
                || self.unwanted.get(&listing.id.scope).is_some_and(|step| *step >= since_step)
                || !may_run(sight.mirror, listing, worker)
            {
                continue;
            }
            sight.simulation.violate(format!(
                "{worker} took rank {rank} from pool {pool} while {} of rank {} was listed all the time",
                listing.id, listing.rank
            ));
        }
    }

    pub fn listings(&self) -> impl Iterator<Item = &Listing> {
        self.listed.values().flat_map(|listings| listings.values().map(|(_, listing)| listing))
    }
}

/// Listings of orphans, and of what is over, are only waiting to be taken away.
fn may_run(mirror: &Mirror, listing: &Listing, worker: &str) -> bool {
    let Some(task) = mirror.task(&listing.id) else { return false };
    let Some(scope) = mirror.scope(&listing.id.scope) else { return false };
    task.status == TaskStatus::Open
        && scope.branch == Branch::Canonical
        && scope.is_live()
        && task.attempts.iter().all(|attempt| attempt.worker != worker)
}

/// A listing and its task know each other.
fn has_task(sight: &Sight<'_>, listing: &Listing) {
    let task = sight.mirror.task(&listing.id);
    sight.must(task.is_some_and(|task| task.listed && task.rank == listing.rank), || {
        format!("{} is listed, and its task is {task:?}", listing.id)
    });
}
