//! What is stored, decoded: kept up to date from each commit, read straight from the store and without faults.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::port::Key;
use proofyard_core::state::{
    BlockHash, Canonical, ChainName, ChainState, Cursor, CutAt, Frontier, Group, HaltCause, Heartbeat,
    Judgement, KeyFamily, KnownBlock, Listing, Marker, OutEntry, OutState, PipelineText, Scope, ScopeId,
    SeenHeartbeat, SinkCursor, Slot, Task, TaskId, Tip, Worker, WorkerId,
};
use serde_json::from_slice;

use crate::store::{Change, Row};

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Chain(ChainState),
    Tip(Tip),
    Frontier(Frontier),
    Cursor(Cursor),
    Canonical(Canonical),
    Known(KnownBlock),
    CutAt(CutAt),
    Scope(Box<Scope>),
    Group(Group),
    Task(Box<Task>),
    Marker(Marker),
    Listing(Listing),
    Worker(Worker),
    Heartbeat(Heartbeat),
    SeenHeartbeat(SeenHeartbeat),
    Slot(Slot),
    Out(OutEntry),
    OutState(OutState),
    Sink(SinkCursor),
    Text(PipelineText),
    Judgement(Box<Judgement>),
    Halt(HaltCause),
    /// A key of the layout whose changes no check reads.
    Other,
}

/// One item that a commit changed, decoded.
#[derive(Clone, Debug)]
pub struct Changed {
    pub key: Key,
    pub before: Option<Rc<Item>>,
    pub after: Option<Rc<Item>>,
    /// The item's due time after the commit.
    pub due_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Mirror {
    items: BTreeMap<Key, Rc<Item>>,
}

impl Mirror {
    /// Applies one commit; an item that is not what its key says is an error.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Vec<Changed>, String> {
        changes.iter().map(|change| self.apply_one(change)).collect()
    }

    fn apply_one(&mut self, change: &Change) -> Result<Changed, String> {
        let key = change.key.clone();
        let after = change.after.as_ref().map(|row| decode(&key, row).map(Rc::new)).transpose()?;
        let before = match &after {
            Some(item) => self.items.insert(key.clone(), item.clone()),
            None => self.items.remove(&key),
        };
        let due_ms = change.after.as_ref().and_then(|row| row.due_ms);
        Ok(Changed { key, before, after, due_ms })
    }

    pub fn items(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter().map(|(key, item)| (key, &**item))
    }

    /// The tasks of a scope.
    pub fn tasks_of(&self, scope: &ScopeId) -> impl Iterator<Item = &Task> {
        let start = KeyFamily::Task.partition(format_args!("{scope}#"));
        let from = Key::new(start.clone(), "");
        let rows = self.items.range(from..).take_while(move |(key, _)| key.partition.starts_with(&start));
        rows.filter_map(|(_, item)| match &**item {
            Item::Task(task) => Some(&**task),
            _ => None,
        })
    }

    pub fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key).map(|item| &**item)
    }

    pub fn chain(&self, chain: &ChainName) -> Option<&ChainState> {
        match self.get(&ChainState::key_of(chain))? {
            Item::Chain(state) => Some(state),
            _ => None,
        }
    }

    pub fn tip(&self, chain: &ChainName) -> Option<&Tip> {
        match self.get(&Tip::key_of(chain))? {
            Item::Tip(tip) => Some(tip),
            _ => None,
        }
    }

    pub fn frontier(&self, chain: &ChainName) -> Option<&Frontier> {
        match self.get(&Frontier::key_of(chain))? {
            Item::Frontier(frontier) => Some(frontier),
            _ => None,
        }
    }

    pub fn canonical(&self, chain: &ChainName, height: u64) -> Option<&Canonical> {
        match self.get(&Canonical::key_of(chain, height))? {
            Item::Canonical(canonical) => Some(canonical),
            _ => None,
        }
    }

    pub fn scope(&self, id: &ScopeId) -> Option<&Scope> {
        match self.get(&Scope::key_of(id))? {
            Item::Scope(scope) => Some(scope),
            _ => None,
        }
    }

    pub fn text(&self, chain: &ChainName) -> Option<&str> {
        match self.get(&PipelineText::key_of(chain, &self.chain(chain)?.pipeline))? {
            Item::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    pub fn knows(&self, chain: &ChainName, height: u64, hash: &BlockHash) -> bool {
        self.get(&KnownBlock::key_of(chain, height, hash)).is_some()
    }

    /// The scopes of a block, one for each generation.
    pub fn scopes_of(&self, chain: &ChainName, height: u64, hash: &BlockHash) -> Vec<&Scope> {
        let start = KeyFamily::Scope.partition(ScopeId::of_block(chain, height, hash, 0));
        let start = start.trim_end_matches('0').to_owned();
        let from = Key::new(start.clone(), "");
        let rows = self.items.range(from..).take_while(|(key, _)| key.partition.starts_with(&start));
        rows.filter_map(|(_, item)| match &**item {
            Item::Scope(scope) => Some(&**scope),
            _ => None,
        })
        .collect()
    }

    pub fn out_state(&self, chain: &ChainName, stage: &str) -> Option<&OutState> {
        match self.get(&OutState::key_of(chain, stage))? {
            Item::OutState(out) => Some(out),
            _ => None,
        }
    }

    pub fn group(&self, scope: &ScopeId, stage: &str) -> Option<&Group> {
        match self.get(&Group::key_of(scope, stage))? {
            Item::Group(group) => Some(group),
            _ => None,
        }
    }

    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        match self.get(&id.task_key())? {
            Item::Task(task) => Some(task),
            _ => None,
        }
    }

    pub fn judgement(&self, id: &TaskId) -> Option<&Judgement> {
        match self.get(&Judgement::key_of(id))? {
            Item::Judgement(judgement) => Some(judgement),
            _ => None,
        }
    }

    pub fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        match self.get(&Worker::key_of(id))? {
            Item::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    pub fn seen_heartbeat(&self, worker: &WorkerId) -> Option<&SeenHeartbeat> {
        match self.get(&SeenHeartbeat::key_of(worker))? {
            Item::SeenHeartbeat(seen) => Some(seen),
            _ => None,
        }
    }

    pub fn slot(&self, worker: &WorkerId, slot: u32) -> Option<&Slot> {
        match self.get(&Slot::key_of(worker, slot))? {
            Item::Slot(slot) => Some(slot),
            _ => None,
        }
    }
}

pub fn decode(key: &Key, row: &Row) -> Result<Item, String> {
    let value = &row.value[..];
    let Some(family) = KeyFamily::of(key) else { return Err(format!("{key} is no key of the layout")) };
    let item = match family {
        KeyFamily::ChainState => from_slice(value).map(Item::Chain),
        KeyFamily::Tip => from_slice(value).map(Item::Tip),
        KeyFamily::Frontier => from_slice(value).map(Item::Frontier),
        KeyFamily::Cursor => from_slice(value).map(Item::Cursor),
        KeyFamily::OutState => from_slice(value).map(Item::OutState),
        KeyFamily::SinkCursor => from_slice(value).map(Item::Sink),
        KeyFamily::PipelineText => from_slice(value).map(Item::Text),
        KeyFamily::Halt => from_slice(value).map(Item::Halt),
        KeyFamily::KnownBlock => from_slice(value).map(Item::Known),
        KeyFamily::Canonical => from_slice(value).map(Item::Canonical),
        KeyFamily::CutAt => from_slice(value).map(Item::CutAt),
        KeyFamily::Scope => from_slice(value).map(|scope| Item::Scope(Box::new(scope))),
        KeyFamily::Group => from_slice(value).map(Item::Group),
        KeyFamily::Task => from_slice(value).map(|task| Item::Task(Box::new(task))),
        KeyFamily::Marker => from_slice(value).map(Item::Marker),
        KeyFamily::Listing => from_slice(value).map(Item::Listing),
        KeyFamily::Worker => from_slice(value).map(Item::Worker),
        KeyFamily::Heartbeat => from_slice(value).map(Item::Heartbeat),
        KeyFamily::Slot => from_slice(value).map(Item::Slot),
        KeyFamily::OutEntry => from_slice(value).map(Item::Out),
        KeyFamily::Judgement => from_slice(value).map(|judgement| Item::Judgement(Box::new(judgement))),
        KeyFamily::SeenHeartbeat => from_slice(value).map(Item::SeenHeartbeat),
        KeyFamily::KnownChain
        | KeyFamily::SweepPlace
        | KeyFamily::PoolChain
        | KeyFamily::LevelPlace
        | KeyFamily::Told
        | KeyFamily::JournalHead
        | KeyFamily::JournalPage
        | KeyFamily::JournalFinished => Ok(Item::Other),
        KeyFamily::Format
        | KeyFamily::JobWorkers
        | KeyFamily::LocalWorkers
        | KeyFamily::PoolJobs
        | KeyFamily::BlocksTaken
        | KeyFamily::MetricsCursor
        | KeyFamily::Finality
        | KeyFamily::Following => return Err(format!("{key} is none of a home that is simulated")),
    };
    item.map_err(|error| format!("{key} cannot be read: {error}"))
}
