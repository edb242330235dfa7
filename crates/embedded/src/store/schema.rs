//! The database file: how it is created and recognised, and the settings of every connection.

use std::path::Path;
use std::time::Duration;

use proofyard_core::port::PortError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::explain;
use super::upgrade;

/// "PfYd": distinguishes our files from other programs' SQLite files.
const APPLICATION_ID: i32 = 0x5066_5964;
/// The layout below. A file with a greater number is refused; one with a smaller is upgraded by its writer.
const FORMAT: i32 = 2;
/// The same layout; what differs is in [`upgrade`].
const FIRST_FORMAT: i32 = 1;

/// Text is compared byte by byte (the BINARY collation), as the port requires. `syncs` is for earlier versions, which write it
/// in files of this format.
const LAYOUT: &str = "
    CREATE TABLE items (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        version INTEGER NOT NULL,
        value BLOB NOT NULL,
        due_ms INTEGER,
        due_shard INTEGER NOT NULL,
        PRIMARY KEY (partition, sort)
    ) WITHOUT ROWID;
    CREATE INDEX items_due ON items (due_shard, due_ms) WHERE due_ms IS NOT NULL;
    CREATE TABLE syncs (count INTEGER NOT NULL);
    INSERT INTO syncs VALUES (0);
";

/// The size that the log is truncated to after all of it was copied into the database.
const LOG_KEPT_BYTES: i64 = 32 << 20;
/// Our readers never wait for the writer; this is for other programs, such as a backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the database for its writer; creates it where there is none.
pub(super) fn open_writer(file: &Path) -> Result<Connection, PortError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(|error| explain(file, error))?;
    prepare(&connection).map_err(|error| explain(file, error))?;
    let (application, format) = marks(&connection).map_err(|error| explain(file, error))?;
    match (application, format) {
        (APPLICATION_ID, FORMAT) => {}
        (APPLICATION_ID, FIRST_FORMAT) => {
            upgrade::from_first_format(&mut connection, FORMAT).map_err(|error| explain(file, error))?;
        }
        (APPLICATION_ID, newer) => return Err(refuse_format(file, newer)),
        (0, 0) if is_empty(&connection).map_err(|error| explain(file, error))? => {
            create(&mut connection).map_err(|error| explain(file, error))?;
        }
        _ => return Err(refuse_foreign(file)),
    }
    use_log(file, &connection)?;
    Ok(connection)
}

pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

pub(super) fn open_copier(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Checks that the file has a format that readers understand.
pub(super) fn check_reader(file: &Path) -> Result<(), PortError> {
    let connection = open_reader(file).map_err(|error| explain(file, error))?;
    match marks(&connection).map_err(|error| explain(file, error))? {
        (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, FIRST_FORMAT) => Err(refuse_older(file)),
        (APPLICATION_ID, newer) => Err(refuse_format(file, newer)),
        _ => Err(refuse_foreign(file)),
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A query keeps its plan, which `lookups_are_by_index` pins down. Without this SQLite prepares a range anew for each bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, format))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// In one transaction: a crash leaves an empty file, which counts as none.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(LAYOUT)?;
    transaction.commit()
}

fn use_log(file: &Path, connection: &Connection) -> Result<(), PortError> {
    let failed = |error| explain(file, error);
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let at = file.display();
        return Err(PortError::Broken(
            format!("{at} is on a file system without locks or shared memory; use a local disk").into(),
        ));
    }
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES).map_err(failed)?;
    // The writer decides when (see `copier`).
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    // Commits of an earlier process that were never synced are synced before anything relies on them.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
}

fn refuse_format(file: &Path, format: i32) -> PortError {
    let reason = format!(
        "{} has format {format}, and this proofyard knows format {FORMAT}: use the proofyard that wrote it, or a newer \
         one; nothing was changed",
        file.display()
    );
    PortError::Broken(reason.into())
}

fn refuse_older(file: &Path) -> PortError {
    let reason = format!(
        "{} was written by an older proofyard, and is only looked at here: `proofyard run` brings it up to date",
        file.display()
    );
    PortError::Broken(reason.into())
}

fn refuse_foreign(file: &Path) -> PortError {
    let reason = format!(
        "{} is another program's SQLite database: give proofyard a directory of its own; nothing was changed",
        file.display()
    );
    PortError::Broken(reason.into())
}
