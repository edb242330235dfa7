//! A scope's own steps: open groups whose inputs are there, create their tasks, decide complete ones, settle. A scope is said
//! to be proved here, or where its proof is handed on (`handed_on.rs`), and to be settled here or in the steps that end it.

use super::commit::wake_level_sinks;
use super::groups::TASKS_A_PAGE;
use super::{Look, Step};
use crate::error::Error;
use crate::listing::{put_listing, reschedule};
use crate::pages::Pages;
use crate::pipeline::Pipeline;
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Wake};
use crate::scope_stages::{goal_of, is_handed_on, stages_of};
use crate::state::{CutAt, Decision, Group, Life, Marker, Scope, ScopeId, Task};
use crate::strategy::readiness::Readiness;
use crate::strategy::waits_for::{Depth, WaitsFor};
use crate::transaction::{Tx, read, read_many, read_range, transact};
use crate::yard::{Yard, boxed};

/// Steps that one call takes: of each stage one, or a page of its tasks.
const MAX_STEPS: u32 = 64;
/// Markers looked at in one page of listing again.
const MARKERS_A_PAGE: usize = 64;

impl Yard {
    /// Takes the steps of a scope that are due. A scope that is off the chain, not open or settled has none, but what its
    /// quorums find out late.
    #[boxed(?Send)]
    pub async fn advance_scope(&self, id: &ScopeId) -> Result<(), Error> {
        self.look_after_scope(id).await.map(|_| ())
    }

    /// The same, and says what it found. Steps that are too many for one call are left to who is woken for them.
    pub(crate) async fn look_after_scope(&self, id: &ScopeId) -> Result<Look, Error> {
        let mut look = Look::default();
        for _ in 0..MAX_STEPS {
            let Some(scope): Option<Scope> = read(&self.port, &Scope::key_of(id)).await? else {
                return Ok(look);
            };
            if !scope.is_watched() {
                return Ok(look);
            }
            let pipeline = self.pipeline_of(&scope).await?;
            if scope.is_settled() || !scope.is_live() {
                look.moved = self.watch(&scope, &pipeline).await?;
                if !scope.is_settled() && !look.moved {
                    self.settle_missed(&scope, &pipeline).await?;
                }
                return Ok(look);
            }
            if scope.relists() {
                self.relist(&scope, &pipeline).await?;
                look.moved = true;
                continue;
            }
            let mut moved = false;
            let mut over = true;
            let mut waits_for_judge = false;
            let goal = goal_of(&pipeline, &scope).filter(|_| self.is_judged() && scope.is_open());
            for index in stages_of(&pipeline, &scope) {
                let step = self.advance_stage(&scope, &pipeline, index, &mut look).await?;
                moved |= step.moved;
                over &= step.over;
                waits_for_judge |= step.over && goal == Some(index);
            }
            if !moved && waits_for_judge {
                moved = self.prove_judged(&scope, &pipeline).await?;
            }
            if !moved {
                if over {
                    look.moved |= self.settle(&scope, &pipeline).await?;
                }
                return Ok(look);
            }
            look.moved = true;
        }
        self.port.send(&[Wake::Scope { scope: id.clone() }]).await;
        Ok(look)
    }

    /// A member that a quorum had cancelled, or of a block that was given up, may still bring a proof, and that may disagree.
    async fn watch(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        let mut moved = false;
        for index in stages_of(pipeline, scope) {
            moved |= self.advance_quorum(scope, pipeline, index).await?;
        }
        Ok(moved)
    }

    async fn advance_stage(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        look: &mut Look,
    ) -> Result<Step, Error> {
        let stage = &pipeline.stages[index];
        if self.advance_quorum(scope, pipeline, index).await? {
            self.feed_cuts(scope, pipeline, index).await?;
            return Ok(Step::MOVED);
        }
        let readiness = self.readiness(scope, pipeline, stage, Depth::Open).await?;
        if let Readiness::Over(group) | Readiness::Begun(group) = &readiness {
            let decided_ms = group.decided.as_ref().map_or(0, |decided| decided.at_ms);
            look.latest_ms = look.latest_ms.max(group.opened_ms).max(decided_ms);
        }
        match readiness {
            Readiness::Over(_) => Ok(Step::OVER),
            Readiness::Begun(group) if !group.is_created() && !self.planted(PlantedBug::RangeCount) => {
                self.create_page(scope, pipeline, stage, &group.plan()).await
            }
            Readiness::Begun(group) => {
                let step = self.complete(scope, pipeline, index, &group).await?;
                if step.moved {
                    self.feed_cuts(scope, pipeline, index).await?;
                }
                Ok(step)
            }
            Readiness::Ready(plan) => self.create_page(scope, pipeline, stage, &plan).await,
            Readiness::Waits(WaitsFor::Blocked(why)) => {
                self.record_blocked(scope, stage, why).await?;
                Ok(Step::WAITS)
            }
            // By the next look, since no decision was there yet at this one's beginning.
            Readiness::Decides | Readiness::Waits(_) => Ok(Step::WAITS),
        }
    }

    /// Decides a group whose tasks are all created and of which no marker is left. Both facts are stable, so the
    /// range that shows no marker may be a hint.
    async fn complete(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        group: &Group,
    ) -> Result<Step, Error> {
        let open = self.port.range(&Marker::range(&group.scope, &group.stage, 1)).await?;
        if !open.is_empty() {
            if !group.is_created() {
                return self.create_page(scope, pipeline, &pipeline.stages[index], &group.plan()).await;
            }
            return Ok(Step::WAITS);
        }
        if let Some(wrong) = self.wrong_result_in(scope, pipeline, group).await? {
            self.halt_over(scope, wrong).await?;
            return Ok(Step::WAITS);
        }
        transact(&self.port, async |tx| {
            let scope: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            let group: Option<Group> = tx.check(&Group::key_of(&group.scope, &group.stage)).await?;
            match (scope.filter(Scope::is_live), group.filter(|group| !group.is_over())) {
                (Some(scope), Some(group)) => {
                    tx.put(&Group { decided: Some(Decision { at_ms: self.port.now_ms() }), ..group })?;
                    self.mark_decided(tx, scope, pipeline, index).await?;
                }
                _ => return Ok(Step::WAITS),
            }
            Ok(Step::MOVED)
        })
        .await
    }

    /// What follows in the scope from a stage's decision: it may be proved by it.
    pub(crate) async fn mark_decided(
        &self,
        tx: &mut Tx<'_>,
        mut scope: Scope,
        pipeline: &Pipeline,
        index: usize,
    ) -> Result<(), Error> {
        self.wake_cuts(tx, &scope, pipeline, index).await?;
        tx.send(Wake::Scope { scope: scope.id().clone() });
        // Where there is a judge, not before it has looked at it.
        let is_goal = goal_of(pipeline, &scope) == Some(index) && scope.is_open();
        if is_goal && !self.is_judged() {
            tx.send(Wake::Chain { chain: scope.chain().clone() });
            wake_level_sinks(tx, pipeline);
            scope.prove(self.port.now_ms());
            tx.put(&scope)?;
        }
        Ok(())
    }

    /// A cut that gathers this stage's outputs may have its last one now. One with an arity is fed instead.
    async fn wake_cuts(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
    ) -> Result<(), Error> {
        for (_, reader) in pipeline.readers(index) {
            if !reader.waits_for_whole_cuts() {
                continue;
            }
            let covering = CutAt::covering(scope.chain(), &reader.name, scope.heights().0);
            for (_, _, cut) in read_range::<CutAt>(&self.port, &covering).await? {
                tx.send(Wake::Scope { scope: cut.scope });
            }
        }
        Ok(())
    }

    /// Lists open tasks that nobody lists or runs, after the scope came back to the chain, and has the sweeper look again
    /// at those that run or are parked. Who begins anew passes quickly what is done.
    async fn relist(&self, scope: &Scope, pipeline: &Pipeline) -> Result<(), Error> {
        for index in stages_of(pipeline, scope) {
            let range = Marker::range(scope.id(), &pipeline.stages[index].name, self.page_of(MARKERS_A_PAGE));
            let mut pages = Pages::<Marker>::of(range);
            while let Some(page) = pages.next(&self.port).await? {
                let keys: Vec<Key> = page.iter().map(|(_, _, marker)| marker.id.task_key()).collect();
                let tasks = read_many::<Task>(&self.port, &keys).await?.into_iter().flatten();
                let forgotten: Vec<Key> =
                    tasks.filter(is_forgotten).map(|task| task.id().task_key()).collect();
                for tasks in forgotten.chunks(self.page_of(TASKS_A_PAGE)) {
                    self.relist_tasks(scope, tasks).await?;
                }
            }
        }
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            match now.filter(|now| now == scope) {
                Some(mut now) => {
                    now.relisted();
                    tx.put(&now)
                }
                None => Ok(()),
            }
        })
        .await
    }

    async fn relist_tasks(&self, scope: &Scope, tasks: &[Key]) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            if !now.is_some_and(|now| now.is_live()) {
                return Ok(());
            }
            tx.fetch(tasks.iter().cloned()).await?;
            for key in tasks {
                let task: Option<Task> = tx.check(key).await?;
                let Some(mut task) = task.filter(is_forgotten) else { continue };
                match task.life() {
                    Life::Unlisted => put_listing(tx, task.list(self.port.now_ms()))?,
                    _ => reschedule(self, &mut task),
                }
                tx.put(&task)?;
            }
            Ok(())
        })
        .await
    }

    /// Nothing is left to do for a scope once it is committed and every stage is over.
    async fn settle(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        if !is_handed_on(pipeline, scope, self.frontier(scope.chain()).await?.height) {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            if let Some(mut now) = now.filter(|now| now == scope) {
                now.settle();
                tx.put(&now)?;
            }
            Ok(true)
        })
        .await
    }
}

/// It is not over, and nobody lists it and no sweeper will look at it; or it runs, and its next look was put off to its time
/// limit while its block was away. One that gathers waits for what it joins.
fn is_forgotten(task: &Task) -> bool {
    matches!(task.life(), Life::Live { .. } | Life::Unlisted | Life::Parked { due_ms: None, .. })
}
