//! The circuit of two leaves, around a leaf circuit that is small, so that its proofs cost nothing: the aggregate
//! knows of its leaves nothing but their key and their four public inputs.

use std::sync::OnceLock;

use ark_bls12_377::{Bls12_377, Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use ark_groth16::{Proof, ProvingKey};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use proofyard_groth16::aggregate::{AggregateCircuit, Leaf};
use proofyard_groth16::packing::{LEAF_PIECE_BYTES, LEAF_PIECES, public_inputs};
use proofyard_groth16::system::{Circuit, LeafSystem, System};
use proofyard_statement::{BlockValues, RangeValues};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::constraints::Constraints;

/// Four public inputs, each bound to a witness: it proves whatever is claimed.
struct SmallLeaf(Vec<Fr>);

impl ConstraintSynthesizer<Fr> for SmallLeaf {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        for value in self.0 {
            let input = system.new_input_variable(|| Ok(value))?;
            let witness = system.new_witness_variable(|| Ok(value))?;
            system.enforce_r1cs_constraint(
                || witness.into(),
                || Variable::One.into(),
                || LinearCombination::from(input),
            )?;
            let square = system.new_witness_variable(|| Ok(value * value))?;
            system.enforce_r1cs_constraint(|| witness.into(), || witness.into(), || square.into())?;
        }
        Ok(())
    }
}

fn small_key(seed: u8) -> ProvingKey<Bls12_377> {
    let mut randomness = ChaCha20Rng::from_seed([seed; 32]);
    LeafSystem::make_key(Circuit::new(SmallLeaf(vec![Fr::ONE; LEAF_PIECES])), &mut randomness).unwrap()
}

fn key() -> &'static ProvingKey<Bls12_377> {
    static KEY: OnceLock<ProvingKey<Bls12_377>> = OnceLock::new();
    KEY.get_or_init(|| small_key(1))
}

fn values(height: u64) -> BlockValues {
    let state = |height: u64| [height as u8 | 0x80; 32];
    BlockValues {
        chain_id: 0xfedc_ba98_7654_3210,
        height,
        pre: state(height.wrapping_sub(1)),
        post: state(height),
        transactions: [height as u8; 32],
    }
}

fn leaf_under(key: &ProvingKey<Bls12_377>, values: BlockValues) -> Leaf {
    let inputs = public_inputs(&values.to_bytes(), LEAF_PIECE_BYTES);
    Leaf { values, proof: LeafSystem::prove(key, Circuit::new(SmallLeaf(inputs))).unwrap() }
}

fn leaf(values: BlockValues) -> Leaf {
    leaf_under(key(), values)
}

fn circuit_of(leaves: [Leaf; 2]) -> AggregateCircuit {
    let (first, last) = (RangeValues::from(leaves[0].values.clone()), &leaves[1].values);
    let range = RangeValues { to: last.height, post: last.post, ..first };
    AggregateCircuit { leaf_key: key().vk.clone(), range, leaves }
}

fn right() -> &'static AggregateCircuit {
    static RIGHT: OnceLock<AggregateCircuit> = OnceLock::new();
    RIGHT.get_or_init(|| circuit_of([leaf(values(255)), leaf(values(256))]))
}

fn broken(circuit: AggregateCircuit) -> usize {
    Constraints::of(circuit).unwrap().broken()
}

/// How many constraints break for the leaves of these values, whatever range is claimed.
fn broken_for(first: BlockValues, second: BlockValues) -> usize {
    Constraints::of(circuit_of([leaf(first), leaf(second)])).unwrap().broken_for_any_claim()
}

/// The coordinates of the pairing's value, each compared with what it must be.
const PAIRING: usize = 12;

#[test]
fn blocks_that_follow_each_other_satisfy_it() {
    let constraints = Constraints::of(right().clone()).unwrap();
    assert_eq!(constraints.broken(), 0);
    assert_eq!(constraints.unbound(), [0_usize; 0], "no variable is free");
    assert!(constraints.count() < 1 << 16, "{} would double the proof's domain", constraints.count());
}

#[test]
fn each_value_of_the_range_is_bound() {
    type Change = fn(&mut RangeValues);
    let changes: [(&str, Change); 5] = [
        ("chain id", |range| range.chain_id ^= 1),
        ("first height", |range| range.from ^= 1),
        ("last height", |range| range.to ^= 1 << 63),
        ("pre-state", |range| range.pre[0] ^= 1),
        ("post-state", |range| range.post[31] ^= 0x80),
    ];
    for (what, change) in changes {
        let mut changed = right().clone();
        change(&mut changed.range);
        assert_eq!(broken(changed), 1, "{what}");
    }
}

#[test]
fn leaves_must_follow_each_other() {
    let (one, two) = (values(255), values(256));
    assert_eq!(broken_for(one.clone(), two.clone()), 0);
    assert_eq!(broken_for(two.clone(), one.clone()), 2, "swapped: neither heights nor states follow");
    assert_eq!(broken_for(one.clone(), BlockValues { height: 257, ..two.clone() }), 1, "a gap");
    assert_eq!(broken_for(one.clone(), BlockValues { height: 255, ..two.clone() }), 1, "the same height");
    let shifted = BlockValues { height: two.height << 8, ..two.clone() };
    assert_eq!(
        broken_for(BlockValues { height: 1, ..one.clone() }, shifted),
        1,
        "bytes of the height swapped"
    );
    assert_eq!(broken_for(one.clone(), BlockValues { chain_id: 5, ..two.clone() }), 1, "another chain");
    let mut other = two.clone();
    other.pre[31] ^= 0x80;
    assert_eq!(broken_for(one.clone(), other), 1, "another state");
    let last = BlockValues { height: u64::MAX, ..one };
    assert_eq!(broken_for(last, BlockValues { height: 0, ..two }), 1, "past the last height");
}

#[test]
fn leaves_must_hold() {
    // Each of the leaf's values, also those that the aggregate does not otherwise look at.
    let changes: [fn(&mut BlockValues); 2] =
        [|values| values.transactions[31] ^= 0x80, |values| values.transactions[0] ^= 1];
    for change in changes {
        let mut changed = right().clone();
        change(&mut changed.leaves[0].values);
        assert_eq!(broken(changed), PAIRING);
    }
    let mut swapped = right().clone();
    let [one, two] = &mut swapped.leaves;
    std::mem::swap(&mut one.proof, &mut two.proof);
    assert_eq!(broken(swapped), 2 * PAIRING);
    let other_key = small_key(2);
    let mut under_other = right().clone();
    under_other.leaves[1] = leaf_under(&other_key, right().leaves[1].values.clone());
    assert_eq!(broken(under_other.clone()), PAIRING, "a true proof, under another key");
    under_other.leaf_key = other_key.vk;
    assert_eq!(broken(under_other), PAIRING, "then it is the other leaf that is under another key");
}

/// A point on the curve that is not in the group of prime order, and neither is any multiple of it but infinity.
pub fn stray<C: SWCurveConfig>(from: impl Fn(u64) -> C::BaseField) -> Affine<C> {
    let on_curve = (1..).find_map(|x| Affine::<C>::get_point_from_x_unchecked(from(x), false)).unwrap();
    let order = <C::ScalarField as PrimeField>::MODULUS.to_bytes_le();
    let limbs: Vec<u64> =
        order.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect();
    let stray = C::mul_affine(&on_curve, &limbs);
    assert_ne!(stray, ark_ec::short_weierstrass::Projective::ZERO);
    stray.into()
}

fn with_proof(change: impl FnOnce(&mut Proof<Bls12_377>)) -> AggregateCircuit {
    let mut changed = right().clone();
    change(&mut changed.leaves[1].proof);
    changed
}

/// The pairing's shortened loop is none outside of the group, so that this alone keeps invented points out.
#[test]
fn the_second_point_is_in_its_group() {
    let stray: G2Affine = stray(|x| Fq2::new(Fq::from(x), Fq::ONE));
    let attack = with_proof(|proof| proof.b = (proof.b + stray).into());
    assert_eq!(broken(attack), PAIRING + 4, "both coordinates of both its images differ");
}

/// A part outside of the group vanishes from the pairing: nothing is proved that the part inside does not prove.
#[test]
fn the_first_and_third_point_count_by_their_part_in_the_group() {
    let stray: G1Affine = stray(Fq::from);
    assert_eq!(broken(with_proof(|proof| proof.a = (proof.a + stray).into())), 0);
    assert_eq!(broken(with_proof(|proof| proof.c = (proof.c + stray).into())), 0);
    assert_eq!(broken(with_proof(|proof| proof.a = stray)), PAIRING);
}

#[test]
fn points_are_on_their_curves() {
    let off = |point: &mut G1Affine| point.y += Fq::ONE;
    assert_eq!(broken(with_proof(|proof| off(&mut proof.a))), PAIRING + 1);
    assert_eq!(broken(with_proof(|proof| off(&mut proof.c))), PAIRING + 1);
    let broken_b = broken(with_proof(|proof| proof.b.y.c0 += Fq::ONE));
    assert!(broken_b > PAIRING + 4, "{broken_b}: the curve's equation, too");
    // Infinity has no coordinates; zeros are written in their place, which are not on the curve.
    assert!(broken(with_proof(|proof| proof.a = G1Affine::zero())) > PAIRING);
    assert!(broken(with_proof(|proof| proof.c = G1Affine::zero())) > PAIRING);
    assert!(broken(with_proof(|proof| proof.b = G2Affine::zero())) > PAIRING);
}
