//! A pool of connections for reading: each is used by one thread at a time, and then kept for the next.
//!
//! A read begins after every commit that was answered before it, and so it sees all of them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use proofyard_core::error::because;
use proofyard_core::port::PortError;
use rusqlite::Connection;

use super::error::explain;
use super::schema::open_reader;

/// How many idle connections are kept. More threads than that may read at once, each on a new connection.
const KEPT: usize = 32;

pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let connection = match self.lock().pop() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let answer = query(&connection).map_err(|error| explain(&self.file, error))?;
        let mut idle = self.lock();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// The file could be opened before, so an error now (too many open files) is transient.
    fn open(&self) -> Result<Connection, PortError> {
        open_reader(&self.file).map_err(|error| {
            let message = format!("{} could not be opened once more", self.file.display());
            PortError::Unavailable(because(message, error))
        })
    }

    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
