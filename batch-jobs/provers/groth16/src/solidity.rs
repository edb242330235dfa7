//! The contract that verifies a key's range proofs, as Solidity: one file that needs no other.

use ark_bn254::{Bn254, Fq};
use ark_ff::{BigInteger, PrimeField};
use ark_groth16::VerifyingKey;
use proofyard_statement::Error;

use crate::evm::{COORDINATE_BYTES, first_group, second_group};
use crate::keys::Key;
use crate::range::MAX_BLOCKS;
use crate::system::RangeSystem;

/// What a contract is called where no name is given.
pub const DEFAULT_NAME: &str = "RangeVerifier";

const TEMPLATE: &str = include_str!("verifier.sol.in");

const MAX_NAME_BYTES: usize = 100;

/// The contract of this name for this key.
pub fn contract(name: &str, key: &Key<RangeSystem>) -> Result<String, Error> {
    let word = |first: u8| first.is_ascii_alphabetic() || first == b'_';
    let is_name = name.bytes().next().is_some_and(word)
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|byte| word(byte) || byte.is_ascii_digit());
    if !is_name {
        let shown: String = name.chars().take(80).collect();
        return Err(Error::Key(format!(
            "{shown:?} is no contract's name: expected at most {MAX_NAME_BYTES} letters, digits and underscores, such as \
             {DEFAULT_NAME}"
        )));
    }
    let warning = if key.is_development() {
        ",\n// whose randomness is published: ANYONE CAN FORGE PROOFS that this contract accepts"
    } else {
        ""
    };
    Ok(TEMPLATE
        .replace("{key}", &key.name)
        .replace("{warning}", warning)
        .replace("{capacity}", &MAX_BLOCKS.to_string())
        .replace("{name}", name)
        .replace("{id}", &number(&key.id))
        .replace("{field}", &number(&Fq::MODULUS.to_bytes_be()))
        .replace("{constants}", &constants(&key.verifying.vk)))
}

/// The verifying key as constants. What the equation has on its other side is negated here, so that it is not there.
fn constants(key: &VerifyingKey<Bn254>) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, values: &[[u8; COORDINATE_BYTES]], coordinates: &[&str]| {
        for (value, coordinate) in values.iter().zip(coordinates) {
            lines.push(format!("    uint256 private constant {name}_{coordinate} = {};", number(value)));
        }
    };
    let first = ["X", "Y"];
    let second = ["X1", "X0", "Y1", "Y0"];
    add("MINUS_ALPHA", &first_group(-key.alpha_g1), &first);
    add("BETA", &second_group(key.beta_g2), &second);
    add("MINUS_GAMMA", &second_group(-key.gamma_g2), &second);
    add("MINUS_DELTA", &second_group(-key.delta_g2), &second);
    for (index, point) in key.gamma_abc_g1.iter().enumerate() {
        add(&format!("INPUT_{index}"), &first_group(*point), &first);
    }
    lines.join("\n")
}

fn number(big_endian: &[u8]) -> String {
    format!("0x{}", hex::encode(big_endian))
}
