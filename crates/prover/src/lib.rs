//! The prover protocol, both sides.
//!
//! A prover is any executable. Proofyard starts it, asks it to prove and to verify, and trusts nothing that it answers.
//! This crate holds
//!
//! - the messages ([`message`]),
//! - the author's side: implement [`Prover`], call [`serve`] in `main`, and read inputs and write outputs with the
//!   helpers in [`artifact`],
//! - the runner's side: [`runner::Session`] for provers that stay, [`runner::prove_files`] for those that do not,
//! - the conformance kit ([`conformance`]), which tests whether a program keeps to the protocol,
//! - the guard ([`guard`]), which kills whatever a prover has started when the yard dies,
//! - how provers' processes are isolated ([`confinement`]).
//!
//! `docs/prover-protocol.md` describes the protocol for authors in any language. Binary values are lower-case hex without a
//! prefix, paths are absolute, times end in `_ms`, sizes in `_bytes`.
//!
//! A whole prover (`examples/digest_prover.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/digest_prover.rs")]
//! ```

#![deny(missing_docs)]

pub mod artifact;
pub mod confinement;
pub mod conformance;
pub mod guard;
pub mod message;
mod namespaces;
mod processes;
pub mod runner;
pub mod serve;

pub use artifact::{InputError, write_output};
pub use guard::guard_main;
pub use message::{
    CancelReason, Failure, FailureKind, Input, InputKind, List, ProveOk, ProveRequest, SetupOk, SetupRequest,
    VerifyOk, VerifyRequest,
};
pub use processes::descends_from;
pub use serve::{Progress, Prover, Work, serve};
