//! A block that the frontier has passed: committed, by which proofs, or given up.

use super::answer::{Answer, END_OF_HALT, ways_of_lacking};
use super::hold::hold;
use super::text::{count, span};
use super::{Case, Line};
use crate::advance::deadline_ms;
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pipeline::Late;
use crate::state::{COMMITS, OutEntry, OutKind, Scope, Task, TaskId, short};
use crate::status::look::Budget;
use crate::status::work::MAX_TASKS;
use crate::transaction::read;
use crate::yard::Yard;

impl Yard {
    /// Below the frontier: committed, or given up.
    pub(super) async fn passed(&self, look: &ChainLook, scope: Scope) -> Result<Answer, Error> {
        let height = scope.heights().0;
        if scope.is_missed() {
            let missed = missed(look, &scope, self.pipeline_of(&scope).await?.chain.late);
            let missed = self.with_halt(look, &scope, missed).await?;
            return Ok(missed.detail(Line::new("the frontier has moved over it")));
        }
        let commit = match look.pipeline.commit_cut() {
            Some(cut) => self.cut_covering(look.chain(), &look.pipeline.stages[cut].name, height).await?,
            None => Some(scope.clone()),
        };
        let at_ms = commit.as_ref().and_then(|commit| commit.committed_ms());
        let ago =
            at_ms.map_or(String::new(), |at_ms| format!(" {} ago", span(look.now_ms.saturating_sub(at_ms))));
        let verdict = format!("Block {height} of chain {} was committed{ago}.", look.chain());
        let mut answer = Answer::new(Case::Committed, verdict);
        if let Some(commit) = commit {
            answer.details = self.proof_lines(look, &commit).await?;
        }
        let mut answer = self.with_halt(look, &scope, answer).await?;
        for (stage, lacking) in self.cuts_that_cannot_close(look, height).await? {
            answer.details.push(Line::new(format!("no cut of stage {stage} can close: {lacking}")));
            answer.ways.extend(ways_of_lacking(&stage));
        }
        answer.details.extend(self.untold(look, height).await);
        if !scope.is_settled() {
            let work = self.scope_work(scope, &mut Budget::new(MAX_TASKS)).await?;
            if !work.is_over() {
                let lines = self.stage_lines(look, &work).await?;
                answer.details.push(Line::over("work that goes on after the commit:", lines));
                answer.ways.extend(hold(look, &work, |_| true).map(|hold| hold.ways).unwrap_or_default());
            }
        }
        self.with_cuts_at_work(look, height, answer).await
    }

    /// What goes on in the cuts behind the commit that have this block.
    async fn with_cuts_at_work(
        &self,
        look: &ChainLook,
        height: u64,
        mut answer: Answer,
    ) -> Result<Answer, Error> {
        let mut budget = Budget::new(MAX_TASKS);
        for (index, stage, _) in look.pipeline.cut_stages() {
            if look.pipeline.commit_cut() == Some(index) {
                continue;
            }
            let Some(scope) = self.cut_covering(look.chain(), &stage.name, height).await? else { continue };
            if scope.is_settled() {
                continue;
            }
            let (from, to) = scope.heights();
            let work = self.scope_work(scope, &mut budget).await?;
            if !work.is_over() {
                let lines = self.stage_lines(look, &work).await?;
                let title = format!("work on the cut {from}..{to} of stage {} goes on:", stage.name);
                answer.details.push(Line::over(title, lines));
                answer.ways.extend(hold(look, &work, |_| true).map(|hold| hold.ways).unwrap_or_default());
            }
        }
        Ok(answer)
    }

    /// Who disagrees in a scope below the frontier, and whether that halts the chain now.
    async fn with_halt(&self, look: &ChainLook, scope: &Scope, mut answer: Answer) -> Result<Answer, Error> {
        answer.details.extend(self.disagreements(scope).await?);
        for cause in self.open_halts(&look.state).await? {
            if cause.halt.scope.as_ref() == Some(scope.id()) {
                answer.details.push(Line::new(format!("the chain is halted, {}", cause.halt.reason)));
                answer.ways = vec![END_OF_HALT.to_owned()];
            }
        }
        Ok(answer)
    }

    /// By which proofs a scope was committed, and where the out log has it.
    async fn proof_lines(&self, look: &ChainLook, scope: &Scope) -> Result<Vec<Line>, Error> {
        let own = self.pipeline_of(scope).await?;
        let commit = &own.stages[own.commit].name;
        let mut lines = Vec::new();
        if let Some(cut) = scope.cut() {
            lines
                .push(Line::new(format!("in the cut {}..{}, closed by {}", cut.from, cut.to, cut.closed_by)));
        }
        for stage in self.committing_stages(scope, commit).await? {
            let task: Option<Task> = read(&self.port, &TaskId::new(scope.id(), &stage, 0).task_key()).await?;
            let Some(proof) = task.and_then(Task::into_accepted) else { continue };
            let text = format!(
                "by the proof {} of stage {stage}: {}, made by {} on {} in attempt {}, proved in {}, verified in {}",
                short(&proof.artifact.sha256),
                count(proof.artifact.bytes, "byte"),
                proof.prover,
                proof.worker,
                proof.attempt,
                span(proof.prove_ms),
                span(proof.verify_ms),
            );
            lines.push(Line::new(text));
        }
        // Right where no reorg, miss or cut came between; elsewhere finding it would take a walk over the log.
        let sequence = scope.heights().0.saturating_sub(look.state.start_height);
        let entry: Option<OutEntry> =
            read(&self.port, &OutEntry::key_of(look.chain(), COMMITS, sequence)).await?;
        if entry.is_some_and(
            |entry| matches!(&entry.kind, OutKind::Proof { scope: of, .. } if *of == *scope.id()),
        ) {
            lines.push(Line::new(format!("entry {sequence} of the log of commits")));
        }
        Ok(lines)
    }
}

pub(super) fn missed(look: &ChainLook, scope: &Scope, late: Late) -> Answer {
    let height = scope.heights().0;
    let verdict =
        format!("Block {height} of chain {} was missed: it was not proved by its deadline.", look.chain());
    let mut answer = Answer::new(Case::Missed, verdict);
    if let (Late::Miss { deadline_ms: had_ms }, Some(due_ms)) = (late, deadline_ms(late, &look.state, scope))
    {
        let ago = span(look.now_ms.saturating_sub(due_ms));
        let text = format!(
            "it had {} from when it was on the chain and that took work, which ended {ago} ago",
            span(had_ms)
        );
        answer.details.push(Line::new(text));
    }
    answer
}
