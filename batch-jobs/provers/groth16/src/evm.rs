//! A proof over BN254 as the EVM's precompiles read it, so that its bytes go into a contract as they are.
//!
//! Eight coordinates of 32 bytes, big-endian: A, B, C. Of B's, which are pairs, the imaginary part comes first. Each is
//! below the field's modulus, so that it has one form only. The point at infinity is two zeros, which are on no curve here.

use ark_bn254::{Bn254, Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ff::{AdditiveGroup, BigInteger, PrimeField};
use ark_groth16::Proof;

pub const COORDINATE_BYTES: usize = 32;
pub const COORDINATES: usize = 8;

pub fn proof_to_bytes(proof: &Proof<Bn254>) -> Vec<u8> {
    [first_group(proof.a).as_slice(), &second_group(proof.b), &first_group(proof.c)].concat().concat()
}

/// The proof that these bytes are; each point is checked to be in its group.
pub fn proof_from_bytes(bytes: &[u8]) -> Result<Proof<Bn254>, String> {
    let (coordinates, rest) = bytes.as_chunks::<COORDINATE_BYTES>();
    let ([a_x, a_y, b_x1, b_x0, b_y1, b_y0, c_x, c_y], []) = (coordinates, rest) else {
        let expected = COORDINATES * COORDINATE_BYTES;
        return Err(format!("it has {} bytes, expected {expected}", bytes.len()));
    };
    let a = point::<ark_bn254::g1::Config>("A", element(a_x)?, element(a_y)?)?;
    let (b_x, b_y) = (Fq2::new(element(b_x0)?, element(b_x1)?), Fq2::new(element(b_y0)?, element(b_y1)?));
    let b = point::<ark_bn254::g2::Config>("B", b_x, b_y)?;
    let c = point::<ark_bn254::g1::Config>("C", element(c_x)?, element(c_y)?)?;
    Ok(Proof { a, b, c })
}

/// A point's coordinates.
pub fn first_group(point: G1Affine) -> [[u8; COORDINATE_BYTES]; 2] {
    let (x, y) = point.xy().unwrap_or_default();
    [x, y].map(to_bytes)
}

pub fn second_group(point: G2Affine) -> [[u8; COORDINATE_BYTES]; 4] {
    let (x, y) = point.xy().unwrap_or_default();
    [x.c1, x.c0, y.c1, y.c0].map(to_bytes)
}

pub fn to_bytes(element: impl PrimeField) -> [u8; COORDINATE_BYTES] {
    let mut bytes = [0; COORDINATE_BYTES];
    for (byte, value) in bytes.iter_mut().rev().zip(element.into_bigint().to_bytes_le()) {
        *byte = value;
    }
    bytes
}

fn element(bytes: &[u8; COORDINATE_BYTES]) -> Result<Fq, String> {
    let element = Fq::from_be_bytes_mod_order(bytes);
    if to_bytes(element) == *bytes {
        return Ok(element);
    }
    Err("a coordinate of it is not below the field's modulus".into())
}

fn point<C: SWCurveConfig>(name: &str, x: C::BaseField, y: C::BaseField) -> Result<Affine<C>, String> {
    if x == C::BaseField::ZERO && y == C::BaseField::ZERO {
        return Ok(Affine::identity());
    }
    let point = Affine::<C>::new_unchecked(x, y);
    if point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve() {
        return Ok(point);
    }
    Err(format!("its point {name} is not in its group"))
}
