//! Sinks: the consumers of proofs.
//!
//! `core` says what a sink is to be told next, and keeps what it was told; here it is told. A [`Destination`] takes one
//! [`Message`] at a time and answers with an [`Outcome`]; a message may come again after a crash, under the same key.
//!
//! - [`FileLog`] appends lines to a file;
//! - [`SinkOf::step`] asks what comes next, tells it, and writes down how that went; each home drives its sinks by it;
//! - [`Program`] runs a program for each message: one of the pipeline's, or `proofyard-notify`, which speaks HTTP.

mod file;
mod message;
mod program;
mod step;

pub use file::{FileLog, read_sink_file};
pub use message::{BlockMessage, BlockProof, EntryMessage, Message, ProverProof, ToNotify};
pub use program::{EXIT_LATER, EXIT_REFUSED, Program, WaitLine};
use proofyard_core::sinks::Trouble;
pub use step::{SinkOf, Teller};

/// Something that takes messages, one after another.
pub trait Destination {
    fn tell(&mut self, message: &Message) -> Outcome;

    /// What an operator should know before the first message.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has it, durably.
    Done,
    /// Not now.
    Later(Trouble),
    /// It will never take this message, and may take others.
    Refused(String),
    /// This process stops; whether the message came is not known.
    Interrupted,
}
