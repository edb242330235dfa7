//! SQLite's errors, with what an operator can do about each.

use std::path::Path;
use std::sync::Arc;

use proofyard_core::error::{Cause, because};
use proofyard_core::port::PortError;
use rusqlite::{ErrorCode, ffi};

/// Says what happened to `file`, and the way out. Transient errors become `Unavailable`, so that handlers retry.
pub(super) fn explain(file: &Path, error: rusqlite::Error) -> PortError {
    let at = file.display();
    let (passes, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (true, format!("no room to write {at}; free some disk space, and the work goes on"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (true, format!("another program holds {at} locked"))
        }
        Some(ErrorCode::OutOfMemory) => (true, format!("no memory to work with {at}")),
        Some(ErrorCode::SystemIoFailure) if is_failed_sync(&error) => {
            return explain_failed_sync(file, error);
        }
        Some(ErrorCode::SystemIoFailure) => (true, format!("the disk refused to read or write {at}")),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            false,
            format!(
                "{at} is damaged; put back a copy of it, or move it away with its -wal file and run again"
            ),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
            false,
            format!(
                "{at} cannot be written; its directory must be on a writable disk and belong to this user"
            ),
        ),
        _ => (false, format!("{at} cannot be used")),
    };
    let cause = because(message, error);
    if passes { PortError::Unavailable(cause) } else { PortError::Broken(cause) }
}

/// Says so of a sync of `file` or its log.
pub(super) fn explain_failed_sync(
    file: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> PortError {
    let message = format!(
        "the disk did not take what was written to {}; check the disk, then start again: nothing that was acknowledged \
         depends on it",
        file.display()
    );
    PortError::Broken(because(message, error))
}

/// The same error, for one more who meets it.
pub(super) fn again(failure: &Arc<PortError>) -> PortError {
    let cause: Cause = Box::new(Arc::clone(failure));
    match **failure {
        PortError::Unavailable(_) => PortError::Unavailable(cause),
        PortError::Broken(_) => PortError::Broken(cause),
    }
}

/// After a failed sync the kernel may count the lost pages as written, so that a later sync that succeeds proves
/// nothing about them. Only a new start, which reads what is really there, can go on.
pub(super) fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|found| found.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}
