//! The step circuit: what one folding step proves, and why a chain of steps proves the statement and nothing else. Its
//! constraints are in `circuit`.
//!
//! A step runs `keyed` exactly once. It takes the running values `z` to the next ones:
//!
//! ```text
//! absorb   digest' = keyed(digest, one or two transactions)
//! close    state'  = keyed(state, digest); height' = height + 1; digest' = start(chain id, height')
//! ```
//!
//! `z` has ten elements: `keeps`, `chain`, `height`, `alone`, then the low and the high half (128 bits each, the bytes
//! read little-endian) of `state`, `digest` and `closed`. `chain` is the chain id as it stands in a digest's first
//! eight bytes.
//!
//! # What a prover may choose
//!
//! In each step freely: whether it absorbs or closes, whether it absorbs one transaction or two, and which. Nothing
//! else; all other values follow from `z`. Each choice is a constrained bit, and the message is made of 512 of them:
//!
//! - A closing step hashes 32 bytes, and they are `digest`. Its key is `state`; an absorbing step's is `digest`.
//! - An absorbing step leaves height and state alone; a closing one replaces all of height, state and digest.
//! - One transaction alone is 32 bytes: the length is an input of the hash, and the second half is zeros, so that it
//!   is not the digest of two transactions, whatever they are. It sets `alone`, and with `alone` set a step can only
//!   close. A digest is therefore that of one list of transactions, cut into steps in the one way that the chain's
//!   rule has.
//! - `height + 1` must have 64 bits in every step, so that heights never wrap.
//! - `keeps` and `chain` never change.
//!
//! # Why the two ends bind everything
//!
//! The verifier computes `z_0` and `z_n` from the public values alone. Both are block boundaries: `digest` is
//! `start(chain id, height)`, `alone` is 0. In `z_0` height is the first block's, state is *pre*, `closed` is zero; in
//! `z_n` height is the last block's plus one, state is *post*.
//!
//! - Only a close changes the height, and by one. So there were exactly as many closes as the range has blocks.
//! - Each close starts the next block's digest with the chain id and the new height. So a block's digest begins at
//!   its own place, and the proof of one place is none of another.
//! - The last step was a close: after an absorbing step the digest is a keyed hash, and for it to be `start(...)` the
//!   prover must find a message that hashes to a given value.
//! - So there are lists of transactions that take *pre* to *post* block by block, which is the statement. *post* holds
//!   the digest of each of them, and these each transaction: whoever computes *post* from blocks natively, as a
//!   verifier here does, knows that the proof is of just these blocks, unless BLAKE3 has collisions.
//! - A block's public values name its transactions' digest. A close puts the digest that it hashed into `closed`, if
//!   `keeps` is 1, as it is in the proof of one block; `z_n` says what it must be. In the proof of a range `keeps` is
//!   0, and `closed` stays zero. The same circuit and key therefore serve both, and neither passes for the other.
//!
//! Halves have 128 bits: in `z_0` because the verifier made them, later because they are sums of 128 bits. The field
//! has 254, so that comparing halves, and taking the key apart into bits, has one outcome.

use ff::{Field, PrimeField};
use nova_snark::provider::PallasEngine;
use nova_snark::traits::Engine;
use proofyard_statement::digest::{STEP_TRANSACTIONS, start};
use proofyard_statement::{Block, Digest, TransactionHash};

/// The field that the step circuit is over.
pub type Scalar = <PallasEngine as Engine>::Scalar;

/// How many elements `z` has.
pub const ELEMENTS: usize = 10;

/// One step, as a prover chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next one or two transactions of the block.
    Absorb(TransactionHash, Option<TransactionHash>),
    /// The end of the block.
    Close,
}

/// The running values between two blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Whether a close keeps the transactions' digest: in the proof of one block.
    pub keeps: bool,
    pub chain_id: u64,
    /// Of the block that comes next.
    pub height: u64,
    pub state: Digest,
    /// The kept digest; zeros before the first close, and always where none is kept.
    pub closed: Digest,
}

impl Boundary {
    /// As elements of `z`.
    pub fn to_elements(&self) -> [Scalar; ELEMENTS] {
        let [state_low, state_high] = halves(&self.state);
        let [digest_low, digest_high] = halves(&start(self.chain_id, self.height));
        let [closed_low, closed_high] = halves(&self.closed);
        let chain = u64::from_le_bytes(self.chain_id.to_be_bytes());
        let (keeps, alone) = (Scalar::from(u64::from(self.keeps)), Scalar::ZERO);
        [
            keeps,
            Scalar::from(chain),
            Scalar::from(self.height),
            alone,
            state_low,
            state_high,
            digest_low,
            digest_high,
            closed_low,
            closed_high,
        ]
    }
}

/// The steps of a block, in order.
pub fn steps_of(block: &Block) -> impl Iterator<Item = Step> {
    let absorb = |next: &[TransactionHash]| match next {
        [first, second, ..] => Step::Absorb(*first, Some(*second)),
        [first] => Step::Absorb(*first, None),
        [] => Step::Close,
    };
    block.transactions.chunks(STEP_TRANSACTIONS).map(absorb).chain([Step::Close])
}

/// The low and the high half of 32 bytes, read little-endian.
pub fn halves(bytes: &Digest) -> [Scalar; 2] {
    let half = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    let (low, high) = bytes.split_at(16);
    [Scalar::from_u128(half(low)), Scalar::from_u128(half(high))]
}
