//! Open work: how each stage of an open scope stands, and its tasks that are not over.

use std::sync::Arc;

use super::TaskCounts;
use super::look::Budget;
use super::rows::state_of;
use crate::error::Error;
use crate::pages::Pages;
use crate::pipeline::Pipeline;
use crate::scope_stages::stages_of;
use crate::state::{Group, Scope, ScopeId, Task, TaskId};
use crate::strategy::readiness::Readiness;
use crate::strategy::waits_for::{Depth, WaitsFor};
use crate::yard::Yard;

/// Tasks read in one look: what a person can use, and well below a second's reading.
pub(crate) const MAX_TASKS: usize = 10_000;
const TASKS_A_PAGE: usize = 512;

/// An open scope and its stages, in dependency order.
pub(crate) struct ScopeWork {
    pub(crate) scope: Scope,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) stages: Vec<StageWork>,
}

pub(crate) struct StageWork {
    pub(crate) index: usize,
    pub(crate) group: Option<Group>,
    pub(crate) counts: TaskCounts,
    /// Tasks that are open or parked.
    pub(crate) open: Vec<Task>,
    /// What it waits for without a group, or what its tasks still gather.
    pub(crate) waits_for: Option<WaitsFor>,
}

impl StageWork {
    pub(crate) fn is_over(&self) -> bool {
        self.group.as_ref().is_some_and(Group::is_over)
    }

    /// The next look has a step to take: to open it, or to record that its members disagree.
    pub(crate) fn is_due(&self) -> bool {
        self.group.is_none() && matches!(self.waits_for, None | Some(WaitsFor::DisagreementRecorded))
    }

    /// A worker, a clock or the next look brings it on; no operator is needed.
    fn moves(&self) -> bool {
        match &self.group {
            None => self.is_due(),
            Some(group) if group.is_over() => false,
            Some(group) => {
                let counts = &self.counts;
                // What gathers is moved by what is below it, and that may be other blocks.
                let next_look_moves =
                    counts.parked == 0 && !matches!(self.waits_for, Some(WaitsFor::Members { .. }));
                !group.is_created()
                    || next_look_moves
                    || counts.waiting + counts.running + counts.backing_off > 0
            }
        }
    }
}

impl ScopeWork {
    pub(crate) fn is_over(&self) -> bool {
        self.stages.iter().all(StageWork::is_over)
    }

    /// Committed, and nothing but a note of that is left. Where a quorum is in it, only a settled scope is known to
    /// have no disagreement that nobody has seen yet.
    pub(crate) fn is_done(&self, committed: bool) -> bool {
        committed
            && self.is_over()
            && !self.stages.iter().any(|stage| self.pipeline.stages[stage.index].may_disagree())
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.stages.iter().flat_map(|stage| &stage.open)
    }

    pub(crate) fn runs(&self) -> bool {
        self.stages.iter().any(|stage| stage.counts.running > 0)
    }

    /// Something in it can still move by itself. `next` says that its proof is the next to commit or emit.
    pub(crate) fn moves(&self, next: bool, committed: bool) -> bool {
        let goal_due = self.scope.is_proved() && next && !committed;
        let settle_due = committed && self.is_over();
        goal_due || settle_due || self.stages.iter().any(StageWork::moves)
    }
}

impl Yard {
    /// How the stages of an open scope stand.
    pub(crate) async fn scope_work(&self, scope: Scope, budget: &mut Budget) -> Result<ScopeWork, Error> {
        let pipeline = self.pipeline(scope.chain(), scope.pipeline()).await?;
        let mut stages = Vec::new();
        for index in stages_of(&pipeline, &scope) {
            stages.push(self.stage_work(&scope, &pipeline, index, budget).await?);
        }
        Ok(ScopeWork { scope, pipeline, stages })
    }

    async fn stage_work(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        budget: &mut Budget,
    ) -> Result<StageWork, Error> {
        let stage = &pipeline.stages[index];
        let (group, waits_for) = match self.readiness(scope, pipeline, stage, Depth::Tell).await? {
            Readiness::Over(group) | Readiness::Begun(group) => (Some(group), None),
            Readiness::Ready(_) | Readiness::Decides => (None, None),
            Readiness::Waits(waits_for) => (None, Some(waits_for)),
        };
        let mut work = StageWork { index, group, counts: TaskCounts::default(), open: Vec::new(), waits_for };
        match &work.group {
            None => (),
            Some(group) if group.is_decided() => work.counts.accepted = u64::from(group.expected),
            Some(group) if group.cancelled => work.counts.cancelled = u64::from(group.expected),
            Some(_) => {
                self.count_tasks(scope.id(), &stage.name, &mut work, budget).await?;
                if work.counts.gathering > 0 {
                    work.waits_for = self.members_missing(scope, pipeline, stage, Depth::Tell).await?;
                }
            }
        }
        Ok(work)
    }

    async fn count_tasks(
        &self,
        scope: &ScopeId,
        stage: &str,
        work: &mut StageWork,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let mut pages = Pages::<Task>::of(TaskId::range(scope, stage, TASKS_A_PAGE));
        while pages.has_more() {
            let limit = TASKS_A_PAGE.min(budget.left);
            if limit == 0 {
                budget.truncated = true;
                return Ok(());
            }
            let Some(page) = pages.next_of(&self.port, limit).await? else { return Ok(()) };
            budget.left -= page.len().min(budget.left);
            for (_, _, task) in page {
                work.counts.add(state_of(&task));
                if task.is_open() || task.is_parked() {
                    work.open.push(task);
                }
            }
        }
        Ok(())
    }
}
