//! The runner's side: start a prover under a guard, send it requests, and trust nothing that it answers.
//!
//! - [`Session`] is a live `stream` prover; [`prove_files`] and [`verify_files`] start a `files` prover for one task.
//! - Everything is limited ([`Limits`]): time, output, memory, the length of a line, the log that is kept. A prover that
//!   exceeds a limit or breaks the protocol is killed, with all that it started.
//! - Everything that can go wrong is a [`ProverError`] with a kind, the prover's command, and its last log lines.
//!
//! All calls block; a [`Cancel`] ends them from another thread. What a prover says before its answer, a [`Listener`] hears.

mod error;
mod files;
mod guarded;
mod launch;
mod log;
mod orphans;
mod output;
mod output_content;
mod program;
mod session;
mod trial;
mod watch;

pub(crate) use error::is_host_fault;
pub use error::{ErrorKind, ProverError};
pub use files::{Payload, prove_files, verify_files};
pub use launch::{GuardCommand, Launch, Limits, User};
pub use log::{LOG_LINE_BYTES, LOG_LINES, MESSAGE_BYTES};
pub use orphans::adopt_orphans;
pub use output::{OutputFile, Proved};
pub use output_content::{count_list, named_key};
pub use program::run_program;
pub use session::{Listener, Session, Update};
pub use trial::try_confinement;
pub use watch::Cancel;
