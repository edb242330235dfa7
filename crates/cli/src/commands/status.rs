//! `proofyard status [--tasks]`: where proving is, at a glance.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use proofyard_core::explain::span;
use proofyard_core::pipeline::Confirm;
use proofyard_core::state::{EndpointState, Following, NamedBlock, Note};
use proofyard_core::status::{ChainStatus, SinkPlace, SinkStatus, TaskRow, TaskState};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::progress::{holds, lag, passed_word, stage_table};
use crate::table::{Side, Table};
use crate::text::shortened;
use crate::yard::{FailedStarts, YardAccess, YardArguments};

const NOTE_SHOWN: usize = 80;

/// Where proving is.
#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    pub yard: YardArguments,
    /// Also every task that is not over: what waits, what runs where.
    #[arg(long)]
    tasks: bool,
}

#[derive(Serialize)]
struct Document {
    /// A yard process works on the directory now; of a yard on AWS nobody can say that.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
    /// What keeps provers from their verifiers, by pool.
    isolation: Isolations,
    /// Pools whose workers do not start.
    #[serde(rename = "start_troubles", skip_serializing_if = "Vec::is_empty")]
    failed_starts: Vec<FailedStarts>,
    #[serde(flatten)]
    status: ChainStatus,
}

impl Status {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let yard = access.look()?;
        let running = access.is_running();
        // Workers of a yard that does not run are not there any more.
        let isolation = match running {
            Some(false) => BTreeMap::new(),
            _ => access.block_on(yard.isolations())?,
        };
        let failed_starts = access.failed_starts()?;
        for (number, chain) in self.yard.chains(access, &yard)?.iter().enumerate() {
            let status = access.block_on(yard.status(chain, self.tasks))?;
            if json {
                let (isolation, failed_starts) = (isolation.clone(), failed_starts.clone());
                output::json(&Document { running, isolation, failed_starts, status })?;
                continue;
            }
            if number > 0 {
                output::line("");
            }
            output::line(page(&status, running, &isolation, &failed_starts));
        }
        Ok(())
    }
}

type Isolations = BTreeMap<String, BTreeSet<String>>;

fn page(
    status: &ChainStatus,
    running: Option<bool>,
    isolation: &Isolations,
    failed_starts: &[FailedStarts],
) -> String {
    let mut parts = vec![head(status, running, isolation, failed_starts), stage_table(status).to_string()];
    parts.extend(sinks(status));
    parts.extend(parked(status));
    parts.extend(status.tasks.as_ref().map(|tasks| task_table(status, tasks)));
    if status.truncated {
        parts.push("There is more open work than is looked at; only a part is shown.".to_owned());
    }
    parts.join("\n\n")
}

fn head(
    status: &ChainStatus,
    running: Option<bool>,
    isolation: &Isolations,
    failed_starts: &[FailedStarts],
) -> String {
    let committed = match status.heights_passed {
        0 => "nothing yet".to_owned(),
        _ => format!("heights {} to {}", status.start_height, status.frontier - 1),
    };
    let known = match &status.tip {
        None => "no block yet".to_owned(),
        Some(tip) if status.ended => format!("up to height {}, and no more come", tip.height),
        Some(tip) => format!("up to height {}", tip.height),
    };
    let mut table = Table::new([("chain", Side::Left), (status.chain.as_str(), Side::Left)]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let runs = match running {
        Some(true) => "running",
        Some(false) => "not running",
        None => "on AWS",
    };
    row("yard", runs.to_owned());
    for hold in holds(status) {
        row("", hold);
    }
    // A yard that does not run has no workers, and says so above.
    for pool in status.pools_without_workers.iter().filter(|_| running != Some(false)) {
        row("", format!("tasks of pool {pool} wait, and no worker of it is alive"));
    }
    for FailedStarts { pool, workers, rounds, reason, next_ms } in failed_starts {
        let next = match next_ms.saturating_sub(status.now_ms) {
            0 => "the next one is tried now".to_owned(),
            waits_ms => format!("the next one is tried in {}", span(waits_ms)),
        };
        let times = if *rounds == 1 { String::new() } else { format!(", {rounds} times in a row") };
        let ended = if *workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        row("", format!("{ended} of pool {pool} ended before they registered{times}; {next}"));
        row("", format!("the last one of pool {pool}: {reason}"));
    }
    for (number, said) in isolation.values().flatten().collect::<BTreeSet<_>>().into_iter().enumerate() {
        row(if number == 0 { "isolation" } else { "" }, said.clone());
    }
    row(passed_word(status), committed);
    row("known", known);
    if let Some(following) = &status.following {
        for (number, said) in nodes(following, status).into_iter().enumerate() {
            row(if number == 0 { "node" } else { "" }, said);
        }
    }
    row(
        "window",
        format!(
            "{} (heights {} to {})",
            status.window,
            status.frontier,
            (status.frontier + status.window).saturating_sub(1)
        ),
    );
    row("lag", lag(status));
    table.to_string()
}

/// How following goes: the newest head, and each node that is not simply there.
fn nodes(following: &Following, status: &ChainStatus) -> Vec<String> {
    let mut said = Vec::new();
    let behind = |head: &NamedBlock| {
        let tip = status.tip.as_ref().map_or(status.start_height, |tip| tip.height.saturating_add(1));
        head.height.saturating_add(1).saturating_sub(tip)
    };
    let finality = status.finality.as_ref();
    let named =
        |what: &str, block: Option<&NamedBlock>| block.map(|block| format!(", {what} {}", block.height));
    said.push(match &following.head {
        None => "none has answered yet".to_owned(),
        Some(head) => {
            let missing = match behind(head) {
                0 => String::new(),
                blocks => format!(", {blocks} of its blocks not taken yet"),
            };
            let safe = named("safe", finality.and_then(|finality| finality.safe.as_ref()));
            let finalized = named("finalized", finality.and_then(|finality| finality.finalized.as_ref()));
            format!(
                "head {}{missing}{}{}",
                head.height,
                safe.unwrap_or_default(),
                finalized.unwrap_or_default()
            )
        }
    });
    for endpoint in &following.endpoints {
        let head = endpoint.head.map_or(String::new(), |head| format!(" at {head}"));
        let error = endpoint
            .error
            .as_deref()
            .map_or(String::new(), |error| format!(": {}", shortened(error, NOTE_SHOWN)));
        let since = span(status.now_ms.saturating_sub(endpoint.since_ms));
        let state = match endpoint.state {
            EndpointState::New => "not asked yet",
            EndpointState::Followed => "followed",
            EndpointState::Ready => "answers",
            EndpointState::Behind => "behind the others",
            EndpointState::Down => "not reached",
            EndpointState::Busy => "asks to be asked less often",
            EndpointState::Wrong => "answers wrongly",
            EndpointState::OtherChain => "a node of another chain",
        };
        said.push(format!("{}: {state}{head}, for {since}{error}", endpoint.name));
    }
    said
}

fn sinks(status: &ChainStatus) -> Option<String> {
    let mut table = Table::new([
        ("sink", Side::Left),
        ("of", Side::Left),
        ("handed on", Side::Right),
        ("behind", Side::Right),
        ("failures", Side::Right),
        ("waits for", Side::Left),
        ("last error", Side::Left),
    ]);
    for sink in &status.sinks {
        let error = last_error(sink).map(|error| shortened(&error, NOTE_SHOWN));
        let (of, handed_on) = match &sink.place {
            SinkPlace::Log { next_sequence, .. } => (sink.stage.clone(), next_sequence.to_string()),
            SinkPlace::Blocks { settled_below, .. } => ("blocks".into(), format!("below {settled_below}")),
        };
        let counts = [sink.behind, u64::from(sink.failures)].map(|number| number.to_string());
        let waits = waits_for(sink, status.now_ms);
        table.row([sink.sink.clone(), of, handed_on].into_iter().chain(counts).chain([waits]).chain(error));
    }
    (!table.is_empty()).then(|| table.to_string())
}

/// Why it cannot be told now; else what it has refused for good.
fn last_error(sink: &SinkStatus) -> Option<String> {
    let refused = match &sink.place {
        SinkPlace::Blocks { refused: count @ 1.., last_refused, .. } => {
            Some(format!("{count} refused; the last: {}", last_refused.as_deref().unwrap_or_default()))
        }
        _ => None,
    };
    sink.last_error.clone().or(refused)
}

/// What keeps a sink from what it has not got.
fn waits_for(sink: &SinkStatus, now_ms: u64) -> String {
    match (sink.paused, sink.next_try_ms, sink.confirm) {
        (true, ..) => "resume".into(),
        (_, Some(next_ms), _) if next_ms > now_ms => {
            format!("its next try, in {}", span(next_ms - now_ms))
        }
        _ if sink.next_call_ms.is_some_and(|next_ms| next_ms > now_ms) => {
            format!("its next call, in {}", span(sink.next_call_ms.unwrap_or(now_ms) - now_ms))
        }
        (_, _, Confirm::Safe) if sink.behind > 0 => "safe blocks".into(),
        (_, _, Confirm::Finalized) if sink.behind > 0 => "final blocks".into(),
        _ => String::new(),
    }
}

fn parked(status: &ChainStatus) -> Option<String> {
    let mut table = Table::new([("height", Side::Right), ("parked task", Side::Left), ("why", Side::Left)]);
    for task in &status.parked {
        table.row([task.height.to_string(), task.task.clone(), task.reason.clone()]);
    }
    (!table.is_empty()).then(|| table.to_string())
}

fn task_table(status: &ChainStatus, tasks: &[TaskRow]) -> String {
    let mut table = Table::new([
        ("height", Side::Right),
        ("stage", Side::Left),
        ("index", Side::Right),
        ("state", Side::Left),
        ("since", Side::Right),
        ("worker", Side::Left),
        ("attempt", Side::Right),
        ("failures", Side::Right),
        ("crashes", Side::Right),
        ("losses", Side::Right),
        ("delays", Side::Right),
        ("last", Side::Left),
    ]);
    for task in tasks {
        table.row([
            task.height.to_string(),
            task.stage.clone(),
            task.index.to_string(),
            state_of(task),
            span(status.now_ms.saturating_sub(task.since_ms)),
            task.worker.clone().unwrap_or_default(),
            task.attempt.to_string(),
            task.failures.to_string(),
            task.crashes.to_string(),
            task.losses.to_string(),
            task.delays.to_string(),
            said(task.note.as_ref()),
        ]);
    }
    if table.is_empty() { "no open tasks".to_owned() } else { table.to_string() }
}

fn said(note: Option<&Note>) -> String {
    note.map(|note| shortened(&note.message, NOTE_SHOWN)).unwrap_or_default()
}

/// With a word that its next attempt need not begin at the beginning.
fn state_of(task: &TaskRow) -> String {
    let resumes = if task.checkpoint.is_some() { ", checkpoint" } else { "" };
    format!("{}{resumes}", state(task.state))
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Gathering => "gathering",
        TaskState::Waiting => "waiting",
        TaskState::Running => "running",
        TaskState::BackingOff => "backing off",
        TaskState::Parked => "parked",
        TaskState::Accepted => "accepted",
        TaskState::Cancelled => "cancelled",
    }
}
