//! Which case a block is, from the outside in: off the chain, below the frontier, not opened, open, proved.

use super::answer::{Answer, END_OF_HALT, not_committed};
use super::hold::{Hold, hold};
use super::passed::missed;
use super::stages::pause_of;
use super::text::{count, span};
use super::{Case, Explanation, Line};
use crate::advance::deadline_ms;
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pipeline::{Late, Pipeline};
use crate::scope_stages::goal_of;
use crate::state::{
    Branch, ChainName, Halt, HaltCause, Judgement, KnownBlock, Progress, Reorg, Scope, TaskId, short,
};
use crate::status::look::Budget;
use crate::status::work::{MAX_TASKS, ScopeWork};
use crate::transaction::{read, read_range};
use crate::yard::{Yard, boxed};

/// Blocks shown of one height.
const SIBLINGS: usize = 16;
/// Blocks that a cut waits for and that are looked at as well.
const MEMBERS_SHOWN: usize = 3;

impl Yard {
    /// Why the block at a height is not committed, or how it was.
    #[boxed(?Send)]
    pub async fn explain(&self, chain: &ChainName, height: u64) -> Result<Explanation, Error> {
        let look = self.look(chain).await?;
        let Answer { case, verdict, details, ways } = self.answer(&look, height).await?;
        let (chain, now_ms) = (chain.clone(), look.now_ms);
        Ok(Explanation { chain, height, now_ms, case, verdict, details, what_would_move_it: ways })
    }

    async fn answer(&self, look: &ChainLook, height: u64) -> Result<Answer, Error> {
        let start_height = look.state.start_height;
        if height < start_height {
            let verdict = format!(
                "Chain {} starts at height {start_height}; block {height} is before it.",
                look.chain()
            );
            return Ok(Answer::new(Case::BelowStart, verdict));
        }
        let reorg = look.state.reorg.as_ref().filter(|reorg| reorg.from <= height);
        if let Some(reorg) = reorg {
            return Ok(in_reorg(look, height, reorg));
        }
        let Some(scope) = self.block_scope(look.chain(), height).await? else {
            return self.off_chain(look, height).await;
        };
        if height < look.frontier.height {
            return self.passed(look, scope).await;
        }
        let answer = self.uncommitted(look, scope).await?;
        Ok(match &look.state.halted {
            Some(halt) => {
                let causes = self.open_halts(&look.state).await?;
                halted(look, height, halt, &causes, answer)
            }
            None => answer,
        })
    }

    /// No block at this height is on the chain.
    async fn off_chain(&self, look: &ChainLook, height: u64) -> Result<Answer, Error> {
        let range = KnownBlock::range(look.chain(), height, SIBLINGS);
        let known = read_range::<KnownBlock>(&self.port, &range).await?;
        let tip = match &look.tip.head {
            Some((tip, hash)) => format!("the tip is at height {tip}, {}", short(hash.as_str())),
            None => "no block came yet".to_owned(),
        };
        if known.is_empty() {
            let verdict = format!("No block is known at height {height} of chain {}: {tip}.", look.chain());
            let answer = Answer::new(Case::Unknown, verdict);
            return Ok(match look.tip.ended {
                true => answer.way("a longer input: the one that was given has ended"),
                false => answer.way("the block's arrival from the node, or in the blocks file"),
            });
        }
        let blocks = count(known.len() as u64, "block");
        let verdict = format!(
            "Block {height} of chain {} is not committed: {blocks} known there, none on the chain; {tip}.",
            look.chain()
        );
        let mut answer = Answer::new(Case::NotCanonical, verdict);
        for (_, _, block) in known {
            let scope: Option<Scope> = read(&self.port, &Scope::key_of(&block.scope())).await?;
            answer.details.push(Line::new(sibling_text(look, &block, scope.as_ref())));
        }
        Ok(answer
            .way("the block that is missing between the tip and it, if it is on the tip's branch")
            .way("a reorg to its branch: from the node that is followed, or a line {\"reorg\": HASH} in the blocks file"))
    }

    /// On the chain, at or above the frontier.
    async fn uncommitted(&self, look: &ChainLook, scope: Scope) -> Result<Answer, Error> {
        match scope.progress() {
            Progress::Missed => Ok(missed(look, &scope, self.pipeline_of(&scope).await?.chain.late)),
            _ if !scope.is_canonical() => {
                let hold = Hold::due("its place on the chain is changing", look.pipeline.chain.tick_ms);
                Ok(Answer::of(look, scope.heights().0, hold))
            }
            Progress::Waiting => self.unopened(look, &scope).await,
            Progress::Proved => {
                let height = scope.heights().0;
                self.proved(look, &scope, height).await
            }
            Progress::Open => self.open(look, scope).await,
        }
    }

    async fn unopened(&self, look: &ChainLook, scope: &Scope) -> Result<Answer, Error> {
        let height = scope.heights().0;
        let waited = span(look.now_ms.saturating_sub(scope.acknowledged_ms()));
        let known = Line::new(format!("acknowledged {waited} ago, not opened yet"));
        let (frontier, window) = (look.frontier.height, look.frontier.window);
        if height >= look.window_end() {
            let because = format!(
                "it is beyond the window, which reaches from {frontier} to {}",
                look.window_end().saturating_sub(1)
            );
            let verdict = not_committed(look, height, &because);
            let answer = Answer::new(Case::BeyondWindow, verdict).detail(known);
            let answer = self.with_frontier(look, answer, height).await?;
            return Ok(answer.way(format!("a wider window than {window}: `proofyard window N`")));
        }
        if let Some(pause) = pause_of(look) {
            let verdict = not_committed(look, height, "the chain is paused, and it was not opened before");
            return Ok(Answer::new(Case::Paused, verdict).detail(known).way(pause));
        }
        let hold = Hold::due("it is about to be opened", look.pipeline.chain.tick_ms);
        Ok(Answer::of(look, height, hold).detail(known))
    }

    async fn open(&self, look: &ChainLook, scope: Scope) -> Result<Answer, Error> {
        let height = scope.heights().0;
        let work = self.scope_work(scope, &mut Budget::new(MAX_TASKS)).await?;
        let times = opened_line(look, &work.scope, work.pipeline.chain.late);
        let lines = self.stage_lines(look, &work).await?;
        let own = hold(look, &work, |index| !work.pipeline.stages[index].after_commit);
        let mut answer = match (own, look.pipeline.commit_cut()) {
            (Some(own), _) => Answer::of(look, height, own),
            (None, Some(cut)) => {
                self.with_members(look, self.explain_cut(look, cut, height).await?, cut, height).await?
            }
            (None, None) => {
                let because = match self.unjudged(&work.scope, &work.pipeline).await? {
                    Some(unjudged) => unjudged,
                    None => "its commit is due".to_owned(),
                };
                Answer::of(look, height, Hold::due(because, look.pipeline.chain.tick_ms))
            }
        };
        answer.details.splice(0..0, std::iter::once(times).chain(lines));
        if height > look.frontier.height && look.pipeline.commit_cut().is_none() {
            let text =
                format!("the frontier is at height {}, which must be committed first", look.frontier.height);
            answer.details.push(Line::new(text));
        }
        Ok(answer)
    }

    /// What the judge has still to say of a scope whose stages are over, or has said against it.
    pub(super) async fn unjudged(&self, scope: &Scope, pipeline: &Pipeline) -> Result<Option<String>, Error> {
        let Some(goal) = goal_of(pipeline, scope).filter(|_| self.is_judged()) else { return Ok(None) };
        for stage in self.committing_stages(scope, &pipeline.stages[goal].name).await? {
            let id = TaskId::new(scope.id(), &stage, 0);
            let judgement: Option<Judgement> = read(&self.port, &Judgement::key_of(&id)).await?;
            match judgement.map(|judgement| judgement.refused) {
                None => return Ok(Some(format!("the judge has not looked at {id} yet"))),
                Some(Some(reason)) => return Ok(Some(format!("the judge refused {id}: {reason}"))),
                Some(None) => {}
            }
        }
        Ok(None)
    }

    /// Where its cut waits for other blocks, what those wait for.
    async fn with_members(
        &self,
        look: &ChainLook,
        mut answer: Answer,
        cut: usize,
        height: u64,
    ) -> Result<Answer, Error> {
        let stage = &look.pipeline.stages[cut].name;
        let Some(scope) = self.cut_covering(look.chain(), stage, height).await? else { return Ok(answer) };
        let work = self.scope_work(scope, &mut Budget::new(MAX_TASKS)).await?;
        let heights = hold(look, &work, |_| true).map(|hold| hold.heights).unwrap_or_default();
        for member in heights.into_iter().filter(|member| *member != height).take(MEMBERS_SHOWN) {
            let Some(scope) = self.block_scope(look.chain(), member).await? else { continue };
            if scope.pipeline().is_none() {
                continue;
            }
            let work: ScopeWork = self.scope_work(scope, &mut Budget::new(MAX_TASKS)).await?;
            let Some(hold) = hold(look, &work, |index| !work.pipeline.stages[index].after_commit) else {
                continue;
            };
            let lines = self.stage_lines(look, &work).await?;
            answer.case = hold.case;
            answer.details.push(Line::over(format!("block {member}: {}", hold.because), lines));
            answer.ways.extend(hold.ways);
        }
        answer.ways.dedup();
        Ok(answer)
    }

    /// Its proof is there; what is missing is its turn.
    pub(super) async fn proved(&self, look: &ChainLook, scope: &Scope, height: u64) -> Result<Answer, Error> {
        let ago = scope.proved_ms().map_or(0, |proved_ms| look.now_ms.saturating_sub(proved_ms));
        let proved = Line::over(format!("proved {} ago", span(ago)), self.disagreements(scope).await?);
        if scope.heights().0 <= look.frontier.height {
            let hold = Hold::due("it is proved, and its commit is due", look.pipeline.chain.tick_ms);
            return Ok(Answer::of(look, height, hold).detail(proved));
        }
        let because = format!("it is proved, and the frontier is at height {}", look.frontier.height);
        let answer = Answer::new(Case::BehindFrontier, not_committed(look, height, &because)).detail(proved);
        self.with_frontier(look, answer, height).await
    }

    /// Who said what in the quorums of a scope that do not agree.
    pub(super) async fn disagreements(&self, scope: &Scope) -> Result<Vec<Line>, Error> {
        if scope.disagreements().is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = self.pipeline(scope.chain(), scope.pipeline()).await?;
        let mut lines = Vec::new();
        for stage in pipeline.stages.iter().filter(|stage| scope.reported_dissent(&stage.name) > 0) {
            lines.extend(self.disagreement_line(scope, &pipeline, stage).await?);
        }
        Ok(lines)
    }

    /// Adds what the block at the frontier waits for, since it is the one to look at.
    async fn with_frontier(
        &self,
        look: &ChainLook,
        mut answer: Answer,
        height: u64,
    ) -> Result<Answer, Error> {
        let frontier = look.frontier.height;
        if frontier >= height {
            return Ok(answer);
        }
        let at_frontier = match self.block_scope(look.chain(), frontier).await? {
            Some(scope) => Box::pin(self.uncommitted(look, scope)).await?,
            None => Box::pin(self.off_chain(look, frontier)).await?,
        };
        let (line, ways) = at_frontier.into_line();
        answer.details.push(Line::over("the block at the frontier is the one to look at:", vec![line]));
        answer.ways.extend(ways);
        Ok(answer)
    }
}

fn in_reorg(look: &ChainLook, height: u64, reorg: &Reorg) -> Answer {
    let because = format!("a reorg from height {} is being written", reorg.from);
    let left = reorg.next.saturating_add(1).saturating_sub(reorg.from);
    let cuts = reorg.cuts_from.len() as u64;
    let text = format!(
        "the new head is at height {}; {} and the cuts of {} are left to rewrite",
        reorg.head,
        count(left, "height"),
        count(cuts, "stage")
    );
    Answer::new(Case::Reorg, not_committed(look, height, &because)).detail(Line::new(text)).way(format!(
        "nothing from outside: the sweeper goes on with it within {}",
        span(look.pipeline.chain.tick_ms)
    ))
}

/// The halt comes first; what the block itself waits for is kept below it.
fn halted(look: &ChainLook, height: u64, halt: &Halt, causes: &[HaltCause], answer: Answer) -> Answer {
    let others = look.state.halts.saturating_sub(look.state.halts_ended).saturating_sub(1);
    let since_ms = causes.first().map_or(halt.at_ms, |first| first.halt.at_ms);
    let because = format!("the chain is halted, {}", halt.reason);
    let since = span(look.now_ms.saturating_sub(since_ms));
    let (line, _) = answer.into_line();
    let mut halted = Answer::new(Case::Halted, not_committed(look, height, &because))
        .detail(Line::new(format!("halted for {since}; nothing is opened, claimed, committed or handed on")));
    if others > 0 {
        let older = causes.iter().filter(|cause| cause.halt != *halt).rev();
        let lines = older.map(|cause| Line::new(cause.halt.reason.clone())).collect();
        halted = halted
            .detail(Line::over(format!("{} before that, which end with it:", count(others, "halt")), lines));
    }
    halted.detail(line).way(END_OF_HALT)
}

fn opened_line(look: &ChainLook, scope: &Scope, late: Late) -> Line {
    let ago = |at_ms: u64| span(look.now_ms.saturating_sub(at_ms));
    let mut text = format!("acknowledged {} ago", ago(scope.acknowledged_ms()));
    if let Some(opened_ms) = scope.opened_ms() {
        text.push_str(&format!(", opened {} ago", ago(opened_ms)));
    }
    if let Some(due_ms) = deadline_ms(late, &look.state, scope).filter(|_| look.state.takes_work()) {
        let left_ms = due_ms.saturating_sub(look.now_ms);
        let when = if left_ms == 0 { "at the next look".to_owned() } else { format!("in {}", span(left_ms)) };
        text.push_str(&format!("; given up {when}"));
    }
    Line::new(text)
}

fn sibling_text(look: &ChainLook, block: &KnownBlock, scope: Option<&Scope>) -> String {
    let what = match scope.map(|scope| scope.branch()) {
        Some(Branch::Orphaned) => "left the chain in a reorg",
        Some(Branch::Canonical) => "is on the chain",
        Some(Branch::Stored) | None => "is stored, never on the chain",
    };
    let age = scope.map_or(String::new(), |scope| {
        format!(", acknowledged {} ago", span(look.now_ms.saturating_sub(scope.acknowledged_ms())))
    });
    let fits = match &look.tip.head {
        Some((tip, hash)) if tip + 1 == block.height && *hash == block.parent => "; its parent is the tip",
        Some(_) => "; its parent is not the tip",
        None => "",
    };
    format!("{} (parent {}) {what}{age}{fits}", short(block.hash.as_str()), short(block.parent.as_str()))
}
