//! Bits and 32-bit words in a rank-1 constraint system, no larger than BLAKE3 needs them.
//!
//! A bit is a constant or a variable that is constrained to 0 or 1, perhaps inverted: inverting, rotating and
//! anything done to constants cost nothing. An exclusive or costs one constraint, an addition modulo 2^32 one for
//! each bit of its result. Every bit carries its value, so that a circuit is written once for setup and for proving.

use std::array;

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSystemRef, LinearCombination, SynthesisError, Variable};

/// A bit in the constraint system.
#[derive(Debug, Clone, Copy)]
pub enum Bit {
    Constant(bool),
    /// The bit is the variable, or 1 minus it where it is inverted. `value` is that of the variable.
    Variable {
        variable: Variable,
        value: bool,
        inverted: bool,
    },
}

/// 32 bits, the least significant first.
#[derive(Debug, Clone, Copy)]
pub struct Word(pub [Bit; 32]);

/// What words are added as: a linear combination, with its value as an integer.
#[derive(Debug, Clone)]
pub struct Number<F: PrimeField> {
    pub terms: LinearCombination<F>,
    pub value: u64,
}

impl Bit {
    /// A new variable that can be 0 or 1 only.
    pub fn allocate<F: PrimeField>(
        system: &ConstraintSystemRef<F>,
        value: bool,
    ) -> Result<Self, SynthesisError> {
        let variable = system.new_witness_variable(|| Ok(F::from(value)))?;
        let minus_one = LinearCombination(vec![(-F::ONE, Variable::One), (F::ONE, variable)]);
        system.enforce_r1cs_constraint(|| variable.into(), || minus_one, LinearCombination::zero)?;
        Ok(Self::Variable { variable, value, inverted: false })
    }

    pub fn value(self) -> bool {
        match self {
            Self::Constant(value) => value,
            Self::Variable { value, inverted, .. } => value ^ inverted,
        }
    }

    pub fn inverted(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Variable { variable, value, inverted } => {
                Self::Variable { variable, value, inverted: !inverted }
            }
        }
    }

    /// The exclusive or. The second bit's variable goes to the constraint's second factor: a variable that never
    /// stands there costs nothing in the larger of the curve's two groups, so it should be one that does anyway.
    pub fn xor<F: PrimeField>(
        self,
        other: Self,
        system: &ConstraintSystemRef<F>,
    ) -> Result<Self, SynthesisError> {
        let (one, two, inverted) = match (self, other) {
            (Self::Constant(value), bit) | (bit, Self::Constant(value)) => {
                return Ok(if value { bit.inverted() } else { bit });
            }
            (
                Self::Variable { variable: one, value: one_value, inverted: one_inverted },
                Self::Variable { variable: two, value: two_value, inverted: two_inverted },
            ) => ((one, one_value), (two, two_value), one_inverted ^ two_inverted),
        };
        let value = one.1 ^ two.1;
        let result = system.new_witness_variable(|| Ok(F::from(value)))?;
        // 2 * one * two = one + two - result leaves the one result that is the exclusive or, a bit.
        let sum = LinearCombination(vec![(F::ONE, one.0), (F::ONE, two.0), (-F::ONE, result)]);
        system.enforce_r1cs_constraint(|| (F::from(2_u64), one.0).into(), || two.0.into(), || sum)?;
        Ok(Self::Variable { variable: result, value, inverted })
    }

    /// Adds `weight` times this bit to a linear combination.
    pub fn add_to<F: PrimeField>(self, terms: &mut LinearCombination<F>, weight: F) {
        match self {
            Self::Constant(false) => {}
            Self::Constant(true) => terms.push((weight, Variable::One)),
            Self::Variable { variable, inverted: false, .. } => terms.push((weight, variable)),
            Self::Variable { variable, inverted: true, .. } => {
                terms.push((weight, Variable::One));
                terms.push((-weight, variable));
            }
        }
    }
}

/// The number that these bits are, the least significant first, as a linear combination.
pub fn weighted<F: PrimeField>(bits: impl IntoIterator<Item = Bit>) -> LinearCombination<F> {
    let mut terms = LinearCombination::zero();
    let mut weight = F::ONE;
    for bit in bits {
        bit.add_to(&mut terms, weight);
        weight.double_in_place();
    }
    terms.compactify();
    terms
}

/// The bits of a number whose bytes are big-endian, the least significant first; of each byte its least comes first.
pub fn big_endian(bits: &[Bit]) -> impl Iterator<Item = Bit> {
    bits.chunks(8).rev().flatten().copied()
}

/// The number that these bits are, as an element.
pub fn value_of<F: PrimeField>(bits: &[Bit]) -> F {
    bits.iter().rev().fold(F::ZERO, |value, bit| value.double() + F::from(bit.value()))
}

/// Constrains a linear combination to 0.
pub fn enforce_zero<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    terms: LinearCombination<F>,
) -> Result<(), SynthesisError> {
    system.enforce_r1cs_constraint(|| terms, || Variable::One.into(), LinearCombination::zero)
}

impl Word {
    pub const ZERO: Self = Self::constant(0);

    pub const fn constant(value: u32) -> Self {
        let mut bits = [Bit::Constant(false); 32];
        let mut index = 0;
        while index < 32 {
            bits[index] = Bit::Constant(value >> index & 1 == 1);
            index += 1;
        }
        Self(bits)
    }

    pub fn allocate<F: PrimeField>(
        system: &ConstraintSystemRef<F>,
        value: u32,
    ) -> Result<Self, SynthesisError> {
        let mut bits = [Bit::Constant(false); 32];
        for (index, bit) in bits.iter_mut().enumerate() {
            *bit = Bit::allocate(system, value >> index & 1 == 1)?;
        }
        Ok(Self(bits))
    }

    pub fn value(&self) -> u32 {
        self.0.iter().rev().fold(0, |value, bit| value << 1 | u32::from(bit.value()))
    }

    pub fn rotate_right(&self, by: usize) -> Self {
        Self(array::from_fn(|index| self.0[(index + by) % 32]))
    }

    /// See [`Bit::xor`] for which word should be the second.
    pub fn xor<F: PrimeField>(
        &self,
        other: &Self,
        system: &ConstraintSystemRef<F>,
    ) -> Result<Self, SynthesisError> {
        let mut bits = self.0;
        for (bit, other) in bits.iter_mut().zip(other.0) {
            *bit = bit.xor(other, system)?;
        }
        Ok(Self(bits))
    }

    /// The sum of these numbers, below 2^32 each, modulo 2^32.
    pub fn sum<F: PrimeField>(
        system: &ConstraintSystemRef<F>,
        numbers: &[&Number<F>],
    ) -> Result<Self, SynthesisError> {
        let value = numbers.iter().fold(0, |sum: u64, number| sum.wrapping_add(number.value));
        let sum = Self::allocate(system, value as u32)?;
        let mut bits = sum.0.to_vec();
        // The carry is below the count of numbers. One constraint for all bits together is enough: neither side
        // comes near the field's size, so that it holds for integers.
        for index in 0..numbers.len().next_power_of_two().trailing_zeros() {
            bits.push(Bit::allocate(system, value >> (32 + index) & 1 == 1)?);
        }
        let mut difference: LinearCombination<F> = weighted(bits);
        difference.negate_in_place();
        for number in numbers {
            difference.extend_from_slice(&number.terms);
        }
        difference.compactify();
        enforce_zero(system, difference)?;
        Ok(sum)
    }
}

impl<F: PrimeField> From<&Word> for Number<F> {
    fn from(word: &Word) -> Self {
        Self { terms: weighted(word.0), value: word.value().into() }
    }
}
