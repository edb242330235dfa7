//! What is written: one batch, or one due time, on the writer's connection.

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Version};
use rusqlite::{Connection, OptionalExtension, params};

use super::item_cache::ItemCache;
use super::time_of;

const VERSION: &str = "SELECT version FROM items WHERE partition = ?1 AND sort = ?2";
const PUT: &str =
    "INSERT INTO items (partition, sort, version, value, due_ms, due_shard) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (partition, sort) DO UPDATE SET version = ?3, value = ?4, due_ms = ?5, due_shard = ?6";
const DELETE: &str = "DELETE FROM items WHERE partition = ?1 AND sort = ?2";
const RESCHEDULE: &str = "UPDATE items SET due_ms = ?4 WHERE partition = ?1 AND sort = ?2 AND version = ?3";

#[cfg(test)]
pub(super) type Hook = Box<dyn FnOnce(&Connection) + Send>;

pub(super) enum Work {
    Commit(Batch),
    Reschedule(Key, Version, Option<u64>),
    #[cfg(test)]
    Hook(std::sync::Mutex<Option<Hook>>),
}

impl Work {
    /// What was committed is what is read from now on.
    pub(super) fn keep(&self, outcome: CommitOutcome, cache: &ItemCache) {
        if let (Work::Commit(batch), CommitOutcome::Committed) = (self, outcome) {
            cache.committed(batch);
        }
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<CommitOutcome> {
        match self {
            Work::Commit(batch) => write_batch(connection, batch),
            Work::Reschedule(Key { partition, sort }, version, due_ms) => {
                let (version, due_ms) = (version.cast_signed(), due_ms.map(time_of));
                let mut statement = connection.prepare_cached(RESCHEDULE)?;
                Ok(match statement.execute(params![partition, sort, version, due_ms])? {
                    0 => CommitOutcome::Conflict,
                    _ => CommitOutcome::Committed,
                })
            }
            #[cfg(test)]
            Work::Hook(hook) => {
                let hook = hook.lock().unwrap().take();
                hook.into_iter().for_each(|hook| hook(connection));
                Ok(CommitOutcome::Committed)
            }
        }
    }
}

/// Checks every expectation before the first write, so that a conflict leaves the rest of the group untouched.
fn write_batch(connection: &Connection, batch: &Batch) -> rusqlite::Result<CommitOutcome> {
    for op in &batch.ops {
        if !holds(connection, op)? {
            return Ok(CommitOutcome::Conflict);
        }
    }
    for op in &batch.ops {
        write_op(connection, op, batch.version)?;
    }
    Ok(CommitOutcome::Committed)
}

fn holds(connection: &Connection, op: &Op) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(VERSION)?;
    let found: Option<i64> =
        statement.query_row(params![op.key.partition, op.key.sort], |row| row.get(0)).optional()?;
    Ok(match op.expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found == Some(version.cast_signed()),
    })
}

fn write_op(connection: &Connection, op: &Op, version: u64) -> rusqlite::Result<()> {
    let Key { partition, sort } = &op.key;
    match &op.action {
        Action::Check => {}
        Action::Put { value, due_ms } => {
            let due_ms = due_ms.map(time_of);
            let shard = op.key.due_shard();
            let mut statement = connection.prepare_cached(PUT)?;
            statement.execute(params![partition, sort, version.cast_signed(), value, due_ms, shard])?;
        }
        Action::Delete => {
            connection.prepare_cached(DELETE)?.execute(params![partition, sort])?;
        }
    }
    Ok(())
}
