//! The port's table in one SQLite file: readers side by side, one writer that shares its syncs (see `writer`, `log_syncs`).

mod copier;
mod database;
mod error;
mod item_cache;
mod log_syncs;
mod readers;
mod schema;
mod statements;
mod upgrade;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofyard_core::port::{Batch, CommitOutcome, Due, Key, PortError, Range, Stored, Version};
use rusqlite::{Connection, OptionalExtension, Row, params};

use self::item_cache::ItemCache;
use self::readers::Readers;
use self::schema::check_reader;
use self::writer::Writer;
use crate::lock::{DataDir, PRIVATE_FILE, STATE_FILE, close_to_others};

const GET: &str = "SELECT version, value FROM items WHERE partition = ?1 AND sort = ?2";
// Four texts, since SQLite finds a bound in the key's order only where it stands as a plain comparison.
const UP: &str =
    "SELECT sort, version, value FROM items WHERE partition = ?1 AND sort >= ?2 ORDER BY sort LIMIT ?4";
const UP_TO: &str = "SELECT sort, version, value FROM items WHERE partition = ?1 AND sort >= ?2 AND sort < ?3 ORDER BY sort LIMIT ?4";
const DOWN: &str =
    "SELECT sort, version, value FROM items WHERE partition = ?1 AND sort >= ?2 ORDER BY sort DESC LIMIT ?4";
const DOWN_FROM: &str =
    "SELECT sort, version, value FROM items WHERE partition = ?1 AND sort >= ?2 AND sort < ?3
    ORDER BY sort DESC LIMIT ?4";
const DUE: &str = "SELECT due_ms, partition, sort FROM items WHERE due_shard = ?1 AND due_ms <= ?2
    AND (due_ms, partition, sort) > (?3, ?4, ?5) ORDER BY due_ms, partition, sort LIMIT ?6";

/// How often the state was synced, and how many commits, and others who had read, waited for that: several may share one sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syncs {
    pub done: u64,
    pub waited_for: u64,
}

/// The state of a yard. Shared by all of its threads.
pub struct SqliteStore {
    readers: Readers,
    /// `None` where the state was opened for reading only.
    writer: Option<Writer>,
    /// Kept only by the process that writes.
    cache: Option<Arc<ItemCache>>,
    file: PathBuf,
}

impl SqliteStore {
    /// Opens the state in a data directory, or creates it. The directory must stay locked as long as the store is used.
    pub fn open(dir: &DataDir) -> Result<Self, PortError> {
        let file = dir.path().join(STATE_FILE);
        keep_private(&file);
        let cache = Arc::new(ItemCache::new());
        let writer = Writer::open(&file, Arc::clone(&cache))?;
        Ok(Self { readers: Readers::new(&file), writer: Some(writer), cache: Some(cache), file })
    }

    /// Opens the state for reading only, also while another process has the directory.
    pub fn looking(data_dir: &Path) -> Result<Self, PortError> {
        let file = data_dir.join(STATE_FILE);
        check_reader(&file)?;
        Ok(Self { readers: Readers::new(&file), writer: None, cache: None, file })
    }

    /// Why the state cannot be written any more; `None` while it can.
    pub fn failure(&self) -> Option<PortError> {
        self.writer.as_ref()?.failure()
    }

    /// What was synced since this process opened the state.
    pub fn syncs(&self) -> Syncs {
        let of_writer =
            |writer: &Writer| Syncs { done: writer.syncs().done(), waited_for: writer.syncs().waited_for() };
        self.writer.as_ref().map_or_else(Syncs::default, of_writer)
    }

    /// Returns when all that could be read before is on disk. Where the state was opened for reading only this does nothing: a
    /// power loss may take back what another process has just written.
    pub fn sync(&self) -> Result<(), PortError> {
        self.writer.as_ref().map_or(Ok(()), |writer| writer.syncs().wait_for_all())
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let read = || self.readers.read(|connection| read_item(connection, key));
        match &self.cache {
            Some(cache) => cache.get(key, read),
            None => read(),
        }
    }

    /// Reads those of them that must be read on one connection.
    pub fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let Some(cache) = &self.cache else {
            return self
                .readers
                .read(|connection| keys.iter().map(|key| read_item(connection, key)).collect());
        };
        let known: Vec<Option<Option<Stored>>> = keys.iter().map(|key| cache.known(key)).collect();
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        self.readers.read(|connection| {
            let read = |(key, known): (&Key, Option<Option<Stored>>)| match known {
                Some(stored) => Ok(stored),
                None => cache.get(key, || read_item(connection, key)),
            };
            keys.iter().zip(known).map(read).collect()
        })
    }

    pub fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let query = match (range.reverse, range.to.is_some()) {
            (false, false) => UP,
            (false, true) => UP_TO,
            (true, false) => DOWN,
            (true, true) => DOWN_FROM,
        };
        self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(query)?;
            let found = statement
                .query_map(params![range.partition, range.from, range.to, limit_of(range.limit)], |row| {
                    Ok((row.get(0)?, stored(row, 1)?))
                })?;
            found.collect()
        })
    }

    /// Keys of one shard whose due time is at or before `until_ms`, soonest first.
    pub fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        // No time is before the epoch.
        let (after_ms, partition, sort) = match after {
            Some(Due { due_ms, key }) => (time_of(*due_ms), key.partition.as_str(), key.sort.as_str()),
            None => (-1, "", ""),
        };
        self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(DUE)?;
            let found = statement.query_map(
                params![shard, time_of(until_ms), after_ms, partition, sort, limit_of(limit)],
                |row| {
                    let due_ms: i64 = row.get(0)?;
                    let key = Key { partition: row.get(1)?, sort: row.get(2)? };
                    Ok(Due { due_ms: due_ms.cast_unsigned(), key })
                },
            )?;
            found.collect()
        })
    }

    /// Changes or removes the due time of an item if it is still at this version; answers whether it was.
    pub fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.writer()?.reschedule(key.clone(), version, due_ms)
    }

    /// Returns when the batch is written, and synced if it is durable. Never answers `Unknown`: a writer that died is an
    /// error, after which only a new start can go on, and reads what was really written.
    pub fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        self.writer()?.commit(batch.clone())
    }

    fn writer(&self) -> Result<&Writer, PortError> {
        let file = self.file.display();
        self.writer
            .as_ref()
            .ok_or_else(|| PortError::Broken(format!("{file} was opened to look at it alone").into()))
    }
}

impl Drop for SqliteStore {
    /// Closes the writer last, so that its connection copies the log into the database.
    fn drop(&mut self) {
        self.readers.close();
    }
}

/// Creates the file with its mode before SQLite opens it; SQLite gives its other files the same mode. If this fails, so does
/// SQLite, with an error.
fn keep_private(file: &Path) {
    let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(file);
    close_to_others(file, PRIVATE_FILE);
    for beside in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(beside);
        close_to_others(Path::new(&name), PRIVATE_FILE);
    }
}

fn read_item(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare_cached(GET)?;
    statement.query_row(params![key.partition, key.sort], |row| stored(row, 0)).optional()
}

fn stored(row: &Row<'_>, at: usize) -> rusqlite::Result<Stored> {
    let version: i64 = row.get(at)?;
    Ok(Stored { version: version.cast_unsigned(), value: row.get(at + 1)? })
}

/// SQLite's integers are signed: versions keep their bits; times and limits are clamped.
fn time_of(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
