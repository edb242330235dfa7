//! Checking a leaf's proof inside the aggregate's circuit: BLS12-377's pairing over BW6-761's scalars.
//!
//! The leaf's verifying key is constant here. Of the proof's three points, all are constrained to the curve and cannot
//! be the point at infinity, which has no coordinates here. Beyond that
//!
//! - **B must be in its group of prime order**: the pairing's shortened loop is a pairing only there. The loop computes
//!   \[x\]B for the curve's parameter x on its way, and B is in the group exactly if that is what the endomorphism
//!   psi (untwist, Frobenius, twist) makes of B: then psi's characteristic equation leaves B an order that divides
//!   h1 r, it divides h2 r as everything does there, and the two cofactors h1 and h2 have no common factor.
//! - **A and C need not be**: for a second argument in its group the pairing is a homomorphism on the whole of the
//!   first curve, and a part outside of the prime order, whose order has no factor in common with r, vanishes. If such
//!   points pass, then so would their parts inside the group.
//!
//! No formula here is left to exceptions: each slope's denominator is constrained to have an inverse. The library's own
//! gadgets are used for the fields and for the pairing, but not for allocating points: version 0.6 does not enforce
//! what it means to for the second group (it compares a point with itself: arkworks-rs/r1cs-std#199).

use ark_bls12_377::constraints::{Fq2Var, FqVar, G1PreparedVar, G2PreparedVar, PairingVar};
use ark_bls12_377::{Bls12_377, Config, Fq, Fq6Config, Fq12, G1Affine, G1Projective, G2Affine};
use ark_ec::bls12::{Bls12Config, G1Prepared, G2Prepared};
use ark_ec::pairing::Pairing;
use ark_ec::short_weierstrass::SWCurveConfig;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, BitIteratorBE, Field, Fp6Config, PrimeField};
use ark_groth16::{Proof, VerifyingKey};
use ark_r1cs_std::GR1CSVar;
use ark_r1cs_std::alloc::AllocVar;
use ark_r1cs_std::eq::EqGadget;
use ark_r1cs_std::fields::FieldVar;
use ark_r1cs_std::fields::fp::{AllocatedFp, FpVar};
use ark_r1cs_std::fields::fp12::Fp12Var;
use ark_r1cs_std::pairing::PairingVar as _;
use ark_relations::gr1cs::{ConstraintSystemRef, LinearCombination, SynthesisError, Variable};

use crate::bits::{Bit, weighted};

type System = ConstraintSystemRef<Fq>;

/// A point of the first group's curve that is not at infinity.
#[derive(Clone)]
struct G1Point {
    x: FqVar,
    y: FqVar,
}

/// A point of the second group's curve that is not at infinity.
#[derive(Clone)]
struct G2Point {
    x: Fq2Var,
    y: Fq2Var,
}

/// Constrains a proof to be valid for these public inputs, each given as bits, the least significant first.
pub fn enforce_valid(
    system: &System,
    key: &VerifyingKey<Bls12_377>,
    inputs: &[&[Bit]],
    proof: &Proof<Bls12_377>,
) -> Result<(), SynthesisError> {
    if key.gamma_abc_g1.len() != inputs.len() + 1 {
        return Err(SynthesisError::Unsatisfiable);
    }
    let a = G1Point::allocate(system, proof.a)?;
    let b = G2Point::allocate(system, proof.b)?;
    let c = G1Point::allocate(system, proof.c)?;
    let folded = fold_inputs(system, key, inputs)?;

    let loop_value = PairingVar::miller_loop(
        &[a.prepared()?, folded.prepared()?, c.prepared()?],
        &[b.lines_inside_group(system)?, constant_lines(-key.gamma_g2)?, constant_lines(-key.delta_g2)?],
    )?;
    let paired = PairingVar::final_exponentiation(&loop_value)?;
    let expected: Fq12 = Bls12_377::pairing(key.alpha_g1, key.beta_g2).0;
    paired.enforce_equal(&Fp12Var::constant(expected))
}

fn constant_lines(point: G2Affine) -> Result<G2PreparedVar, SynthesisError> {
    G2PreparedVar::new_constant(ConstraintSystemRef::None, G2Prepared::from(point))
}

/// The key's combination of the public inputs: its first point, plus each input times the point for it.
///
/// Two bits at a time choose one of four multiples of a constant point. There is no multiple at infinity, since each
/// is one too many; the sum starts lower by all of these.
fn fold_inputs(
    system: &System,
    key: &VerifyingKey<Bls12_377>,
    inputs: &[&[Bit]],
) -> Result<G1Point, SynthesisError> {
    let [start, points @ ..] = key.gamma_abc_g1.as_slice() else {
        return Err(SynthesisError::Unsatisfiable);
    };
    let mut surplus = G1Projective::ZERO;
    let mut choices = Vec::new();
    for (point, bits) in points.iter().zip(inputs) {
        let mut unit = point.into_group();
        for pair in bits.chunks(2) {
            surplus += unit;
            let multiples = [unit, unit.double(), unit.double() + unit, unit.double().double()];
            choices.push((pair, G1Projective::normalize_batch(&multiples)));
            unit = unit.double().double();
        }
    }
    let mut sum = G1Point::constant((start.into_group() - surplus).into_affine())?;
    for (pair, multiples) in choices {
        let high = pair.get(1).copied().unwrap_or(Bit::Constant(false));
        let chosen = G1Point::choose(system, pair[0], high, &multiples)?;
        sum = sum.add(system, &chosen)?;
    }
    Ok(sum)
}

impl G1Point {
    fn allocate(system: &System, point: G1Affine) -> Result<Self, SynthesisError> {
        let (x, y) = point.xy().unwrap_or_default();
        let x = FqVar::new_witness(system.clone(), || Ok(x))?;
        let y = FqVar::new_witness(system.clone(), || Ok(y))?;
        let right = &x * x.square()? + <Config as Bls12Config>::G1Config::COEFF_B;
        y.square_equals(&right)?;
        Ok(Self { x, y })
    }

    fn constant(point: G1Affine) -> Result<Self, SynthesisError> {
        let (x, y) = point.xy().ok_or(SynthesisError::Unsatisfiable)?;
        Ok(Self { x: FqVar::constant(x), y: FqVar::constant(y) })
    }

    /// One of four constant points, by two bits; the product of the bits is all that costs a constraint.
    fn choose(system: &System, low: Bit, high: Bit, points: &[G1Affine]) -> Result<Self, SynthesisError> {
        let [p0, p1, p2, p3] = points else { return Err(SynthesisError::Unsatisfiable) };
        let both = low.value() && high.value();
        let product = system.new_witness_variable(|| Ok(Fq::from(both)))?;
        let (low_terms, high_terms) = (weighted([low]), weighted([high]));
        system.enforce_r1cs_constraint(|| low_terms, || high_terms, || product.into())?;
        let coordinate = |of: fn(&G1Affine) -> Fq| {
            let (zero, by_low, by_high) = (of(p0), of(p1) - of(p0), of(p2) - of(p0));
            let by_both = of(p3) - of(p2) - by_low;
            let mut terms = LinearCombination(vec![(zero, Variable::One), (by_both, product)]);
            low.add_to(&mut terms, by_low);
            high.add_to(&mut terms, by_high);
            terms.compactify();
            let value = of(match (high.value(), low.value()) {
                (false, false) => p0,
                (false, true) => p1,
                (true, false) => p2,
                (true, true) => p3,
            });
            let variable = system.new_lc(|| terms)?;
            Ok(FpVar::Var(AllocatedFp::new(Some(value), variable, system.clone())))
        };
        Ok(Self { x: coordinate(|point| point.x)?, y: coordinate(|point| point.y)? })
    }

    /// The sum of two points that are neither equal nor opposite, which is constrained.
    fn add(&self, system: &System, other: &Self) -> Result<Self, SynthesisError> {
        let slope = (&other.y - &self.y) * (&other.x - &self.x).inverse()?;
        // The coordinates get variables of their own, which the two products are constrained to: as sums of what came
        // before they would cost no more constraints, but grow longer from one addition to the next.
        let x = FqVar::new_witness(system.clone(), || {
            Ok(slope.value()?.square() - self.x.value()? - other.x.value()?)
        })?;
        slope.square_equals(&(&x + &self.x + &other.x))?;
        let change = &self.x - &x;
        let y =
            FqVar::new_witness(system.clone(), || Ok(slope.value()? * change.value()? - self.y.value()?))?;
        slope.mul_equals(&change, &(&y + &self.y))?;
        Ok(Self { x, y })
    }

    fn prepared(&self) -> Result<G1PreparedVar, SynthesisError> {
        // The library makes such a point from values only; what is not at infinity there stays so.
        let any = G1Prepared::from(G1Affine::from(G1Projective::generator()));
        let mut prepared = G1PreparedVar::new_constant(ConstraintSystemRef::None, any)?;
        prepared.0.x = self.x.clone();
        prepared.0.y = self.y.clone();
        Ok(prepared)
    }
}

impl G2Point {
    fn allocate(system: &System, point: G2Affine) -> Result<Self, SynthesisError> {
        let (x, y) = point.xy().unwrap_or_default();
        let x = Fq2Var::new_witness(system.clone(), || Ok(x))?;
        let y = Fq2Var::new_witness(system.clone(), || Ok(y))?;
        let right = &x * x.square()? + <Config as Bls12Config>::G2Config::COEFF_B;
        y.square()?.enforce_equal(&right)?;
        Ok(Self { x, y })
    }

    /// The lines of the pairing's loop, which multiplies the point by the curve's parameter; constrains the point to
    /// the group of prime order by what that comes to.
    fn lines_inside_group(&self, system: &System) -> Result<G2PreparedVar, SynthesisError> {
        let mut multiple = self.clone();
        let mut ell_coeffs = Vec::new();
        for bit in BitIteratorBE::without_leading_zeros(Config::X).skip(1) {
            ell_coeffs.push(multiple.double(system)?);
            if bit {
                ell_coeffs.push(multiple.add(system, self)?);
            }
        }
        let image = self.endomorphism()?;
        multiple.x.enforce_equal(&image.x)?;
        multiple.y.enforce_equal(&image.y)?;
        Ok(G2PreparedVar { ell_coeffs })
    }

    /// psi: (x, y) to (u^((q - 1) / 3) x^q, u^((q - 1) / 2) y^q), where u is what the second curve is twisted by.
    fn endomorphism(&self) -> Result<Self, SynthesisError> {
        let third = <Fq6Config as Fp6Config>::FROBENIUS_COEFF_FP6_C1[1];
        let half = <Fq6Config as Fp6Config>::NONRESIDUE.pow(Fq::MODULUS_MINUS_ONE_DIV_TWO);
        Ok(Self { x: self.x.frobenius_map(1)? * third, y: self.y.frobenius_map(1)? * half })
    }

    /// Doubles the point; returns the tangent.
    fn double(&mut self, system: &System) -> Result<(Fq2Var, Fq2Var), SynthesisError> {
        let square = self.x.square()?;
        let slope = (square.double()? + &square) * self.y.double()?.inverse()?;
        let other_x = self.x.clone();
        self.step(system, slope, &other_x)
    }

    /// Adds a point that is neither equal nor opposite, which is constrained; returns the line through both.
    fn add(&mut self, system: &System, other: &Self) -> Result<(Fq2Var, Fq2Var), SynthesisError> {
        let slope = (&other.y - &self.y) * (&other.x - &self.x).inverse()?;
        self.step(system, slope, &other.x)
    }

    /// Goes on to the third point of the line with this slope through this point and one of this x, mirrored.
    fn step(
        &mut self,
        system: &System,
        slope: Fq2Var,
        other_x: &Fq2Var,
    ) -> Result<(Fq2Var, Fq2Var), SynthesisError> {
        let offset = &slope * &self.x - &self.y;
        // As in the other group: variables, so that sums stay short.
        let x = Fq2Var::new_witness(system.clone(), || {
            Ok(slope.value()?.square() - self.x.value()? - other_x.value()?)
        })?;
        slope.mul_equals(&slope, &(&x + &self.x + other_x))?;
        let change = &self.x - &x;
        let y =
            Fq2Var::new_witness(system.clone(), || Ok(slope.value()? * change.value()? - self.y.value()?))?;
        slope.mul_equals(&change, &(&y + &self.y))?;
        (self.x, self.y) = (x, y);
        Ok((slope.negate()?, offset))
    }
}
