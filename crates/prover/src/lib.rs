//! The prover protocol, both sides.
//!
//! A prover is any executable. Proofyard starts it, asks it to prove and to verify, and trusts nothing that it says.
//! This crate holds
//!
//! - the messages ([`message`]),
//! - the author's side: implement [`Prover`], call [`serve`] in `main`, and read inputs and write outputs with the
//!   helpers in [`artifact`].
//!
//! `docs/prover-protocol.md` describes the protocol for authors in any language.

pub mod artifact;
pub mod message;
pub mod serve;

pub use artifact::{InputError, write_output};
pub use message::{
    Failure, FailureKind, Input, InputKind, List, ProveOk, ProveRequest, SetupOk, SetupRequest, VerifyOk,
    VerifyRequest,
};
pub use serve::{Progress, Prover, serve};
