//! The step circuit: what one folding step proves, and why a chain of steps proves the statement and nothing else.
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
use nova_snark::frontend::gadgets::uint32::UInt32;
use nova_snark::frontend::num::{AllocatedNum, Num};
use nova_snark::frontend::{AllocatedBit, Boolean, ConstraintSystem, SynthesisError};
use nova_snark::provider::PallasEngine;
use nova_snark::traits::Engine;
use nova_snark::traits::circuit::StepCircuit;
use proofyard_statement::digest::{STEP_TRANSACTIONS, start};
use proofyard_statement::{Block, Digest, TransactionHash};

use crate::keyed::compress;

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

impl StepCircuit<Scalar> for Step {
    fn arity(&self) -> usize {
        ELEMENTS
    }

    fn synthesize<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        z: &[AllocatedNum<Scalar>],
    ) -> Result<Vec<AllocatedNum<Scalar>>, SynthesisError> {
        let [keeps, chain, height, alone, rest @ ..] = z else { return Err(wrong_length(z)) };
        let [state_low, state_high, digest_low, digest_high, closed_low, closed_high] = rest else {
            return Err(wrong_length(z));
        };
        let (state, digest) = ([state_low, state_high], [digest_low, digest_high]);
        let one = CS::one();

        let closes = AllocatedBit::alloc(cs.namespace(|| "closes"), Some(*self == Step::Close))?;
        let pair = matches!(self, Step::Absorb(_, Some(_)));
        let pair = AllocatedBit::alloc(cs.namespace(|| "pair"), Some(pair))?;
        cs.enforce(
            || "a close takes no pair",
            |lc| lc + closes.get_variable(),
            |lc| lc + pair.get_variable(),
            |lc| lc,
        );
        cs.enforce(
            || "what stands alone stands last",
            |lc| lc + one - closes.get_variable(),
            |lc| lc + alone.get_variable(),
            |lc| lc,
        );
        let next_alone = AllocatedNum::alloc(cs.namespace(|| "next alone"), || {
            let alone = matches!(self, Step::Absorb(_, None));
            Ok(Scalar::from(u64::from(alone)))
        })?;
        cs.enforce(
            || "next alone is neither a close nor a pair",
            |lc| lc + one - closes.get_variable() - pair.get_variable(),
            |lc| lc + one,
            |lc| lc + next_alone.get_variable(),
        );

        let mut key = Vec::new();
        for (name, state, digest) in [("low", state[0], digest[0]), ("high", state[1], digest[1])] {
            let mut cs = cs.namespace(|| format!("{name} key"));
            let from = if *self == Step::Close { state } else { digest };
            let bits = bits(cs.namespace(|| "bits"), 128, value_of(from))?;
            let sum = sum::<CS>(&bits);
            cs.enforce(
                || "is the state's or the digest's",
                |lc| lc + closes.get_variable(),
                |lc| lc + state.get_variable() - digest.get_variable(),
                |lc| lc + &sum.lc(Scalar::ONE) - digest.get_variable(),
            );
            key.extend(words(&bits));
        }

        let mut message = Vec::new();
        for (half, digest) in digest.into_iter().enumerate() {
            let mut cs = cs.namespace(|| format!("message quarter {half}"));
            let value = match self {
                Step::Absorb(first, _) => value(halves(first)[half]),
                Step::Close => value_of(digest),
            };
            let bits = bits(cs.namespace(|| "bits"), 128, value)?;
            let sum = sum::<CS>(&bits);
            cs.enforce(
                || "is the digest's in a close",
                |lc| lc + closes.get_variable(),
                |lc| lc + &sum.lc(Scalar::ONE) - digest.get_variable(),
                |lc| lc,
            );
            message.extend(words(&bits));
        }
        for half in 0..2 {
            let mut cs = cs.namespace(|| format!("message quarter {}", 2 + half));
            let value = match self {
                Step::Absorb(_, Some(second)) => value(halves(second)[half]),
                _ => Some(0),
            };
            let bits = bits(cs.namespace(|| "bits"), 128, value)?;
            let sum = sum::<CS>(&bits);
            cs.enforce(
                || "is zero without a pair",
                |lc| lc + one - pair.get_variable(),
                |lc| lc + &sum.lc(Scalar::ONE),
                |lc| lc,
            );
            message.extend(words(&bits));
        }

        // 64 or 32: its one set bit is where the pair bit says.
        let pair = Boolean::from(pair);
        let mut message_bytes = vec![Boolean::constant(false); 32];
        message_bytes[5] = pair.not();
        message_bytes[6] = pair;
        let message_bytes = word(&message_bytes);

        let (key, message) = (array(key)?, array(message)?);
        let hashed = compress(cs.namespace(|| "keyed"), &key, message, message_bytes)?;
        let hashed: Vec<Boolean> =
            hashed.into_iter().flat_map(|word| word.into_bits_be().into_iter().rev()).collect();
        let (low, high) = hashed.split_at(128);
        let hashed = [sum::<CS>(low), sum::<CS>(high)];

        let following = value_of(height).and_then(|height| height.checked_add(1));
        let following = bits(cs.namespace(|| "following height"), 64, following)?;
        let following_sum = sum::<CS>(&following);
        cs.enforce(
            || "following height is one more",
            |lc| lc + height.get_variable() + one,
            |lc| lc + one,
            |lc| lc + &following_sum.lc(Scalar::ONE),
        );
        // A digest has the height big-endian, behind the chain id.
        let swapped: Vec<Boolean> = following.chunks(8).rev().flatten().cloned().collect();
        let place = Num::from(chain.clone()).add(&sum::<CS>(&swapped).scale(power_of_two(64)));
        let start = [place, Num::zero()];

        let closes = Num::<Scalar>::zero().add_bool_with_coeff(one, &Boolean::from(closes), Scalar::ONE);
        let next_height =
            choose(cs.namespace(|| "next height"), &closes, &following_sum, &height.clone().into())?;
        let mut next = vec![keeps.clone(), chain.clone(), next_height, next_alone];
        for (name, state, hashed) in [("low", state[0], &hashed[0]), ("high", state[1], &hashed[1])] {
            let cs = cs.namespace(|| format!("next state {name}"));
            next.push(choose(cs, &closes, hashed, &state.clone().into())?);
        }
        for (name, start, hashed) in [("low", &start[0], &hashed[0]), ("high", &start[1], &hashed[1])] {
            let cs = cs.namespace(|| format!("next digest {name}"));
            next.push(choose(cs, &closes, start, hashed)?);
        }
        for (name, closed, digest) in [("low", closed_low, digest[0]), ("high", closed_high, digest[1])] {
            let mut cs = cs.namespace(|| format!("next closed {name}"));
            let kept = digest.mul(cs.namespace(|| "kept"), keeps)?;
            next.push(choose(cs.namespace(|| "choice"), &closes, &kept.into(), &closed.clone().into())?);
        }
        Ok(next)
    }
}

fn wrong_length(z: &[AllocatedNum<Scalar>]) -> SynthesisError {
    SynthesisError::IncompatibleLengthVector(format!("{} running values, expected {ELEMENTS}", z.len()))
}

fn array<T, const N: usize>(items: Vec<T>) -> Result<[T; N], SynthesisError> {
    let count = items.len();
    let wrong = |_| SynthesisError::IncompatibleLengthVector(format!("{count} words, expected {N}"));
    items.try_into().map_err(wrong)
}

/// The value of the low 128 bits: all of them in what an honest prover has.
fn value(element: Scalar) -> Option<u128> {
    let bytes = element.to_repr();
    bytes.as_ref().first_chunk().map(|low: &[u8; 16]| u128::from_le_bytes(*low))
}

fn value_of(number: &AllocatedNum<Scalar>) -> Option<u128> {
    number.get_value().and_then(value)
}

/// New bits, the lowest first, each constrained to be one.
fn bits<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    count: usize,
    value: Option<u128>,
) -> Result<Vec<Boolean>, SynthesisError> {
    let bit = |index: usize| {
        let bit = value.map(|value| value >> index & 1 == 1);
        Ok(AllocatedBit::alloc(cs.namespace(|| index.to_string()), bit)?.into())
    };
    (0..count).map(bit).collect()
}

/// The number that these bits are, the lowest first.
fn sum<CS: ConstraintSystem<Scalar>>(bits: &[Boolean]) -> Num<Scalar> {
    let add = |(sum, weight): (Num<Scalar>, Scalar), bit: &Boolean| {
        (sum.add_bool_with_coeff(CS::one(), bit, weight), weight.double())
    };
    bits.iter().fold((Num::zero(), Scalar::ONE), add).0
}

fn word(bits: &[Boolean]) -> UInt32 {
    let bits: Vec<Boolean> = bits.iter().rev().cloned().collect();
    UInt32::from_bits_be(&bits)
}

fn words(bits: &[Boolean]) -> impl Iterator<Item = UInt32> {
    bits.chunks_exact(32).map(word)
}

fn power_of_two(exponent: u32) -> Scalar {
    (0..exponent).fold(Scalar::ONE, |power, _| power.double())
}

/// `when` if the condition, a bit, is 1, else `otherwise`.
fn choose<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    condition: &Num<Scalar>,
    when: &Num<Scalar>,
    otherwise: &Num<Scalar>,
) -> Result<AllocatedNum<Scalar>, SynthesisError> {
    let chosen = AllocatedNum::alloc(cs.namespace(|| "chosen"), || {
        let value = |number: &Num<Scalar>| number.get_value().ok_or(SynthesisError::AssignmentMissing);
        let (condition, when, otherwise) = (value(condition)?, value(when)?, value(otherwise)?);
        Ok(otherwise + condition * (when - otherwise))
    })?;
    cs.enforce(
        || "condition * (when - otherwise) = chosen - otherwise",
        |lc| lc + &condition.lc(Scalar::ONE),
        |lc| lc + &when.lc(Scalar::ONE) - &otherwise.lc(Scalar::ONE),
        |lc| lc + chosen.get_variable() - &otherwise.lc(Scalar::ONE),
    );
    Ok(chosen)
}
