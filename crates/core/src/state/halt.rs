//! What halts a chain. A halt is stored, and shown, as its sentence; nothing reads that again.
//!
//! `record::put_halt` alone writes one, in the transaction that halts the chain.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BlockHash, ChainName, KeyFamily, Scope, ScopeId, TaskId, WorkerId};
use crate::port::Key;
use crate::transaction::{Item, too_large};

/// Why nothing more is committed or handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltReason {
    Disagreement(Disagreement),
    /// The block's parent is not the last committed block. That must never happen.
    Parent {
        height: u64,
        parent: BlockHash,
    },
    /// Of a block or cut that begins at this height.
    Result {
        height: u64,
        wrong: WrongResult,
    },
    /// In the words of whoever halted it.
    Other(String),
}

/// Members of a quorum have proved different public values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub stage: String,
    pub height: u64,
    /// Each member that has a proof, with what is shown of its public values.
    pub said: Vec<(String, String)>,
}

/// A recorded result on which nothing may be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongResult {
    pub task: TaskId,
    pub worker: WorkerId,
    pub why: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its stage may not accept it, for this reason.
    NotOfItsStage(String),
    /// The judge's verifier refused it, for this reason.
    Refused(String),
    /// It is not what the judge looked at.
    Changed,
}

impl fmt::Display for HaltReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagreement(disagreement) => write!(f, "{disagreement}"),
            Self::Parent { height, parent } => {
                write!(
                    f,
                    "the block at height {height} has parent {parent}, which is not the last committed one"
                )
            }
            Self::Result { height, wrong } => {
                write!(f, "{wrong}; find out what that worker is; `proofyard redo {height}` proves it again")
            }
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, height, said } = self;
        write!(f, "the provers of stage {stage} disagree at height {height}: ")?;
        for (index, (member, value)) in said.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{member} says {value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for WrongResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, worker, why } = self;
        match why {
            Wrong::NotOfItsStage(fault) => {
                write!(f, "worker {worker} recorded a result of {task} that cannot be one: {fault}")
            }
            Wrong::Refused(reason) => {
                write!(f, "the judge refused {task}, which worker {worker} recorded: {reason}")
            }
            Wrong::Changed => {
                write!(
                    f,
                    "{task} is not what the judge looked at: worker {worker} recorded it, and it was changed since"
                )
            }
        }
    }
}

/// The newest thing that halted a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Halt {
    pub reason: String,
    pub scope: Option<ScopeId>,
    pub at_ms: u64,
}

impl Halt {
    pub(crate) fn over(scope: Option<&Scope>, reason: &HaltReason, at_ms: u64) -> Self {
        Self { reason: reason.to_string(), scope: scope.map(|scope| scope.id().clone()), at_ms }
    }
}

/// One thing that halted a chain. It stays when the halt is ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HaltCause {
    pub chain: ChainName,
    /// Counted over the chain's life.
    pub number: u64,
    pub halt: Halt,
}

impl HaltCause {
    pub fn key_of(chain: &ChainName, number: u64) -> Key {
        KeyFamily::Halt.key_in(chain, format_args!("{number:020}"))
    }
}

impl Item for HaltCause {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, self.number)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.number, self.halt.at_ms])
    }
}
