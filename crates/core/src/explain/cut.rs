//! Blocks that are committed by cuts: the cut that holds one, or why none has closed over it yet.

use super::Case;
use super::Line;
use super::answer::{Answer, ways_of_lacking};
use super::hold::Hold;
use super::text::{count, span};
use crate::advance::NextCut;
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pipeline::CutRule;
use crate::state::Scope;
use crate::status::look::Budget;
use crate::status::work::MAX_TASKS;
use crate::yard::Yard;

impl Yard {
    /// Why the cut that commits this block is not committed.
    pub(super) async fn explain_cut(
        &self,
        look: &ChainLook,
        cut: usize,
        height: u64,
    ) -> Result<Answer, Error> {
        let stage = &look.pipeline.stages[cut];
        match self.cut_covering(look.chain(), &stage.name, height).await? {
            Some(scope) => self.explain_closed(look, scope, height).await,
            None => self.explain_unclosed(look, cut, height).await,
        }
    }

    /// After the commit: the stages that gather this block next, and cannot tell where their cut ends.
    pub(super) async fn cuts_that_cannot_close(
        &self,
        look: &ChainLook,
        height: u64,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut stages = Vec::new();
        for (index, stage, rule) in look.pipeline.cut_stages() {
            let names_a_field = rule.budget.is_some() || rule.cut_on.is_some();
            if !names_a_field || look.pipeline.commit_cut() == Some(index) {
                continue;
            }
            let next = self.next_cut(look, index, rule).await?;
            let lacking = next.lacking.filter(|_| next.from <= height);
            stages.extend(lacking.map(|lacking| (stage.name.clone(), lacking)));
        }
        Ok(stages)
    }

    async fn explain_closed(&self, look: &ChainLook, scope: Scope, height: u64) -> Result<Answer, Error> {
        let (from, to) = scope.heights();
        let closed_by = scope.cut().map(|cut| cut.closed_by.clone()).unwrap_or_default();
        let age = span(look.now_ms.saturating_sub(scope.recorded_ms()));
        let title = format!("it is in the cut {from}..{to}, closed by {closed_by} {age} ago");
        if scope.is_proved() {
            let mut answer = self.proved(look, &scope, height).await?;
            answer.details.insert(0, Line::new(title));
            return Ok(answer);
        }
        let work = self.scope_work(scope, &mut Budget::new(MAX_TASKS)).await?;
        let lines = self.stage_lines(look, &work).await?;
        let hold = match super::hold::hold(look, &work, |_| true) {
            Some(hold) => hold,
            None => {
                let unjudged = self.unjudged(&work.scope, &work.pipeline).await?;
                let because = unjudged.unwrap_or_else(|| "its cut is about to be proved".to_owned());
                Hold::due(because, look.pipeline.chain.tick_ms)
            }
        };
        let mut answer = Answer::of(look, height, hold);
        answer.details.push(Line::over(title, lines));
        Ok(answer)
    }

    async fn explain_unclosed(&self, look: &ChainLook, cut: usize, height: u64) -> Result<Answer, Error> {
        let stage = &look.pipeline.stages[cut];
        let Some(rule) = stage.cut_rule() else {
            return Ok(Answer::of(look, height, Hold::due("its cut is due", look.pipeline.chain.tick_ms)));
        };
        let next = self.next_cut(look, cut, rule).await?;
        let rule = &next.rule;
        let mut answer = Answer::of(look, height, hold_of_next(look, rule, &next, &stage.name));
        let have = format!("the next cut starts at height {} and has {}", next.from, of_size(&next));
        let mut rules = vec![Line::new(format!("{} close it", count(rule.size, "block")))];
        if next.most < rule.size {
            let fork = next.from + next.most;
            let what = if next.changes { "the pipeline" } else { "a prover" };
            let text = format!("{what} changes at height {fork}, and it closes before that");
            rules.push(Line::new(text));
        }
        if let Some(budget) = &rule.budget {
            let text =
                format!("a block that takes the sum of {} above {} closes it", budget.field, budget.max);
            rules.push(Line::new(text));
        }
        if let Some(field) = &rule.cut_on {
            rules.push(Line::new(format!("a block with another {field} closes it")));
        }
        if let Some(wait_ms) = rule.max_wait_ms {
            rules.push(Line::new(format!("{} of waiting close it", span(wait_ms))));
        }
        rules.push(Line::new("the end of the input closes it"));
        answer.details.push(Line::over(have, rules));
        Ok(answer)
    }
}

fn of_size(next: &NextCut) -> String {
    format!("{} of {}", next.have, count(next.most, "block"))
}

fn hold_of_next(look: &ChainLook, rule: &CutRule, next: &NextCut, stage: &str) -> Hold {
    if let Some(lacking) = &next.lacking {
        let because = format!("no cut of stage {stage} can close: {lacking}");
        return Hold { case: Case::Blocked, because, ways: ways_of_lacking(stage), heights: Vec::new() };
    }
    if let Some(closed) = next.closed.as_ref().filter(|_| look.state.takes_work()) {
        let because = format!("its cut is due to close by {}", closed.reason);
        return Hold::due(because, look.pipeline.chain.tick_ms);
    }
    let missing = next.most.saturating_sub(next.have);
    let mut ways = vec![format!("{} on the chain", count(missing, "more block"))];
    if let (Some(wait_ms), Some(since_ms)) = (rule.max_wait_ms, next.since_ms) {
        let left_ms = since_ms.saturating_add(wait_ms).saturating_sub(look.now_ms);
        ways.push(format!("its longest wait ending, in {}", span(left_ms)));
    }
    if !look.tip.ended {
        ways.push("the end of the input".to_owned());
    }
    ways.extend(super::stages::pause_of(look));
    let case = if look.state.paused { Case::Paused } else { Case::WaitsForCut };
    let because = format!("no cut of stage {stage} has closed over it yet; it has {}", of_size(next));
    Hold { case, because, ways, heights: Vec::new() }
}
