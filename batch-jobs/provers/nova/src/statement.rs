//! The two kinds of statement, and the running values that each begins and ends with.

use proofyard_statement::digest::steps;
use proofyard_statement::{Block, BlockValues, Digest, Error, RangeValues};

use crate::step::Boundary;

/// The most steps of one proof: at a sixth of a second each, two days.
pub const MAX_STEPS: usize = 1 << 20;

const NOTHING_CLOSED: Digest = [0; 32];

/// What kind of statement is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One whole block, with its transactions' digest.
    Block,
    /// Whole blocks that follow each other.
    Range,
}

/// What a proof states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    Block(BlockValues),
    Range(RangeValues),
}

impl Kind {
    /// The format that its proof files name.
    pub fn format(self) -> &'static str {
        match self {
            Self::Block => "proofyard-nova-block-1",
            Self::Range => "proofyard-nova-range-1",
        }
    }

    /// What a proof of these blocks will state. Blocks whose own post-states are wrong are refused here, before
    /// anything is folded.
    pub fn statement(self, blocks: &[Block]) -> Result<Statement, Error> {
        let count = blocks.len();
        let checked = |(index, block): (usize, &Block)| {
            block.checked_values().map_err(|e| match e {
                Error::Block(why) if count > 1 => {
                    Error::Block(format!("number {} of {count}, height {}: {why}", index + 1, block.height))
                }
                other => other,
            })
        };
        let values = blocks.iter().enumerate().map(checked).collect::<Result<Vec<BlockValues>, _>>()?;
        match (self, values.as_slice()) {
            (Self::Block, [block]) => Ok(Statement::Block(block.clone())),
            (Self::Block, _) => Err(Error::Inputs(format!("{count} blocks, expected one"))),
            (Self::Range, _) => {
                let parts: Vec<RangeValues> = values.into_iter().map(RangeValues::from).collect();
                RangeValues::join(&parts).map(Statement::Range)
            }
        }
    }

    /// Reads canonical public values of this kind.
    pub fn statement_from_bytes(self, bytes: &[u8]) -> Result<Statement, Error> {
        match self {
            Self::Block => BlockValues::from_bytes(bytes).map(Statement::Block),
            Self::Range => RangeValues::from_bytes(bytes).map(Statement::Range),
        }
    }
}

impl Statement {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Block(_) => Kind::Block,
            Self::Range(_) => Kind::Range,
        }
    }

    /// The canonical public values.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Block(values) => values.to_bytes(),
            Self::Range(values) => values.to_bytes(),
        }
    }

    /// Refuses another statement than this one, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        match (self, expected) {
            (Self::Block(found), Self::Block(expected)) => found.expect(expected),
            (Self::Range(found), Self::Range(expected)) => found.expect(expected),
            _ => Err(Error::OtherStatement("it is of a block where a range is meant, or the reverse".into())),
        }
    }

    /// The running values before the first step and after the last, which a verifier computes. None if no height follows
    /// the last one.
    pub fn boundaries(&self) -> Option<(Boundary, Boundary)> {
        let (keeps, range, closed) = match self {
            Self::Block(values) => (true, RangeValues::from(values.clone()), values.transactions),
            Self::Range(values) => (false, values.clone(), NOTHING_CLOSED),
        };
        let RangeValues { chain_id, from, to, pre, post } = range;
        let end = Boundary { keeps, chain_id, height: to.checked_add(1)?, state: post, closed };
        Some((Boundary { height: from, state: pre, closed: NOTHING_CLOSED, ..end.clone() }, end))
    }
}

/// How many steps these blocks take.
pub fn count_steps(blocks: &[Block]) -> Result<usize, Error> {
    let sum = |sum: usize, block: &Block| sum.checked_add(steps(block.transactions.len()));
    match blocks.iter().try_fold(0, sum) {
        Some(count) if count <= MAX_STEPS => Ok(count),
        _ => {
            Err(Error::Inputs(format!("more than {MAX_STEPS} steps, of two transactions each, in one proof")))
        }
    }
}
