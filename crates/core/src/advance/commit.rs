//! Committing: the frontier moves over the canonical block, or the cut, that is proved at it. Only this moves the
//! frontier up and writes proofs into the log of commits; a reorg moves it back and writes retracts (`record/reorg.rs`).

use crate::error::Error;
use crate::pages::KeyPages;
use crate::pipeline::{Late, Pipeline, Stage};
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::record::put_halt;
use crate::scope_stages::stages_of;
use crate::state::{
    Block, BlockHash, COMMITS, Canonical, ChainName, ChainState, Cut, CutAt, Frontier, Group, Halt,
    HaltReason, OutEntry, OutKind, OutProof, Scope,
};
use crate::transaction::{Tx, read, transact};
use crate::yard::{ChainReads, Yard};

/// What is at the frontier and may be committed, or given up; all of it checked.
struct Next {
    state: ChainState,
    frontier: Frontier,
    scope: Scope,
}

impl Yard {
    /// Commits what is proved at the frontier, or records it missed, as the pipeline says that it opened with; says
    /// whether the frontier moved.
    pub(crate) async fn commit_next(&self, chain: &ChainName, pipeline: &Pipeline) -> Result<bool, Error> {
        let frontier = self.frontier(chain).await?;
        let scope_id = match pipeline.commit_cut() {
            None => {
                let place: Option<Canonical> =
                    read(&self.port, &Canonical::key_of(chain, frontier.height)).await?;
                place.map(|place| place.scope())
            }
            Some(cut) => {
                let key = CutAt::key_of(chain, &pipeline.stages[cut].name, frontier.height);
                read::<CutAt>(&self.port, &key).await?.map(|cut| cut.scope)
            }
        };
        let Some(scope_id) = scope_id else { return Ok(false) };
        let Some(scope): Option<Scope> = read(&self.port, &Scope::key_of(&scope_id)).await? else {
            return Ok(false);
        };
        let own = self.pipeline_of(&scope).await?;
        if !scope.is_proved() {
            if own.chain.late == Late::Wait {
                return Ok(false);
            }
            let state = self.chain_state(chain).await?;
            if state.works_since_ms == ChainState::NOT_KNOWN_MS {
                return self.count_from_now(chain).await;
            }
            if !self.is_late(own.chain.late, &state, &scope) {
                return Ok(false);
            }
        }
        let settles = scope.is_proved() && self.is_over(&scope, &own).await?;
        transact(&self.port, async |tx| {
            let moved = self.commit(tx, chain, &own, &scope, settles).await?;
            if moved {
                wake_sinks(tx, pipeline, COMMITS);
            }
            Ok(moved)
        })
        .await
    }

    /// Deadlines count from here on: whoever ended the hold did not know the yard's time.
    async fn count_from_now(&self, chain: &ChainName) -> Result<bool, Error> {
        if !self.port.has_yards_clock() {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let state = tx.check_chain(chain).await?;
            match state.works_since_ms {
                ChainState::NOT_KNOWN_MS => {
                    tx.put(&ChainState { works_since_ms: self.port.now_ms(), ..state })?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        })
        .await
    }

    /// Whether every stage of a scope is over, so that its commit leaves nothing to do. Where there are quorums, who looks after
    /// the scope decides that.
    async fn is_over(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        let stages: Vec<&Stage> =
            stages_of(pipeline, scope).into_iter().map(|index| &pipeline.stages[index]).collect();
        if stages.iter().any(|stage| stage.may_disagree()) {
            return Ok(false);
        }
        let mut pages = KeyPages::of(&stages, |stage| Group::key_of(scope.id(), &stage.name));
        while let Some(page) = pages.next::<Group>(&self.port).await? {
            if !page.iter().all(|(_, group)| group.as_ref().is_some_and(Group::is_over)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Says whether the frontier moved.
    async fn commit(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        pipeline: &Pipeline,
        seen: &Scope,
        settles: bool,
    ) -> Result<bool, Error> {
        let Some(Next { state, frontier, scope }) = self.may_commit(tx, chain, pipeline, seen).await? else {
            return Ok(false);
        };
        let proofs = match scope.is_proved() {
            true => {
                let stage = &pipeline.stages[pipeline.commit];
                match self.hand_on(tx, &state, &scope, pipeline, stage).await? {
                    Some(proofs) => Some(proofs),
                    None => return Ok(false),
                }
            }
            false => None,
        };
        self.move_frontier(tx, frontier, scope, pipeline, proofs, settles)?;
        Ok(true)
    }

    /// What is seen at the frontier, if it is still there, follows the last committed block, and is proved or may be given up.
    async fn may_commit(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        pipeline: &Pipeline,
        seen: &Scope,
    ) -> Result<Option<Next>, Error> {
        let state = match self.planted(PlantedBug::CommitWithoutParent) {
            false => tx.check_chain(chain).await?,
            true => ChainState { reorg: None, ..tx.peek_chain(chain).await? },
        };
        let frontier = tx.check_frontier(chain).await?;
        let scope: Option<Scope> = tx.check(&Scope::key_of(seen.id())).await?;
        let stays = |scope: &Scope| scope.is_canonical() && scope.pipeline() == seen.pipeline();
        let Some(scope) = scope.filter(stays) else { return Ok(None) };
        let (from, to) = scope.heights();
        if from != frontier.height || !state.commits(to) || !self.is_canonical(tx, &scope).await? {
            return Ok(None);
        }
        let (parent, _) = ends(&scope);
        if frontier.last_hash.as_ref().is_some_and(|last| *last != parent)
            && !self.planted(PlantedBug::CommitWithoutParent)
        {
            self.halt_on_parent(tx, state, &scope, &parent)?;
            return Ok(None);
        }
        let is_missed =
            scope.is_missed() || (state.takes_work() && self.is_late(pipeline.chain.late, &state, &scope));
        Ok((scope.is_proved() || is_missed).then_some(Next { state, frontier, scope }))
    }

    /// Over a scope that is handed on with these proofs, or given up without any.
    fn move_frontier(
        &self,
        tx: &mut Tx<'_>,
        frontier: Frontier,
        mut scope: Scope,
        pipeline: &Pipeline,
        proofs: Option<Vec<OutProof>>,
        settles: bool,
    ) -> Result<(), Error> {
        tx.send(Wake::Chain { chain: frontier.chain.clone() });
        let (to, (_, hash)) = (scope.heights().1, ends(&scope));
        let moved = Frontier {
            height: to + 1,
            last_hash: Some(hash),
            due_ms: Some(self.due_in(pipeline.chain.tick_ms)),
            opened: frontier.opened.max(to + 1),
            ..frontier.clone()
        };
        match proofs {
            Some(proofs) => {
                let sequence = frontier.next_sequence;
                self.append_out(tx, COMMITS, proofs, &scope, sequence)?;
                tx.put(&Frontier { next_sequence: sequence + 1, ..moved })?;
                scope.commit(self.port.now_ms());
                match settles {
                    true => scope.settle(),
                    false => tx.send(Wake::Scope { scope: scope.id().clone() }),
                }
                tx.put(&scope)?;
            }
            None => {
                tx.send(Wake::Scope { scope: scope.id().clone() });
                // It stays open for who may disagree in it.
                scope.miss(self.port.now_ms(), self.due_in(pipeline.chain.tick_ms));
                tx.put(&scope)?;
                // A cut is never given up.
                tx.put(&Frontier { missed: moved.missed.map(|missed| missed + 1), ..moved })?;
            }
        }
        Ok(())
    }

    /// Appends a proved scope to an out log.
    pub(crate) fn append_out(
        &self,
        tx: &mut Tx<'_>,
        log: &str,
        proofs: Vec<OutProof>,
        scope: &Scope,
        sequence: u64,
    ) -> Result<(), Error> {
        let (from, to) = scope.heights();
        let kind = OutKind::Proof { from, to, hash: ends(scope).1, scope: scope.id().clone(), proofs };
        let (chain, log, at_ms) = (scope.chain().clone(), log.to_owned(), self.port.now_ms());
        tx.put(&OutEntry { chain, log, sequence, at_ms, kind })
    }

    async fn is_canonical(&self, tx: &mut Tx<'_>, scope: &Scope) -> Result<bool, Error> {
        let key = match scope.cut() {
            None => Canonical::key_of(scope.chain(), scope.heights().0),
            Some(cut) => {
                let at: Option<CutAt> = tx.check(&CutAt::key_of(scope.chain(), &cut.stage, cut.from)).await?;
                return Ok(at.is_some_and(|at| at.scope == *scope.id()));
            }
        };
        let place: Option<Canonical> = match self.planted(PlantedBug::CommitWithoutParent) {
            false => tx.check(&key).await?,
            true => tx.peek(&key).await?,
        };
        Ok(place.is_some_and(|place| place.scope() == *scope.id()))
    }

    /// Cannot happen while the other rules hold; if it does, nothing more is built on it.
    fn halt_on_parent(
        &self,
        tx: &mut Tx<'_>,
        state: ChainState,
        scope: &Scope,
        parent: &BlockHash,
    ) -> Result<(), Error> {
        let reason = HaltReason::Parent { height: scope.heights().0, parent: parent.clone() };
        put_halt(tx, state, Halt::over(Some(scope), &reason, self.port.now_ms()))
    }
}

/// Tells the sinks of the pipeline in force that a log grows.
pub(super) fn wake_sinks(tx: &mut Tx<'_>, in_force: &Pipeline, log: &str) {
    for sink in in_force.sinks_of(log) {
        tx.send(Wake::Sink { chain: in_force.chain.name.clone(), sink: sink.clone() });
    }
}

/// Tells the sinks of a block's pipeline that are notified of blocks that it is proved: they wait for no order.
pub(crate) fn wake_level_sinks(tx: &mut Tx<'_>, pipeline: &Pipeline) {
    for (sink, _) in pipeline.sinks.iter().filter(|(_, sink)| sink.is_level()) {
        tx.send(Wake::Sink { chain: pipeline.chain.name.clone(), sink: sink.clone() });
    }
}

/// The parent of its first block and the hash of its last.
pub(crate) fn ends(scope: &Scope) -> (BlockHash, BlockHash) {
    match (scope.block(), scope.cut()) {
        (Some(Block { parent, hash, .. }), _) => (parent.clone(), hash.clone()),
        (None, Some(Cut { first_parent, last_hash, .. })) => (first_parent.clone(), last_hash.clone()),
        (None, None) => Default::default(),
    }
}
