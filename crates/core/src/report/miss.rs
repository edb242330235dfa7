//! Why a height was missed: what its proof still lacked at the deadline, and why.

use serde::Serialize;

use super::figures::{one_line, seconds};
use crate::advance::deadline_ms;
use crate::chain_look::ChainLook;
use crate::explain::count;
use crate::state::{BlockHash, Group, Scope, Task, WorkerId};
use crate::status::work::{ScopeWork, StageWork};
use crate::strategy::waits_for::WaitsFor;

/// Other stages that one line names.
const MAX_OTHERS: usize = 3;
/// Its end; `last_error` has all of it.
const MESSAGE_CHARACTERS: usize = 48;

/// A height that was given up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Miss {
    pub height: u64,
    pub hash: BlockHash,
    pub acknowledged_ms: u64,
    /// When it was due by the pipeline; none where that gives nothing up any more.
    pub deadline_at_ms: Option<u64>,
    pub case: MissCase,
    /// What was missing most.
    pub stage: Option<String>,
    pub task: Option<String>,
    pub worker: Option<String>,
    pub last_error: Option<String>,
    /// One line for people.
    pub cause: String,
}

/// What kind of cause; where there are several, the first of this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissCase {
    NeverOpened,
    /// Provers did not agree.
    Disagreement,
    /// A stage's inputs did not fit together.
    Blocked,
    Parked,
    Failed,
    /// Workers vanished with it.
    Lost,
    /// An attempt was still running, or had been let go of.
    Proving,
    /// No worker took it.
    Unclaimed,
    /// Its proof came after the deadline.
    Late,
    /// All was there, and the next step was not taken in time.
    Due,
}

/// What was wrong with one task or stage.
struct Finding {
    case: MissCase,
    stage: usize,
    task: Option<String>,
    worker: Option<String>,
    last_error: Option<String>,
    /// Follows the stage's name.
    text: String,
}

/// `tasks` are those of the stages that the commit waits for.
pub(super) fn miss(look: &ChainLook, work: &ScopeWork, tasks: &[Task]) -> Miss {
    let scope = &work.scope;
    let due_ms = deadline_at_ms(look, work);
    let mut findings: Vec<Finding> = Vec::new();
    for stage in work.stages.iter().filter(|stage| !work.pipeline.stages[stage.index].after_commit) {
        findings.extend(finding(work, stage, tasks, due_ms));
    }
    // Of one case, the earlier stage: the later ones wait for it.
    findings.sort_by_key(|finding| finding.case);
    let name = |finding: &Finding| work.pipeline.stages[finding.stage].name.clone();
    let others: Vec<String> = findings.iter().skip(1).map(name).collect();
    let Some(first) = findings.into_iter().next() else {
        return of(
            scope,
            due_ms,
            MissCase::Due,
            "its proof was there, and its next step was not taken in time",
        );
    };
    let stage = name(&first);
    let votes = votes(work).unwrap_or_default();
    let also = match others.len() {
        0 => String::new(),
        1..=MAX_OTHERS => format!("; unproved too: {}", others.join(", ")),
        more => format!("; unproved too: {more} other stages"),
    };
    Miss {
        stage: Some(stage.clone()),
        task: first.task,
        worker: first.worker,
        last_error: first.last_error,
        ..of(scope, due_ms, first.case, &format!("{votes}stage {stage}{}{also}", first.text))
    }
}

/// A height that was given up before anything was begun.
pub(super) fn never_opened(look: &ChainLook, scope: &Scope) -> Miss {
    let cause = "it was never opened: the chain stood still, or was too far behind, until its deadline";
    of(scope, deadline_ms(look.pipeline.chain.late, &look.state, scope), MissCase::NeverOpened, cause)
}

fn of(scope: &Scope, deadline_at_ms: Option<u64>, case: MissCase, cause: &str) -> Miss {
    Miss {
        height: scope.heights().0,
        hash: scope.block().map(|block| block.hash.clone()).unwrap_or_default(),
        acknowledged_ms: scope.acknowledged_ms(),
        deadline_at_ms,
        case,
        stage: None,
        task: None,
        worker: None,
        last_error: None,
        cause: cause.to_owned(),
    }
}

/// By the pipeline in force, which decides; where it was edited since, by the one that the block was opened with.
fn deadline_at_ms(look: &ChainLook, work: &ScopeWork) -> Option<u64> {
    let own = |late| deadline_ms(late, &look.state, &work.scope);
    own(look.pipeline.chain.late).or_else(|| own(work.pipeline.chain.late))
}

/// How many of a quorum's votes were in, where one did not decide.
fn votes(work: &ScopeWork) -> Option<String> {
    work.stages.iter().find_map(|stage| match &stage.waits_for {
        Some(WaitsFor::Votes(votes)) => {
            let (need, of, have) = (votes.need, votes.members.len(), votes.voted().count());
            let name = &work.pipeline.stages[stage.index].name;
            Some(format!("stage {name} needs {need} of {of} and had {have}; "))
        }
        _ => None,
    })
}

/// What a stage lacked at the deadline, if it was its turn.
fn finding(work: &ScopeWork, stage: &StageWork, tasks: &[Task], due_ms: Option<u64>) -> Option<Finding> {
    let plan = &work.pipeline.stages[stage.index];
    let found = |case, text: String| Finding {
        case,
        stage: stage.index,
        task: None,
        worker: None,
        last_error: None,
        text: format!(": {text}"),
    };
    if work.scope.disagreements().contains(&plan.name) && !stage.is_over() {
        return Some(found(MissCase::Disagreement, "its provers did not agree".to_owned()));
    }
    match (&stage.waits_for, &stage.group) {
        (Some(WaitsFor::Blocked(reason)), _) => Some(found(
            MissCase::Blocked,
            format!("could not start, {}", one_line(&reason.to_string(), MESSAGE_CHARACTERS)),
        )),
        (Some(WaitsFor::Votes(votes)), _) if votes.is_split() => {
            Some(found(MissCase::Disagreement, format!("no {} of its provers agreed", votes.need)))
        }
        (_, Some(group)) if !plan.may_disagree() => of_tasks(work, stage, group, tasks, due_ms),
        _ => None,
    }
}

fn of_tasks(
    work: &ScopeWork,
    stage: &StageWork,
    group: &Group,
    tasks: &[Task],
    due_ms: Option<u64>,
) -> Option<Finding> {
    let plan = &work.pipeline.stages[stage.index];
    let own = || tasks.iter().filter(|task| task.id().stage == plan.name);
    let mut late: Vec<(MissCase, String, &Task)> =
        own().filter_map(|task| lack(work, task, due_ms).map(|(case, text)| (case, text, task))).collect();
    late.sort_by_key(|(case, _, task)| (*case, task.id().index));
    let open = late.len();
    let (case, text, task) = late.into_iter().next()?;
    let of_all = match group.expected {
        1 => ": ".to_owned(),
        all => format!(" ({open} of {} unproved): ", count(all.into(), "task")),
    };
    let last = task.notes().last();
    let live = task.attempts().iter().min_by_key(|attempt| attempt.started_ms);
    Some(Finding {
        case,
        stage: stage.index,
        task: Some(task.id().to_string()),
        worker: live
            .map(|attempt| &attempt.worker)
            .or(last.map(|note| &note.worker))
            .map(WorkerId::to_string),
        last_error: last.map(|note| note.message.clone()),
        text: of_all + &text,
    })
}

/// Why a task had no proof at the deadline; none where it had.
fn lack(work: &ScopeWork, task: &Task, due_ms: Option<u64>) -> Option<(MissCase, String)> {
    let tried = tried(task);
    if let Some(accepted) = task.accepted() {
        let late_ms = accepted.at_ms.saturating_sub(due_ms.unwrap_or(u64::MAX));
        let after = tried.map_or(String::new(), |(_, tried)| format!(", after {tried}"));
        return (late_ms > 0).then(|| {
            (MissCase::Late, format!("its proof was accepted {} after the deadline{after}", seconds(late_ms)))
        });
    }
    if task.is_cancelled() {
        return None;
    }
    if let Some(reason) = task.parked() {
        let last = task.notes().last();
        let on = last.map_or(String::new(), |note| format!(", the last attempt on {}", note.worker));
        return Some((MissCase::Parked, format!("parked ({reason}){on}")));
    }
    Some(not_proved(work, task, due_ms, tried))
}

/// What was tried in vain, if anything was.
fn tried(task: &Task) -> Option<(MissCase, String)> {
    let said = task.notes().last().map_or(String::new(), |note| {
        format!(", the last: {} (on {})", one_line(&note.message, MESSAGE_CHARACTERS), note.worker)
    });
    let counts = [
        (task.failures(), "failed attempt"),
        (task.crashes(), "crashed attempt"),
        (task.losses(), "lost worker"),
        (task.delays(), "delay"),
    ];
    let told: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(u64::from(*n), what)).collect();
    let (last, before) = told.split_last()?;
    let case = match (task.failures() + task.crashes() + task.delays(), task.losses()) {
        (0, _) => MissCase::Lost,
        _ => MissCase::Failed,
    };
    let before = if before.is_empty() { String::new() } else { format!("{} and ", before.join(", ")) };
    Some((case, format!("{before}{last}{said}")))
}

/// Of a task that is open still: what was tried, who was at it, or that nobody was.
fn not_proved(
    work: &ScopeWork,
    task: &Task,
    due_ms: Option<u64>,
    tried: Option<(MissCase, String)>,
) -> (MissCase, String) {
    let since = |at_ms: u64| seconds(at_ms.saturating_sub(work.scope.acknowledged_ms()));
    // What was claimed after the deadline was not there by it.
    let is_in_time = |at_ms: u64| due_ms.is_none_or(|due_ms| at_ms < due_ms);
    let live = task.attempts().iter().min_by_key(|attempt| attempt.started_ms);
    let runs = live.filter(|attempt| is_in_time(attempt.started_ms)).map(|attempt| {
        format!(
            "{} was still proving it, since {} after the block came",
            attempt.worker,
            since(attempt.started_ms)
        )
    });
    match (tried, runs) {
        (Some((case, tried)), Some(runs)) => (case, format!("{tried}; {runs}")),
        (Some(tried), None) => tried,
        (None, Some(runs)) => (MissCase::Proving, runs),
        (None, None) => match task.first_claimed_ms().filter(|claimed_ms| is_in_time(*claimed_ms)) {
            Some(claimed_ms) => {
                let text = format!(
                    "claimed {} after the block came, and not proved by the deadline; let go of since",
                    since(claimed_ms)
                );
                (MissCase::Proving, text)
            }
            None => {
                (MissCase::Unclaimed, format!("no worker of pool {} claimed it by the deadline", task.pool()))
            }
        },
    }
}
