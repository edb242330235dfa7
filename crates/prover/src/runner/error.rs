//! Errors of provers, by the kinds that the yard must distinguish.

use std::io;

use rustix::io::Errno;

use super::log::readable_message;
use crate::message::{Failure, FailureKind};

/// A failed call to a prover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {message}")]
pub struct ProverError {
    /// The kind, which decides what the failure costs.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub message: String,
    /// The prover's command line.
    pub command: String,
    /// The last lines that it wrote to stderr, oldest first.
    pub log: Vec<String>,
}

/// What can go wrong with a call to a prover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The prover answers that no attempt can succeed.
    Permanent,
    /// The prover answers that another attempt may succeed.
    Transient,
    /// The prover answers that it cannot work now, and tried nothing.
    Unavailable,
    /// There is no such program, or it cannot be executed.
    CouldNotStart,
    /// It ended without an answer; how, is unknown if both are none. The runner's own signals are not reported here.
    Died {
        /// Its exit code.
        exit: Option<i32>,
        /// The number of the signal that ended it.
        signal: Option<i32>,
    },
    /// It was killed after this time.
    TimedOut {
        /// In milliseconds.
        limit_ms: u64,
    },
    /// The call was cancelled.
    Cancelled,
    /// It broke the protocol.
    ProtocolViolation,
    /// It wrote more than its limit; it was killed if it still ran.
    OutputTooLarge {
        /// All that may be in its output folder.
        limit_bytes: u64,
    },
    /// It used more memory than its limit, and was killed.
    MemoryExceeded {
        /// Of it and all that it started.
        limit_bytes: u64,
    },
    /// It answers that it is done, but its output file cannot be used.
    BadOutput,
    /// The request cannot be written for this prover: an input is not what the payload needs.
    BadInput,
    /// An input cannot be read, or not be written for the prover.
    Io,
    /// This machine has no disk space, memory or process left for the prover: nothing was tried.
    HostFault,
}

/// A `ProverError` without the command and the log, which its caller adds.
#[derive(Debug)]
pub(crate) struct Fault {
    pub kind: ErrorKind,
    pub message: String,
    /// The prover has answered, and waits for another request.
    pub answered: bool,
}

impl Fault {
    pub fn new(kind: ErrorKind, message: impl ToString) -> Fault {
        Fault { kind, message: message.to_string(), answered: false }
    }

    pub fn protocol_violation(message: impl ToString) -> Fault {
        Fault::new(ErrorKind::ProtocolViolation, message)
    }

    pub fn bad_output(message: impl ToString) -> Fault {
        Fault::new(ErrorKind::BadOutput, message)
    }

    /// A fault of kind `otherwise`, unless the error is a host fault.
    pub fn of_io(otherwise: ErrorKind, error: &io::Error, message: impl ToString) -> Fault {
        Fault::new(if is_host_fault(error) { ErrorKind::HostFault } else { otherwise }, message)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        let kind = match failure.kind {
            FailureKind::Permanent => ErrorKind::Permanent,
            FailureKind::Transient => ErrorKind::Transient,
            FailureKind::Unavailable => ErrorKind::Unavailable,
        };
        Fault { kind, message: readable_message(&failure.message), answered: true }
    }
}

/// The host has no disk space, memory, process or descriptor left: a transient error, which says nothing about any task.
pub(crate) fn is_host_fault(error: &io::Error) -> bool {
    const HOST_FAULTS: &[Errno] =
        &[Errno::NOSPC, Errno::DQUOT, Errno::NOMEM, Errno::AGAIN, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|number| HOST_FAULTS.contains(&number))
}
