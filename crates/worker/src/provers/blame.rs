//! Whose fault a failed step of an attempt is, which decides what it costs the task:
//!
//! | fault of | becomes | costs |
//! | --- | --- | --- |
//! | this host, passing: a full disk, no memory, a store that does not answer | `HostFault` | nothing; the slot pauses |
//! | this host, lasting | `Failed` with `Transient` | one of the task's attempts; it may succeed on another worker |
//! | the prover, or its verifier | `Failed`, with the kind that it answered or died of | its budget for that kind |
//! | an input that is missing or damaged | `Failed` with `BadInput` | the task is parked: no worker can do better |
//! | nobody: cancelled | `Cancelled` | nothing |

use std::io;

use proofyard_core::error::with_causes;
use proofyard_core::record::FailureKind;
use proofyard_core::work::AttemptError;
use proofyard_prover::runner::{ErrorKind, ProverError};

use crate::artifacts::{ArtifactError, is_full_disk};
use crate::isolation::Isolation;
use crate::work_dir::WorkDir;

/// Parts of the system's messages for what is not permitted.
const DENIED: &str = "ermission denied";
const READ_ONLY: &str = "ead-only file system";
const MAY_WRITE: &str = "isolated, it may change files in its own folders and in those that its prover's `writes` names; \
                         see docs/security.md";

/// What a prover answered, or how its process ended.
pub(super) fn prover_error(error: ProverError) -> AttemptError {
    let kind = match error.kind {
        ErrorKind::Cancelled => return AttemptError::Cancelled,
        ErrorKind::HostFault => return AttemptError::HostFault { message: error.to_string() },
        ErrorKind::Permanent => FailureKind::Permanent,
        ErrorKind::Unavailable => FailureKind::Unavailable,
        ErrorKind::Died { signal: Some(_), .. } => FailureKind::Crash,
        ErrorKind::BadInput => FailureKind::BadInput,
        _ => FailureKind::Transient,
    };
    AttemptError::Failed { kind, message: error.to_string(), log: error.log }
}

/// What a verifier answered, or how its process ended. A proof that it refuses says nothing about the next attempt's.
pub(super) fn verifier_error(error: ProverError) -> AttemptError {
    match prover_error(error) {
        AttemptError::Failed {
            kind: kind @ (FailureKind::Unavailable | FailureKind::Crash),
            message,
            log,
        } => AttemptError::Failed { kind, message: format!("the verifier: {message}"), log },
        AttemptError::Failed { message, log, .. } => {
            let message = format!("the verifier did not accept it: {message}");
            AttemptError::Failed { kind: FailureKind::Transient, message, log }
        }
        other => other,
    }
}

/// An error of a process, given the state of the host that it ran on. On a full disk it says nothing about the task. Where
/// an isolated process was denied something, the message says what it may write to.
pub(super) fn on_this_host(error: AttemptError, work_dir: &WorkDir, isolation: &Isolation) -> AttemptError {
    let is_denied = |text: &String| text.contains(DENIED) || text.contains(READ_ONLY);
    match error {
        AttemptError::Failed { message, .. } if work_dir.is_full() => AttemptError::HostFault {
            message: format!("{} is on a full disk: {message}", work_dir.path().display()),
        },
        AttemptError::Failed { kind, message, log }
            if isolation.holds() && (is_denied(&message) || log.iter().any(is_denied)) =>
        {
            AttemptError::Failed { kind, message: format!("{message} ({MAY_WRITE})"), log }
        }
        error => error,
    }
}

/// An input could not be fetched. If it is missing or damaged, it is so for every other worker too.
pub(super) fn input_error(error: ArtifactError) -> AttemptError {
    let is_lost = error.is_lost();
    match artifact_error(error) {
        AttemptError::Failed { message, log, .. } if is_lost => {
            AttemptError::Failed { kind: FailureKind::BadInput, message, log }
        }
        other => other,
    }
}

/// An artifact could not be fetched or kept: a fault of this host, transient or lasting.
pub(super) fn artifact_error(error: ArtifactError) -> AttemptError {
    let message = with_causes(&error).to_string();
    if error.passes() { AttemptError::HostFault { message } } else { lasting(message) }
}

/// No folder could be made for a process to write to.
pub(super) fn folder_error(error: &io::Error, work_dir: &WorkDir) -> AttemptError {
    file_error(error, || format!("no folder can be made in {}: {error}", work_dir.path().display()))
}

/// A file of this host could not be made.
pub(super) fn file_error(error: &io::Error, message: impl FnOnce() -> String) -> AttemptError {
    if is_full_disk(error) { AttemptError::HostFault { message: message() } } else { lasting(message()) }
}

/// A fault of this host, not of the prover, that does not pass by itself.
pub(super) fn lasting(message: String) -> AttemptError {
    AttemptError::Failed { kind: FailureKind::Transient, message, log: Vec::new() }
}
