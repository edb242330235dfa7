//! What can go wrong with a prover, as the yard must tell it apart.

use std::io;

use rustix::io::Errno;

use super::log::readable_message;
use crate::message::{Failure, FailureKind};

/// A failed call to a prover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {message}")]
pub struct ProverError {
    /// What went wrong, for those who decide what it costs.
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
    /// The prover says that no try can succeed.
    Permanent,
    /// The prover says that another try may succeed.
    Transient,
    /// The prover says that it cannot work now, and tried nothing.
    Unavailable,
    /// There is no such program, or it cannot be executed.
    CouldNotStart,
    /// It ended without an answer. Both are none when it ended in a way that could not be learned. A signal is one that
    /// somebody else sent.
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
    /// Somebody asked for it.
    Cancelled,
    /// It broke the protocol.
    Rubbish,
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
    /// It says that it is done, but there is no file that can be used.
    BadOutput,
    /// The request cannot be put to this prover: an input is not what the payload needs.
    BadInput,
    /// An input cannot be read, or be written for the prover.
    Io,
    /// This machine has no room, or no memory or process for the prover: nothing was tried.
    HostFault,
}

/// An error on its way to becoming a `ProverError`: it does not know the command and the log.
#[derive(Debug)]
pub(crate) struct Fault {
    pub kind: ErrorKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: ErrorKind, message: impl ToString) -> Fault {
        Fault { kind, message: message.to_string() }
    }

    pub fn rubbish(message: impl ToString) -> Fault {
        Fault::new(ErrorKind::Rubbish, message)
    }

    pub fn bad_output(message: impl ToString) -> Fault {
        Fault::new(ErrorKind::BadOutput, message)
    }

    /// Whether the prover itself said it, and so goes on living.
    pub fn is_reported(&self) -> bool {
        matches!(self.kind, ErrorKind::Permanent | ErrorKind::Transient | ErrorKind::Unavailable)
    }

    /// Of this kind, unless the error is the machine's.
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
        Fault { kind, message: readable_message(&failure.message) }
    }
}

/// No room on the disk, no memory, no process or descriptor to be had: it passes, and says nothing about any task.
pub(crate) fn is_host_fault(error: &io::Error) -> bool {
    const TROUBLE: &[Errno] =
        &[Errno::NOSPC, Errno::DQUOT, Errno::NOMEM, Errno::AGAIN, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|number| TROUBLE.contains(&number))
}
