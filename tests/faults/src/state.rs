//! Everything that a dead yard's database holds, read from a copy, so that the next yard finds what the crash left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proofyard_core::Yard;
use proofyard_core::claim::ClaimRequest;
use proofyard_core::port::Key;
use proofyard_core::state::{
    Canonical, ChainState, Frontier, KeyFamily, KnownBlock, Listing, Marker, OutEntry, Scope, ScopeId,
    SinkCursor, Task, TaskId, Tip, WorkerId,
};
use proofyard_core::work::Input;
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;
use proofyard_embedded::{LocalPort, block_on};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::ToyPipeline;

pub struct State {
    pub chain: ChainState,
    pub tip: Tip,
    pub frontier: Frontier,
    /// Lines of the blocks file that were taken.
    pub fed_lines: usize,
    pub known: BTreeSet<(u64, String)>,
    pub canonical: BTreeMap<u64, String>,
    pub scopes: BTreeMap<ScopeId, Scope>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub markers: BTreeSet<TaskId>,
    pub listed: BTreeSet<TaskId>,
    /// By stage.
    pub out: BTreeMap<String, Vec<OutEntry>>,
    pub sinks: BTreeMap<String, SinkCursor>,
    yard: Yard<LocalPort>,
    _copy: (DataDir, TempDir),
}

impl State {
    /// None while there is no chain yet.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal"] {
            if data_dir.join(name).exists() {
                fs::copy(data_dir.join(name), copy.path().join(name)).unwrap();
            }
        }
        let dir = DataDir::open(copy.path(), false).unwrap();
        let store = std::sync::Arc::new(SqliteStore::open(&dir).unwrap());
        let items = Items::read(store.file());
        let chain: ChainState = items.one(KeyFamily::ChainState)?;
        Some(Self {
            tip: items.one(KeyFamily::Tip).unwrap(),
            frontier: items.one(KeyFamily::Frontier).unwrap(),
            fed_lines: items
                .one::<serde_json::Value>(KeyFamily::BlocksTaken)
                .map_or(0, |fed| fed["lines"].as_u64().unwrap()) as usize,
            known: items
                .all(KeyFamily::KnownBlock)
                .map(|known: KnownBlock| (known.height, known.hash.into()))
                .collect(),
            canonical: items
                .all(KeyFamily::Canonical)
                .map(|at: Canonical| (at.height, at.hash.into()))
                .collect(),
            scopes: items.all(KeyFamily::Scope).map(|scope: Scope| (scope.id().clone(), scope)).collect(),
            tasks: items.all(KeyFamily::Task).map(|task: Task| (task.id().clone(), task)).collect(),
            markers: items.all(KeyFamily::Marker).map(|marker: Marker| marker.id).collect(),
            listed: items.all(KeyFamily::Listing).map(|listing: Listing| listing.id).collect(),
            out: by_log(items.all(KeyFamily::OutEntry)),
            sinks: items
                .all(KeyFamily::SinkCursor)
                .map(|sink: SinkCursor| (sink.sink.clone(), sink))
                .collect(),
            chain,
            yard: Yard::new(LocalPort::new(store, |_| {})),
            _copy: (dir, copy),
        })
    }

    /// What a task works on.
    pub fn inputs(&self, task: &Task) -> Vec<Input> {
        let request = ClaimRequest { worker: WorkerId::default(), slot: 0, claim: String::new() };
        block_on(self.yard.assignment(&request, task.clone())).unwrap().inputs
    }

    pub fn out_log(&self, log: &str) -> &[OutEntry] {
        self.out.get(log).map_or(&[], Vec::as_slice)
    }

    /// (height, hash) of every committed block.
    pub fn committed(&self) -> Vec<(u64, String)> {
        let below = self.canonical.range(..self.frontier.height);
        below.map(|(height, hash)| (*height, hash.clone())).collect()
    }

    pub fn parked(&self) -> Vec<&Task> {
        self.tasks.values().filter(|task| task.parked().is_some()).collect()
    }

    /// Whether every height up to the tip is committed.
    pub fn is_all_committed(&self) -> bool {
        self.tip.ended && self.tip.height().is_some_and(|tip| self.frontier.height == tip + 1)
    }
}

fn by_log(entries: impl Iterator<Item = OutEntry>) -> BTreeMap<String, Vec<OutEntry>> {
    let mut out: BTreeMap<String, Vec<OutEntry>> = BTreeMap::new();
    for entry in entries {
        assert_eq!(entry.chain, ToyPipeline::CHAIN);
        out.entry(entry.log.clone()).or_default().push(entry);
    }
    out
}

/// All items, in the order of their keys.
struct Items(Vec<(Key, Vec<u8>)>);

impl Items {
    fn read(file: &Path) -> Self {
        let connection = Connection::open(file).unwrap();
        let mut query =
            connection.prepare("SELECT partition, sort, value FROM items ORDER BY partition, sort").unwrap();
        let rows =
            query.query_map([], |row| Ok((Key { partition: row.get(0)?, sort: row.get(1)? }, row.get(2)?)));
        Self(rows.unwrap().map(Result::unwrap).collect())
    }

    fn all<T: DeserializeOwned>(&self, family: KeyFamily) -> impl Iterator<Item = T> {
        let found = self.0.iter().filter(move |(key, _)| KeyFamily::of(key) == Some(family));
        found.map(|(_, value)| serde_json::from_slice(value).unwrap())
    }

    fn one<T: DeserializeOwned>(&self, family: KeyFamily) -> Option<T> {
        self.all(family).next()
    }
}
