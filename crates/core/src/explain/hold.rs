//! What holds a scope up: the one thing to look at first, in a sentence, and what would move it.

use super::text::{count, some, span};
use super::{Case, stages::pause_of};
use crate::chain_look::ChainLook;
use crate::pipeline::Pipeline;
use crate::state::Task;
use crate::status::TaskCounts;
use crate::status::work::{ScopeWork, StageWork};
use crate::strategy::votes::{Vote, Votes, can_agree};
use crate::strategy::waits_for::WaitsFor;
use crate::sweep::longest_quiet_ms;

/// Names shown in one sentence.
const NAMES: usize = 5;

/// Why a scope has no proof yet.
pub(super) struct Hold {
    pub(super) case: Case,
    /// Ends a sentence that says what is not committed.
    pub(super) because: String,
    pub(super) ways: Vec<String>,
    /// Blocks that a cut waits for.
    pub(super) heights: Vec<u64>,
}

impl Hold {
    fn new(case: Case, because: impl Into<String>, ways: Vec<String>) -> Self {
        Self { case, because: because.into(), ways, heights: Vec::new() }
    }

    pub(super) fn due(because: impl Into<String>, tick_ms: u64) -> Self {
        let way =
            format!("nothing from outside: the sweeper looks within {}", span(longest_quiet_ms(tick_ms)));
        Self::new(Case::Due, because, vec![way])
    }
}

/// The first thing that holds up the stages of a scope that are wanted for its commit; `None` if all are over.
pub(super) fn hold(look: &ChainLook, work: &ScopeWork, wanted: impl Fn(usize) -> bool) -> Option<Hold> {
    let open: Vec<&StageWork> =
        work.stages.iter().filter(|stage| wanted(stage.index) && !stage.is_over()).collect();
    if open.is_empty() {
        return None;
    }
    let in_order = [parked, blocked, split_vote, working, members, due, parked_after_all];
    let found = in_order.iter().find_map(|hold| hold(look, work, &open));
    Some(found.unwrap_or_else(|| Hold::due("its next step is due", look.pipeline.chain.tick_ms)))
}

fn name<'a>(work: &'a ScopeWork, stage: &StageWork) -> &'a str {
    &work.pipeline.stages[stage.index].name
}

fn parked(look: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    let stage = open.iter().find(|stage| stage.counts.parked > 0 && !can_do_without(work, stage))?;
    Some(parked_at(look, work, stage))
}

/// What a quorum could do without holds it up once nothing else is left that could move.
fn parked_after_all(look: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    open.iter().find(|stage| stage.counts.parked > 0).map(|stage| parked_at(look, work, stage))
}

fn parked_at(look: &ChainLook, work: &ScopeWork, stage: &StageWork) -> Hold {
    let reason = stage.open.iter().find_map(Task::parked).unwrap_or_default().to_owned();
    let (number, name) = (stage.counts.parked, name(work, stage));
    let verb = if number == 1 { "is" } else { "are" };
    let mut because = format!("{} of stage {name} {verb} parked ({reason})", count(number, "task"));
    let out_of_reach = work.pipeline.readers(stage.index).find_map(|(index, reader)| {
        let need = reader.quorum()?.need;
        (quorum_can_agree(work, index) == Some(false)).then_some((&reader.name, need, reader.from.len()))
    });
    if let Some((quorum, need, members)) = out_of_reach {
        because.push_str(&format!(", and without it no {need} of {members} of stage {quorum} can agree"));
    }
    let height = work.scope.heights().0;
    let retry = format!("mending the cause, then `proofyard retry {height}` (new attempts, fresh counts)");
    let redo = format!(
        "`proofyard redo {height}`, if it was mended in the pipeline file: this block was opened with what stood there \
         before, and a retry runs that"
    );
    let late = "a late valid proof by a worker that still has it".to_owned();
    let edited = *work.scope.pipeline() != look.state.pipeline;
    let ways = [Some(retry), edited.then_some(redo), Some(late)].into_iter().flatten().collect();
    Hold::new(Case::Parked, because, ways)
}

/// A quorum that reads this stage, and no other reader does, can still be reached by its other members.
fn can_do_without(work: &ScopeWork, stage: &StageWork) -> bool {
    let mut readers = work.pipeline.readers(stage.index).peekable();
    readers.peek().is_some() && readers.all(|(index, _)| quorum_can_agree(work, index).unwrap_or(false))
}

/// Whether the members of a quorum that are not parked can agree; `None` where the stage is none.
fn quorum_can_agree(work: &ScopeWork, index: usize) -> Option<bool> {
    let stage = work.stages.iter().find(|stage| stage.index == index)?;
    if !work.pipeline.stages[index].may_disagree() {
        return None;
    }
    let Some(votes) = votes_of(stage) else { return Some(true) };
    let parked =
        |member: usize| work.stages.iter().any(|stage| stage.index == member && stage.counts.parked > 0);
    let sources = work.pipeline.stages[index].sources();
    let said: Vec<Vote<'_>> = sources
        .zip(&votes.members)
        .map(|(member, (_, value))| match value {
            Some(value) => Vote::Said(value),
            None if parked(member) => Vote::Parked,
            None => Vote::Comes,
        })
        .collect();
    Some(can_agree(votes.need, &said))
}

fn blocked(_: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    open.iter().find_map(|stage| match &stage.waits_for {
        Some(WaitsFor::Blocked(reason)) => {
            let height = work.scope.heights().0;
            let because = format!("stage {} cannot start: {reason}", name(work, stage));
            let way =
                format!("mending the prover, then `proofyard redo {height}` (proves it again from there)");
            Some(Hold::new(Case::Blocked, because, vec![way]))
        }
        _ => None,
    })
}

/// All members are in, and too few agree.
fn split_vote(_: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    open.iter().find_map(|stage| {
        let votes = votes_of(stage).filter(|votes| votes.is_split())?;
        let because = format!("no {} members of stage {} agree", votes.need, name(work, stage));
        let height = work.scope.heights().0;
        let way = format!("finding which prover is wrong, then `proofyard redo {height}`");
        Some(Hold::new(Case::Blocked, because, vec![way]))
    })
}

fn working(look: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    let busy: Vec<&&StageWork> = open.iter().filter(|stage| left(stage.counts) > 0).collect();
    let stage = busy.first()?;
    let counts = busy.iter().fold(TaskCounts::default(), |sum, stage| sum.sum(stage.counts));
    let total = stage.group.as_ref().map_or(0, |group| u64::from(group.expected));
    let because = match votes_text(work) {
        Some(votes) => votes,
        None => {
            let (left, name) = (open_tasks(stage.counts), name(work, stage));
            format!("stage {name} has {left} of {} left ({})", count(total, "task"), shares(stage.counts))
        }
    };
    if let Some(pause) = pause_of(look).filter(|_| counts.running == 0) {
        return Some(Hold::new(Case::Paused, format!("the chain is paused, and {because}"), vec![pause]));
    }
    Some(Hold::new(Case::Working, because, ways_of(look, &work.pipeline, &busy, counts)))
}

fn left(counts: TaskCounts) -> u64 {
    counts.waiting + counts.running + counts.backing_off
}

fn open_tasks(counts: TaskCounts) -> u64 {
    left(counts) + counts.gathering
}

fn shares(counts: TaskCounts) -> String {
    let shares = [
        (counts.running, "running"),
        (counts.waiting, "waiting for a worker"),
        (counts.backing_off, "backing off"),
        (counts.gathering, "waiting for what they join"),
    ];
    let shown: Vec<String> =
        shares.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    shown.join(", ")
}

/// What an undecided quorum has, if this is one that waits for more.
fn votes_of(stage: &StageWork) -> Option<&Votes> {
    match &stage.waits_for {
        Some(WaitsFor::Votes(votes)) => Some(votes),
        _ => None,
    }
}

fn votes_text(work: &ScopeWork) -> Option<String> {
    let (stage, votes) = work.stages.iter().find_map(|stage| Some((stage, votes_of(stage)?)))?;
    let is_in: Vec<&str> = votes.voted().map(|(member, _)| member).collect();
    let missing: Vec<&str> = votes.missing().collect();
    let have = match is_in.as_slice() {
        [] => "has none".to_owned(),
        names => {
            let agree = if names.len() >= votes.need as usize { " that do not agree" } else { "" };
            format!("has {}{agree} ({})", names.len(), some(names, NAMES))
        }
    };
    Some(format!(
        "stage {} needs {} of {} to agree and {have}; {} to come: {}",
        name(work, stage),
        votes.need,
        votes.members.len(),
        missing.len(),
        some(&missing, NAMES)
    ))
}

fn ways_of(look: &ChainLook, pipeline: &Pipeline, busy: &[&&StageWork], counts: TaskCounts) -> Vec<String> {
    let tasks = || busy.iter().flat_map(|stage| &stage.open);
    let mut ways = Vec::new();
    if counts.running > 0 {
        let mut workers: Vec<&str> =
            tasks().flat_map(Task::attempts).map(|attempt| attempt.worker.as_str()).collect();
        workers.sort_unstable();
        workers.dedup();
        ways.push(format!(
            "the running attempts ending, by result, failure or lost lease (on {})",
            some(&workers, NAMES)
        ));
    }
    if counts.waiting > 0 {
        let mut pools: Vec<&str> =
            busy.iter().filter(|stage| stage.counts.waiting > 0).map(|stage| pool(pipeline, stage)).collect();
        pools.dedup();
        ways.push(format!("a free worker of pool {}", some(&pools, NAMES)));
    }
    if counts.backing_off > 0 {
        let due_ms = tasks()
            .filter(|task| task.attempts().is_empty() && !task.is_listed())
            .filter_map(Task::due_ms)
            .min();
        let wait = due_ms.map_or(0, |due_ms| due_ms.saturating_sub(look.now_ms));
        ways.push(match wait {
            0 => "the next attempt, which is due".to_owned(),
            wait_ms => format!("the next attempt, in {}", span(wait_ms)),
        });
    }
    ways
}

fn pool<'a>(pipeline: &'a Pipeline, stage: &StageWork) -> &'a str {
    &pipeline.stages[stage.index].pool
}

fn members(_: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    open.iter().find_map(|stage| match &stage.waits_for {
        Some(WaitsFor::Members { stage: source, heights }) => {
            let because = format!(
                "stage {} waits for stage {source} of {} {}",
                name(work, stage),
                if heights.len() == 1 { "block" } else { "blocks" },
                some(heights, NAMES)
            );
            let hold = Hold::new(Case::Working, because, Vec::new());
            Some(Hold { heights: heights.clone(), ..hold })
        }
        _ => None,
    })
}

fn due(look: &ChainLook, work: &ScopeWork, open: &[&StageWork]) -> Option<Hold> {
    let stage = open.iter().find(|stage| stage.group.is_some() || stage.is_due())?;
    let what = if stage.group.is_some() { "completing" } else { "opening" };
    let because = format!("{what} stage {} is due", name(work, stage));
    Some(Hold::due(because, look.pipeline.chain.tick_ms))
}
