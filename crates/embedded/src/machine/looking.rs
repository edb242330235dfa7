//! Opening a data directory for reading only, and recognising whether it holds a yard.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proofyard_core::Yard;

use super::MachineError;
use crate::LocalPort;
use crate::lock::{DataDirError, STATE_FILE};
use crate::store::SqliteStore;

/// A read-only yard, whether or not a process works on it.
pub fn look(data_dir: &Path) -> Result<Yard<LocalPort>, MachineError> {
    expect_yard(data_dir)?;
    let store = Arc::new(SqliteStore::looking(data_dir)?);
    Ok(Yard::new(LocalPort::new(store, |_| {})))
}

/// Refuses a directory without a yard, before anything is created in it.
pub(super) fn expect_yard(data_dir: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { path: data_dir.to_owned(), doing: "opened", source };
    match fs::metadata(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataDirError::Missing(data_dir.to_owned()))
        }
        Err(error) => Err(failed(error)),
        Ok(found) if !found.is_dir() => Err(DataDirError::NotADirectory(data_dir.to_owned())),
        Ok(_) => match data_dir.join(STATE_FILE).try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DataDirError::NoYard(data_dir.to_owned())),
            Err(error) => Err(failed(error)),
        },
    }
}
