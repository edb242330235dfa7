//! Open work: the scopes that are open, how each of their stages stands, and the tasks that are not over.

use std::sync::Arc;

use super::{ParkedTask, TaskCounts, TaskRow, TaskState};
use crate::advance::{goal_of, stages_of};
use crate::error::Error;
use crate::pipeline::{CutRule, Pipeline, Quorum, Strategy};
use crate::port::{Key, Port, Range};
use crate::state::{
    BlockedBy, Canonical, ChainState, CutAt, Frontier, Group, Life, OutState, Scope, Task, TaskId, Tip,
};
use crate::strategy::quorum::tally;
use crate::transaction::{KEYS_A_READ, read, read_many, read_range};
use crate::yard::Yard;

/// Tasks read in one look: what a person can use, and well below a second's reading.
pub(crate) const MAX_TASKS: usize = 10_000;
/// Open scopes of one look. Windows beyond it exist only in replays, where the lowest heights matter.
const MAX_SCOPES: usize = 1_024;
/// Committed blocks below the frontier that a look visits for work that goes on after the commit.
const LOOK_BACK_BLOCKS: u64 = 64;
/// The same for cuts.
const LOOK_BACK_CUTS: usize = 8;
const TASKS_A_PAGE: usize = 512;

/// Heights that are read at once.
pub(crate) fn pages(heights: std::ops::Range<u64>) -> impl Iterator<Item = std::ops::Range<u64>> {
    let to = heights.end;
    heights.step_by(KEYS_A_READ).map(move |from| from..to.min(from + KEYS_A_READ as u64))
}

/// A chain's own items, read one after another.
pub(crate) struct ChainLook {
    pub(crate) now_ms: u64,
    pub(crate) state: ChainState,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) frontier: Frontier,
    pub(crate) tip: Tip,
}

impl ChainLook {
    pub(crate) fn chain(&self) -> &str {
        &self.state.chain
    }

    /// The first height that the window does not reach.
    pub(crate) fn window_end(&self) -> u64 {
        self.frontier.height.saturating_add(self.frontier.window)
    }
}

/// How many tasks may still be read.
pub(crate) struct Budget {
    left: usize,
    pub(crate) truncated: bool,
}

impl Budget {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { left: tasks, truncated: false }
    }
}

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
    pub(crate) gate: Gate,
}

/// What a stage without a group waits for, or one whose tasks still gather members.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Gate {
    /// Its group is there.
    Passed,
    /// All that it gathers is there: whoever looks next opens it.
    Due,
    /// These stages of the same scope.
    Stages(Vec<String>),
    /// This stage, of blocks at these heights.
    Members {
        stage: String,
        heights: Vec<u64>,
    },
    /// The commit.
    Commit,
    /// Its inputs do not fit together.
    Blocked(BlockedBy),
    Votes {
        need: u32,
        members: Vec<(String, Option<String>)>,
    },
}

impl StageWork {
    pub(crate) fn is_over(&self) -> bool {
        self.group.as_ref().is_some_and(Group::is_over)
    }

    /// A worker, a clock or the next look brings it on; no operator is needed.
    fn moves(&self) -> bool {
        match &self.group {
            None => self.gate == Gate::Due,
            Some(group) if group.is_over() => false,
            Some(group) => {
                let counts = &self.counts;
                // What gathers is moved by what is below it, and that may be other blocks.
                let next_look_moves = counts.parked == 0 && !matches!(self.gate, Gate::Members { .. });
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
            && !self.stages.iter().any(|stage| self.pipeline.stages[stage.index].is_quorum())
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

impl<P: Port> Yard<P> {
    pub(crate) async fn look(&self, chain: &str) -> Result<ChainLook, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        Ok(ChainLook { now_ms: self.port.now_ms(), state, pipeline, frontier, tip })
    }

    /// The canonical block's scope.
    pub(crate) async fn block_scope(&self, chain: &str, height: u64) -> Result<Option<Scope>, Error> {
        let place: Option<Canonical> = read(&self.port, &Canonical::key_of(chain, height)).await?;
        match place {
            Some(place) => read(&self.port, &Scope::key_of(&place.scope())).await,
            None => Ok(None),
        }
    }

    /// The canonical blocks at these heights and their scopes, read at once.
    pub(crate) async fn block_scopes(
        &self,
        chain: &str,
        heights: std::ops::Range<u64>,
    ) -> Result<Vec<Option<(Canonical, Scope)>>, Error> {
        let keys: Vec<Key> = heights.map(|height| Canonical::key_of(chain, height)).collect();
        let places = read_many::<P, Canonical>(&self.port, &keys).await?;
        let keys = places.iter().flatten().map(|place| Scope::key_of(&place.scope()));
        let keys: Vec<Key> = keys.collect();
        let mut scopes = read_many::<P, Scope>(&self.port, &keys).await?.into_iter();
        let pair = |place: Option<Canonical>| place.and_then(|place| Some((place, scopes.next()??)));
        Ok(places.into_iter().map(pair).collect())
    }

    /// Live scopes that are not settled: open heights, open cuts, and a look back below both.
    pub(crate) async fn open_scopes(
        &self,
        look: &ChainLook,
        budget: &mut Budget,
    ) -> Result<Vec<Scope>, Error> {
        let mut scopes = Vec::new();
        let from = look.frontier.height.saturating_sub(LOOK_BACK_BLOCKS).max(look.state.start_height);
        for heights in pages(from..look.frontier.opened) {
            if scopes.len() >= MAX_SCOPES {
                budget.truncated = true;
                break;
            }
            let found = self.block_scopes(look.chain(), heights).await?;
            scopes.extend(found.into_iter().flatten().map(|(_, scope)| scope).filter(is_open));
        }
        for (index, stage, _) in look.pipeline.cut_stages() {
            let next = self.next_cut_to_hand_on(look, index).await?;
            let below = CutAt {
                chain: look.chain().to_owned(),
                stage: stage.name.clone(),
                from: next,
                to: next,
                scope: String::new(),
            };
            let below = crate::transaction::Item::key(&below);
            let back = Range {
                partition: below.partition,
                from: String::new(),
                to: Some(below.sort),
                limit: LOOK_BACK_CUTS,
                reverse: true,
            };
            let ahead = CutAt::range_from(look.chain(), &stage.name, next, MAX_SCOPES);
            for range in [back, ahead] {
                for (_, _, cut) in read_range::<P, CutAt>(&self.port, &range).await? {
                    let scope: Option<Scope> = read(&self.port, &Scope::key_of(&cut.scope)).await?;
                    scopes.extend(scope.filter(is_open));
                }
            }
        }
        Ok(scopes)
    }

    /// The first height of the next cut that commits or is emitted.
    pub(crate) async fn next_cut_to_hand_on(&self, look: &ChainLook, cut: usize) -> Result<u64, Error> {
        if look.pipeline.commit_cut() == Some(cut) {
            return Ok(look.frontier.height);
        }
        let key = OutState::key_of(look.chain(), &look.pipeline.stages[cut].name);
        let out: Option<OutState> = read(&self.port, &key).await?;
        Ok(out.map_or(look.state.start_height, |out| out.next_from))
    }

    /// How the stages of an open scope stand.
    pub(crate) async fn scope_work(&self, scope: Scope, budget: &mut Budget) -> Result<ScopeWork, Error> {
        let pipeline = self.pipeline(&scope.chain, &scope.pipeline).await?;
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
        let name = &pipeline.stages[index].name;
        let group: Option<Group> = read(&self.port, &Group::key_of(&scope.id, name)).await?;
        let mut work =
            StageWork { index, group, counts: TaskCounts::default(), open: Vec::new(), gate: Gate::Passed };
        match &work.group {
            None => work.gate = self.gate(scope, pipeline, index).await?,
            Some(group) if group.decided.is_some() => work.counts.accepted = u64::from(group.expected),
            Some(group) if group.cancelled => work.counts.cancelled = u64::from(group.expected),
            Some(_) => {
                self.count_tasks(&scope.id, name, &mut work, budget).await?;
                if work.counts.gathering > 0
                    && let Gate::Members { stage, heights } = self.members(scope, pipeline, index).await?
                {
                    work.gate = Gate::Members { stage, heights };
                }
            }
        }
        Ok(work)
    }

    async fn count_tasks(
        &self,
        scope: &str,
        stage: &str,
        work: &mut StageWork,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let mut range = Range::all(TaskId::new(scope, stage, 0).task_key().partition, 0);
        loop {
            range.limit = TASKS_A_PAGE.min(budget.left);
            if range.limit == 0 {
                budget.truncated = true;
                return Ok(());
            }
            let page = read_range::<P, Task>(&self.port, &range).await?;
            budget.left -= page.len().min(budget.left);
            let next = page.last().map(|(key, _, _)| format!("{}\u{0}", key.sort));
            let full = page.len() == range.limit;
            for (_, _, task) in page {
                work.counts.add(state_of(&task));
                if task.is_open() || task.is_parked() {
                    work.open.push(task);
                }
            }
            match next {
                Some(next) if full => range.from = next,
                _ => return Ok(()),
            }
        }
    }

    async fn gate(&self, scope: &Scope, pipeline: &Pipeline, index: usize) -> Result<Gate, Error> {
        let stage = &pipeline.stages[index];
        if stage.after_commit && !self.is_committed(scope, pipeline).await? {
            return Ok(Gate::Commit);
        }
        if let Some(blocked) = scope.blocked().filter(|blocked| blocked.stage == stage.name) {
            return Ok(Gate::Blocked(blocked.why.clone()));
        }
        match &stage.strategy {
            Strategy::Match { quorum: Some(quorum), .. } => self.votes(scope, pipeline, index, quorum).await,
            Strategy::Sequential(CutRule { arity: None, .. }) => self.members(scope, pipeline, index).await,
            Strategy::Sequential(_) => Ok(Gate::Due),
            _ => {
                let mut missing = Vec::new();
                for source in stage.sources() {
                    let name = &pipeline.stages[source].name;
                    if !self.is_decided(&scope.id, name).await? {
                        missing.push(name.clone());
                    }
                }
                Ok(if missing.is_empty() { Gate::Due } else { Gate::Stages(missing) })
            }
        }
    }

    /// Members of a cut whose outputs are missing.
    async fn members(&self, scope: &Scope, pipeline: &Pipeline, index: usize) -> Result<Gate, Error> {
        let Some(cut) = scope.cut() else { return Ok(Gate::Due) };
        let Some(source) = pipeline.stages[index].sources().next() else { return Ok(Gate::Due) };
        let source = &pipeline.stages[source].name;
        let mut heights = Vec::new();
        for (height, member) in (cut.from..=cut.to).zip(&cut.members) {
            let id = Scope::block_id(&scope.chain, height, &member.hash, member.generation);
            if !self.is_decided(&id, source).await? {
                heights.push(height);
            }
        }
        let waits = !heights.is_empty();
        Ok(if waits { Gate::Members { stage: source.clone(), heights } } else { Gate::Due })
    }

    async fn is_decided(&self, scope: &str, stage: &str) -> Result<bool, Error> {
        let group: Option<Group> = read(&self.port, &Group::key_of(scope, stage)).await?;
        Ok(group.is_some_and(|group| group.decided.is_some()))
    }

    async fn votes(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        quorum: &Quorum,
    ) -> Result<Gate, Error> {
        let stage = &pipeline.stages[index];
        let mut members = Vec::new();
        for source in stage.sources() {
            let name = pipeline.stages[source].name.clone();
            let task: Option<Task> = read(&self.port, &TaskId::new(&scope.id, &name, 0).task_key()).await?;
            members.push((name, task.and_then(Task::into_accepted).and_then(|proof| proof.public_values)));
        }
        let votes: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let tally = tally(quorum.need, &votes);
        let unreported = tally.dissent > scope.reported_dissent(&stage.name);
        if tally.agreed.is_some() || unreported {
            return Ok(Gate::Due);
        }
        Ok(Gate::Votes { need: quorum.need, members })
    }

    /// Whether a scope's proof was committed or emitted.
    pub(crate) fn is_handed_on(look: &ChainLook, scope: &Scope) -> bool {
        let by_frontier =
            scope.cut().is_none() || goal_of(&look.pipeline, scope) == Some(look.pipeline.commit);
        match by_frontier {
            true => look.frontier.height > scope.heights().1,
            false => scope.committed_ms().is_some(),
        }
    }
}

fn is_open(scope: &Scope) -> bool {
    scope.is_live() && !scope.is_settled()
}

impl TaskCounts {
    fn add(&mut self, state: TaskState) {
        match state {
            TaskState::Gathering => self.gathering += 1,
            TaskState::Waiting => self.waiting += 1,
            TaskState::Running => self.running += 1,
            TaskState::BackingOff => self.backing_off += 1,
            TaskState::Parked => self.parked += 1,
            TaskState::Accepted => self.accepted += 1,
            TaskState::Cancelled => self.cancelled += 1,
        }
    }

    pub(crate) fn sum(self, other: Self) -> Self {
        Self {
            gathering: self.gathering + other.gathering,
            waiting: self.waiting + other.waiting,
            running: self.running + other.running,
            backing_off: self.backing_off + other.backing_off,
            parked: self.parked + other.parked,
            accepted: self.accepted + other.accepted,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

/// A straggler whose second copy is listed runs.
pub(crate) fn state_of(task: &Task) -> TaskState {
    match task.life() {
        Life::Gathering => TaskState::Gathering,
        Life::Listed => TaskState::Waiting,
        Life::Live { .. } => TaskState::Running,
        Life::BackingOff { .. } | Life::Unlisted => TaskState::BackingOff,
        Life::Parked { .. } => TaskState::Parked,
        Life::Accepted { .. } => TaskState::Accepted,
        Life::Cancelled => TaskState::Cancelled,
    }
}

/// Since when a task is in its state.
pub(crate) fn since_ms(task: &Task) -> u64 {
    let last_note_ms = task.notes().last().map(|note| note.at_ms);
    match state_of(task) {
        TaskState::Running => task.attempts().iter().map(|attempt| attempt.started_ms).min(),
        TaskState::BackingOff | TaskState::Parked => last_note_ms,
        TaskState::Accepted => task.accepted().map(|accepted| accepted.at_ms),
        TaskState::Gathering | TaskState::Waiting | TaskState::Cancelled => None,
    }
    .unwrap_or(task.listed_ms())
}

pub(crate) fn parked_task(task: &Task) -> Option<ParkedTask> {
    Some(ParkedTask {
        task: task.id.to_string(),
        height: task.height,
        reason: task.parked()?.to_owned(),
        note: task.notes().last().cloned(),
    })
}

pub(crate) fn row(task: &Task) -> TaskRow {
    let oldest = task.attempts().iter().min_by_key(|attempt| attempt.started_ms);
    TaskRow {
        task: task.id.to_string(),
        height: task.height,
        stage: task.id.stage.clone(),
        index: task.id.index,
        state: state_of(task),
        rank: task.rank.clone(),
        worker: oldest.map(|attempt| attempt.worker.clone()),
        attempt: oldest.map_or(task.started(), |attempt| attempt.number),
        since_ms: since_ms(task),
        failures: task.failures(),
        losses: task.losses(),
        crashes: task.crashes(),
        delays: task.delays(),
        note: task.notes().last().cloned(),
    }
}
