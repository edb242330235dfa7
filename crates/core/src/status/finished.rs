//! Whether a chain whose input ended is proved to the end, or stands still until an operator acts.
//!
//! The answer is `No` as soon as something is found that a worker, a clock, a sink or the next look brings on. What is open
//! below the frontier is found in the index of due times, which holds only what is open, so nobody walks over history.

use serde::Serialize;

use super::look::Budget;
use super::rows::parked_task;
use super::work::ScopeWork;
use super::{ParkedTask, SinkPlace, SinkStatus};
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pages::{DuePages, height_pages};
use crate::pipeline::{Confirm, Late};
use crate::port::{DueKind, Key};
use crate::scope_stages::is_handed_on;
use crate::state::{ChainName, CutAt, KeyFamily, OutEntry, Scope};
use crate::strategy::waits_for::WaitsFor;
use crate::transaction::{read, read_many};
use crate::yard::{Yard, boxed};

/// Parked tasks named in one answer; an operator sees the rest after these.
const MAX_PARKED: usize = 1_000;

/// How far from its end a chain is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finished")]
pub enum Finished {
    /// Something can still move.
    No,
    /// The input ended, all of it is committed (or missed), and every sink has it.
    Yes,
    /// Nothing moves until an operator acts.
    Stuck { parked: Vec<ParkedTask>, reason: String },
}

/// What stands still.
#[derive(Default)]
struct Still {
    unfinished: bool,
    parked: Vec<ParkedTask>,
    /// The first stage that can never start as things are.
    dead_end: Option<String>,
}

impl Yard {
    /// Whether there is anything left to do for a chain. A paused chain that has work left answers `No`.
    #[boxed(?Send)]
    pub async fn is_finished(&self, chain: &ChainName) -> Result<Finished, Error> {
        self.finished(chain, false).await
    }

    /// The same, as if no more blocks would come, though a cut may wait for them: `Yes` once nothing moves that does not
    /// wait for blocks.
    #[boxed(?Send)]
    pub async fn is_finished_so_far(&self, chain: &ChainName) -> Result<Finished, Error> {
        self.finished(chain, true).await
    }

    async fn finished(&self, chain: &ChainName, so_far: bool) -> Result<Finished, Error> {
        let look = self.look(chain).await?;
        let mut still = Still::default();
        if look.state.reorg.is_some() || self.work_moves(&look, &mut still).await? {
            return Ok(Finished::No);
        }
        if let Some(halt) = &look.state.halted {
            return Ok(Finished::Stuck { parked: still.parked, reason: halt.reason.clone() });
        }
        if self.chain_moves(&look, so_far, &mut still).await? {
            return Ok(Finished::No);
        }
        let all_passed = look.tip.height().is_none_or(|tip| tip < look.frontier.height);
        if look.tip.ended && all_passed && !still.unfinished {
            return Ok(Finished::Yes);
        }
        if look.state.paused {
            return Ok(Finished::No);
        }
        let reason = match (still.parked.len(), still.dead_end.take()) {
            (0, None) if so_far => return Ok(Finished::Yes),
            (0, None) => return Ok(Finished::No),
            (0, Some(dead_end)) => dead_end,
            (1, _) => "1 task is parked".to_owned(),
            (count, _) => format!("{count} tasks are parked"),
        };
        Ok(Finished::Stuck { parked: still.parked, reason })
    }

    /// Whether any scope has work that can still move; what cannot is kept in `still`.
    async fn work_moves(&self, look: &ChainLook, still: &mut Still) -> Result<bool, Error> {
        for heights in height_pages(look.frontier.height..look.frontier.opened) {
            for (_, scope) in self.block_scopes(look.chain(), heights).await?.into_iter().flatten() {
                if self.scope_moves(look, scope, look.frontier.height, still).await? {
                    return Ok(true);
                }
            }
        }
        for (index, _, _) in look.pipeline.cut_stages() {
            if self.cuts_move(look, index, still).await? {
                return Ok(true);
            }
        }
        for scope in self.open_behind(look).await? {
            if self.scope_moves(look, scope, look.frontier.height, still).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Blocks below the frontier that are not settled, oldest first.
    async fn open_behind(&self, look: &ChainLook) -> Result<Vec<Scope>, Error> {
        let mut open = Vec::new();
        for shard in DueKind::Scope.shards() {
            let mut pages = DuePages::all(shard);
            while let Some(page) = pages.next(self).await? {
                let keys = page
                    .into_iter()
                    .map(|due| due.key)
                    .filter(|key| KeyFamily::of(key) == Some(KeyFamily::Scope));
                let keys: Vec<Key> = keys.collect();
                let scopes = read_many::<Scope>(&self.port, &keys).await?.into_iter().flatten();
                open.extend(scopes.filter(|scope| {
                    let is_block = scope.block().is_some_and(|block| block.height < look.frontier.height);
                    scope.chain() == look.chain() && is_block
                }));
            }
        }
        open.sort_by_key(|scope| scope.heights());
        Ok(open)
    }

    async fn cuts_move(&self, look: &ChainLook, index: usize, still: &mut Still) -> Result<bool, Error> {
        let stage = &look.pipeline.stages[index].name;
        let next = self.next_cut_to_hand_on(look, index).await?;
        let mut from = next;
        while let Some(cut) = read::<CutAt>(&self.port, &CutAt::key_of(look.chain(), stage, from)).await? {
            if let Some(scope) = read::<Scope>(&self.port, &Scope::key_of(&cut.scope)).await?
                && self.scope_moves(look, scope, next, still).await?
            {
                return Ok(true);
            }
            from = cut.to.saturating_add(1);
        }
        still.unfinished |= look.tip.height().is_some_and(|tip| next <= tip);
        Ok(false)
    }

    async fn scope_moves(
        &self,
        look: &ChainLook,
        scope: Scope,
        next: u64,
        still: &mut Still,
    ) -> Result<bool, Error> {
        if !scope.is_live() || scope.is_settled() {
            return Ok(false);
        }
        // One scope has at most a few groups, each with its own bound.
        let work = self.scope_work(scope, &mut Budget::new(usize::MAX)).await?;
        let committed = is_handed_on(&work.pipeline, &work.scope, look.frontier.height);
        if work.is_done(committed) {
            return Ok(false);
        }
        let moves = match look.state.halted {
            Some(_) => work.runs(),
            None => work.moves(work.scope.heights().0 == next, committed),
        };
        still.unfinished = true;
        let room = MAX_PARKED - still.parked.len().min(MAX_PARKED);
        still.parked.extend(work.tasks().filter_map(parked_task).take(room));
        still.dead_end = still.dead_end.take().or_else(|| dead_end(&work));
        Ok(moves)
    }

    /// Whether the chain itself, or a sink, has a step to take or to wait for.
    async fn chain_moves(&self, look: &ChainLook, so_far: bool, still: &mut Still) -> Result<bool, Error> {
        let next_block = match look.tip.height() {
            Some(tip) => tip.saturating_add(1),
            None => look.state.start_height,
        };
        let opens = look.frontier.opened < look.window_end() && look.frontier.opened < next_block;
        let awaits_input = !so_far && !look.tip.ended && next_block < look.window_end();
        let has_deadline =
            look.pipeline.chain.late != Late::Wait && look.frontier.height < next_block && !look.state.paused;
        if opens || awaits_input || has_deadline {
            return Ok(true);
        }
        for (index, stage, rule) in look.pipeline.cut_stages() {
            let cut = self.next_cut(look, index, rule).await?;
            if let Some(lacking) = cut.lacking {
                let dead_end = format!("no cut of stage {} can close: {lacking}", stage.name);
                still.dead_end = still.dead_end.take().or(Some(dead_end));
            } else if cut.moves() || (cut.have > 0 && cut.rule.max_wait_ms.is_some()) {
                return Ok(true);
            }
        }
        let behind = self.sinks(look).await?.into_iter().filter(|sink| sink.behind > 0);
        for sink in behind {
            let waits_for = match sink.confirm {
                _ if sink.paused => "is paused",
                Confirm::Safe if self.waits_for_finality(look, &sink).await? => "waits for safe blocks",
                Confirm::Finalized if self.waits_for_finality(look, &sink).await? => "waits for final blocks",
                _ => return Ok(true),
            };
            still.unfinished = true;
            still.dead_end = still.dead_end.take().or(Some(format!("sink {} {waits_for}", sink.sink)));
        }
        Ok(false)
    }

    async fn waits_for_finality(&self, look: &ChainLook, sink: &SinkStatus) -> Result<bool, Error> {
        let SinkPlace::Log { log, next_sequence } = &sink.place else { return Ok(false) };
        match read::<OutEntry>(&self.port, &OutEntry::key_of(look.chain(), log, *next_sequence)).await? {
            Some(entry) => self.is_withheld(sink.confirm, &entry).await,
            None => Ok(false),
        }
    }
}

/// Why a stage of this scope can never start, parked tasks aside.
fn dead_end(work: &ScopeWork) -> Option<String> {
    let (height, _) = work.scope.heights();
    work.stages.iter().find_map(|stage| {
        let name = &work.pipeline.stages[stage.index].name;
        match &stage.waits_for {
            Some(WaitsFor::Blocked(reason)) => {
                Some(format!("stage {name} cannot start at height {height}: {reason}"))
            }
            Some(WaitsFor::Votes(votes)) if votes.is_split() => {
                Some(format!("no {} provers of stage {name} agree at height {height}", votes.need))
            }
            _ => None,
        }
    })
}
