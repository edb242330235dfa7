//! The step circuit's constraints: [`super::step`] says what they must amount to.
//!
//! The order of allocations and constraints is part of the circuit: another order is another verification key.

use ff::{Field, PrimeField};
use nova_snark::frontend::gadgets::uint32::UInt32;
use nova_snark::frontend::num::{AllocatedNum, Num};
use nova_snark::frontend::{AllocatedBit, Boolean, ConstraintSystem, SynthesisError};
use nova_snark::traits::circuit::StepCircuit;

use crate::keyed::compress;
use crate::step::{ELEMENTS, Scalar, Step, halves};

/// The low and the high half of 32 bytes.
type Halves<'a> = [&'a AllocatedNum<Scalar>; 2];

/// The running values `z`.
struct Running<'a> {
    keeps: &'a AllocatedNum<Scalar>,
    chain: &'a AllocatedNum<Scalar>,
    height: &'a AllocatedNum<Scalar>,
    alone: &'a AllocatedNum<Scalar>,
    state: Halves<'a>,
    digest: Halves<'a>,
    closed: Halves<'a>,
}

impl<'a> Running<'a> {
    fn of(z: &'a [AllocatedNum<Scalar>]) -> Result<Self, SynthesisError> {
        let [
            keeps,
            chain,
            height,
            alone,
            state_low,
            state_high,
            digest_low,
            digest_high,
            closed_low,
            closed_high,
        ] = z
        else {
            return Err(wrong_length(z));
        };
        let (state, digest, closed) =
            ([state_low, state_high], [digest_low, digest_high], [closed_low, closed_high]);
        Ok(Self { keeps, chain, height, alone, state, digest, closed })
    }
}

/// What the prover has chosen for this step.
struct Choice {
    /// The step closes the block; otherwise it absorbs transactions.
    closes: AllocatedBit,
    /// It absorbs two transactions.
    pair: AllocatedBit,
    /// It absorbs one transaction: the next value of `alone`.
    next_alone: AllocatedNum<Scalar>,
}

/// The block that follows if this step closes one.
struct Following {
    height: Num<Scalar>,
    /// The halves of its `start` digest.
    start: [Num<Scalar>; 2],
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
        let z = Running::of(z)?;
        let choice = self.choice(cs, &z)?;
        let key = self.key(cs, &z, &choice)?;
        let message = self.message(cs, &z, &choice)?;
        let hashed = compress(cs.namespace(|| "keyed"), &key, message, message_bytes(&choice))?;
        let hashed: Vec<Boolean> =
            hashed.into_iter().flat_map(|word| word.into_bits_be().into_iter().rev()).collect();
        let (low, high) = hashed.split_at(128);
        let hashed = [sum::<CS>(low), sum::<CS>(high)];
        let following = following_block(cs, &z)?;
        next_values(cs, &z, choice, &hashed, &following)
    }
}

impl Step {
    fn choice<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        z: &Running<'_>,
    ) -> Result<Choice, SynthesisError> {
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
            |lc| lc + z.alone.get_variable(),
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
        Ok(Choice { closes, pair, next_alone })
    }

    /// The key of the hash: the state in a close, the digest otherwise.
    fn key<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        z: &Running<'_>,
        choice: &Choice,
    ) -> Result<[UInt32; 8], SynthesisError> {
        let mut key = Vec::new();
        for (name, state, digest) in [("low", z.state[0], z.digest[0]), ("high", z.state[1], z.digest[1])] {
            let mut cs = cs.namespace(|| format!("{name} key"));
            let from = if *self == Step::Close { state } else { digest };
            let bits = bits(cs.namespace(|| "bits"), 128, value_of(from))?;
            let sum = sum::<CS>(&bits);
            cs.enforce(
                || "is the state's or the digest's",
                |lc| lc + choice.closes.get_variable(),
                |lc| lc + state.get_variable() - digest.get_variable(),
                |lc| lc + &sum.lc(Scalar::ONE) - digest.get_variable(),
            );
            key.extend(words(&bits));
        }
        array(key)
    }

    /// The message of the hash: the digest in a close, one or two transactions otherwise.
    fn message<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        z: &Running<'_>,
        choice: &Choice,
    ) -> Result<[UInt32; 16], SynthesisError> {
        let mut message = Vec::new();
        for (half, digest) in z.digest.into_iter().enumerate() {
            let mut cs = cs.namespace(|| format!("message quarter {half}"));
            let value = match self {
                Step::Absorb(first, _) => value(halves(first)[half]),
                Step::Close => value_of(digest),
            };
            let bits = bits(cs.namespace(|| "bits"), 128, value)?;
            let sum = sum::<CS>(&bits);
            cs.enforce(
                || "is the digest's in a close",
                |lc| lc + choice.closes.get_variable(),
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
                |lc| lc + CS::one() - choice.pair.get_variable(),
                |lc| lc + &sum.lc(Scalar::ONE),
                |lc| lc,
            );
            message.extend(words(&bits));
        }
        array(message)
    }
}

/// The length of the message, 64 or 32: its one set bit is where the pair bit says.
fn message_bytes(choice: &Choice) -> UInt32 {
    let pair = Boolean::from(choice.pair.clone());
    let mut bits = vec![Boolean::constant(false); 32];
    bits[5] = pair.not();
    bits[6] = pair;
    word(&bits)
}

/// The next height, of 64 bits, and the digest with which its block starts.
fn following_block<CS: ConstraintSystem<Scalar>>(
    cs: &mut CS,
    z: &Running<'_>,
) -> Result<Following, SynthesisError> {
    let one = CS::one();
    let following = value_of(z.height).and_then(|height| height.checked_add(1));
    let following = bits(cs.namespace(|| "following height"), 64, following)?;
    let height = sum::<CS>(&following);
    cs.enforce(
        || "following height is one more",
        |lc| lc + z.height.get_variable() + one,
        |lc| lc + one,
        |lc| lc + &height.lc(Scalar::ONE),
    );
    // A digest has the height big-endian, behind the chain id.
    let swapped: Vec<Boolean> = following.chunks(8).rev().flatten().cloned().collect();
    let place = Num::from(z.chain.clone()).add(&sum::<CS>(&swapped).scale(power_of_two(64)));
    Ok(Following { height, start: [place, Num::zero()] })
}

/// The next `z`: by the choice, of a step that closes or of one that absorbs.
fn next_values<CS: ConstraintSystem<Scalar>>(
    cs: &mut CS,
    z: &Running<'_>,
    choice: Choice,
    hashed: &[Num<Scalar>; 2],
    following: &Following,
) -> Result<Vec<AllocatedNum<Scalar>>, SynthesisError> {
    let closes = Boolean::from(choice.closes);
    let closes = Num::<Scalar>::zero().add_bool_with_coeff(CS::one(), &closes, Scalar::ONE);
    let next_height =
        choose(cs.namespace(|| "next height"), &closes, &following.height, &z.height.clone().into())?;
    let mut next = vec![z.keeps.clone(), z.chain.clone(), next_height, choice.next_alone];
    for (name, state, hashed) in [("low", z.state[0], &hashed[0]), ("high", z.state[1], &hashed[1])] {
        let cs = cs.namespace(|| format!("next state {name}"));
        next.push(choose(cs, &closes, hashed, &state.clone().into())?);
    }
    let start = &following.start;
    for (name, start, hashed) in [("low", &start[0], &hashed[0]), ("high", &start[1], &hashed[1])] {
        let cs = cs.namespace(|| format!("next digest {name}"));
        next.push(choose(cs, &closes, start, hashed)?);
    }
    for (name, closed, digest) in [("low", z.closed[0], z.digest[0]), ("high", z.closed[1], z.digest[1])] {
        let mut cs = cs.namespace(|| format!("next closed {name}"));
        let kept = digest.mul(cs.namespace(|| "kept"), z.keeps)?;
        next.push(choose(cs.namespace(|| "choice"), &closes, &kept.into(), &closed.clone().into())?);
    }
    Ok(next)
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
