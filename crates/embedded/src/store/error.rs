//! SQLite's errors, with what an operator can do about each.

use std::path::Path;

use proofyard_core::port::PortError;
use rusqlite::{ErrorCode, ffi};

/// Says what happened to `file`, and the way out. Transient errors become `Unavailable`, so that handlers retry.
pub(super) fn explain(file: &Path, error: &rusqlite::Error) -> PortError {
    let at = file.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => PortError::Unavailable(format!(
            "no room to write {at}; free some disk space, and the work goes on ({error})"
        )),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            PortError::Unavailable(format!("another program holds {at} locked ({error})"))
        }
        Some(ErrorCode::OutOfMemory) => PortError::Unavailable(format!("no memory to work with {at}")),
        Some(ErrorCode::SystemIoFailure) if is_failed_sync(error) => PortError::Broken(format!(
            "the disk did not take what was written to {at} ({error}); check the disk, then start again: \
             nothing that was acknowledged depends on it"
        )),
        Some(ErrorCode::SystemIoFailure) => {
            PortError::Unavailable(format!("the disk refused to read or write {at} ({error})"))
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => PortError::Broken(format!(
            "{at} is damaged ({error}); put back a copy of it, or move it away with its -wal file and run again"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            PortError::Broken(format!(
                "{at} cannot be written ({error}); its directory must be on a writable disk and belong to this user"
            ))
        }
        _ => PortError::Broken(format!("{at}: {error}")),
    }
}

/// After a failed sync the kernel may count the lost pages as written, so that a later sync that succeeds proves
/// nothing about them. Only a new start, which reads what is really there, can go on.
pub(super) fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|found| found.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}
