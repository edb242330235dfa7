//! The end of a run: faults have stopped, and everything acknowledged must come to be committed, missed or
//! orphaned, with nothing left listed, held, parked or forgotten.

use proofyard_core::pipeline::Pipeline;
use proofyard_core::state::{Branch, Progress, TaskStatus};

use super::World;
use crate::check::mirror::Item;

/// Simulated time from the last fault until all must be done: longest backoffs, leases, limits and quarantines
/// together stay well below.
pub const SETTLES_WITHIN_MS: u64 = 45 * 60_000;

/// What is due is looked at after this time, however short sweeps are cut.
const LOOKED_AT_WITHIN_MS: u64 = 5 * 60_000;

impl World {
    /// What is not done yet, if anything.
    pub(super) fn what_is_left(&self) -> Option<String> {
        self.chains_left()
            .or_else(|| self.items_left())
            .or_else(|| self.sinks_left())
            .or_else(|| self.due_left())
    }

    fn chains_left(&self) -> Option<String> {
        let checker = self.checker.borrow();
        let nodes = self.nodes.borrow();
        for (chain, node) in nodes.iter() {
            let (tip, frontier) = (checker.mirror.tip(chain)?, checker.mirror.frontier(chain)?);
            let head = node.head_block().map(|block| (block.height, block.hash.clone()));
            if tip.head != head {
                return Some(format!("{chain}: the tip is {:?}, the node's head {head:?}", tip.head));
            }
            if tip.height().is_some_and(|height| frontier.height <= height) {
                return Some(format!("{chain}: the frontier is {} of {:?}", frontier.height, tip.head));
            }
            if checker.mirror.chain(chain).is_some_and(|state| state.reorg.is_some()) {
                return Some(format!("{chain}: a reorg is not finished"));
            }
            if let Some(left) = self
                .pipelines
                .get(chain)
                .and_then(|pipeline| self.cuts_left(chain, pipeline, frontier.height))
            {
                return Some(left);
            }
        }
        None
    }

    fn cuts_left(&self, chain: &str, pipeline: &Pipeline, height: u64) -> Option<String> {
        let checker = self.checker.borrow();
        for (_, stage, _) in pipeline.cut_stages().filter(|(index, ..)| pipeline.commit_cut() != Some(*index))
        {
            let emitted = checker
                .mirror
                .out_state(chain, &stage.name)
                .map_or(pipeline.chain.start_height, |out| out.next_from);
            if emitted < height {
                return Some(format!(
                    "{chain}/{}: cuts are handed on up to {emitted} of {height}",
                    stage.name
                ));
            }
        }
        None
    }

    fn items_left(&self) -> Option<String> {
        let checker = self.checker.borrow();
        for (key, item) in checker.mirror.items() {
            let is_left = match item {
                Item::Scope(scope) => scope.is_live() && !scope.settled,
                Item::Task(task) => {
                    let is_wanted = checker.mirror.scope(&task.id.scope).is_some_and(|scope| scope.is_live());
                    is_wanted && matches!(task.status, TaskStatus::Open | TaskStatus::Parked)
                }
                Item::Listing(_) => true,
                Item::Slot(slot) => {
                    slot.held.is_some()
                        && checker.mirror.worker(&slot.worker).is_some_and(|worker| !worker.dead)
                }
                _ => false,
            };
            if is_left {
                return Some(format!("{key} is left: {item:?}"));
            }
        }
        None
    }

    /// What the index of due times holds for nothing: what is over, and what no look takes away or puts off.
    fn due_left(&self) -> Option<String> {
        let now_ms = self.simulation.now_ms();
        let table = self.simulation.table();
        let due = table.rows().filter_map(|(partition, sort, row)| Some((partition, sort, row.due_ms?)));
        let mut waits = due.filter(|(_, sort, _)| *sort != "hb");
        let checker = self.checker.borrow();
        let left = waits.find(|(partition, sort, due_ms)| {
            let is_over = match checker.mirror.item(partition, sort) {
                Some(Item::Scope(scope)) => !scope.is_live() || scope.settled,
                Some(Item::Task(task)) => {
                    matches!(task.status, TaskStatus::Accepted | TaskStatus::Cancelled)
                }
                _ => false,
            };
            is_over || due_ms + LOOKED_AT_WITHIN_MS < now_ms
        });
        left.map(|(partition, sort, due_ms)| {
            format!("{partition} / {sort} is due since {due_ms} for nothing")
        })
    }

    /// Nothing is left; what was acknowledged must have come somewhere.
    pub(super) fn check_rest(&self) {
        self.simulation.count("check: settled");
        let checker = self.checker.borrow();
        for (chain, node) in self.nodes.borrow().iter() {
            for (height, hash) in &node.acknowledged {
                let scopes = checker.mirror.scopes_of(chain, *height, hash);
                let is_canonical =
                    checker.mirror.canonical(chain, *height).is_some_and(|place| place.hash == *hash);
                let frontier = checker.mirror.frontier(chain).map_or(0, |frontier| frontier.height);
                let has_end = scopes.iter().any(|scope| match scope.branch {
                    Branch::Canonical => {
                        is_canonical
                            && *height < frontier
                            && matches!(scope.progress, Progress::Proved | Progress::Missed | Progress::Open)
                    }
                    Branch::Stored | Branch::Orphaned => !is_canonical,
                });
                if !has_end {
                    self.simulation.violate(format!(
                        "{chain}: the acknowledged block {height} {hash} is lost: {scopes:?}"
                    ));
                }
            }
        }
    }
}
