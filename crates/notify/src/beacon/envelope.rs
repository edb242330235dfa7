//! `SignedExecutionProofEnvelope` of EIP-8025, its SSZ and JSON, and what is signed of it.
//!
//! `proof_data` is a `ByteList[MAX_PROOF_SIZE]`, as consensus-specs, Lighthouse and zkboost have it since September 2026.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) type Root = [u8; 32];

/// `MAX_PROOF_SIZE`.
pub const MAX_PROOF_BYTES: u64 = 4_194_304;
/// How deep the tree is that has `MAX_PROOF_SIZE` in leaves of 32 bytes.
const PROOF_DEPTH: u32 = 17;
const DOMAIN_EXECUTION_PROOF: [u8; 4] = [0x0F, 0, 0, 0];
/// An offset of SSZ.
const OFFSET: usize = 4;

/// A proof, and the beacon block whose payload it is of.
pub(super) struct Envelope {
    pub proof_data: Vec<u8>,
    pub proof_type: u8,
    pub beacon_block_root: Root,
}

pub(super) struct SignedEnvelope {
    pub message: Envelope,
    pub validator_index: u64,
    pub signature: [u8; 96],
}

impl Envelope {
    const FIXED_BYTES: usize = OFFSET + 1 + 32;

    pub fn hash_tree_root(&self) -> Root {
        let data = mix_in_length(merkleize(&self.proof_data, PROOF_DEPTH), self.proof_data.len());
        let proof_type = padded(&[self.proof_type]);
        merkleize(&[data, proof_type, self.beacon_block_root].concat(), 2)
    }

    fn write_ssz(&self, ssz: &mut Vec<u8>) {
        ssz.extend(offset(Self::FIXED_BYTES));
        ssz.push(self.proof_type);
        ssz.extend(self.beacon_block_root);
        ssz.extend(&self.proof_data);
    }
}

impl SignedEnvelope {
    const FIXED_BYTES: usize = OFFSET + 8 + 96;

    fn ssz_bytes(&self) -> usize {
        Self::FIXED_BYTES + Envelope::FIXED_BYTES + self.message.proof_data.len()
    }

    /// A list of them.
    pub fn list_ssz(list: &[Self]) -> Vec<u8> {
        let mut at = list.len() * OFFSET;
        let mut ssz = Vec::with_capacity(at + list.iter().map(Self::ssz_bytes).sum::<usize>());
        for signed in list {
            ssz.extend(offset(at));
            at += signed.ssz_bytes();
        }
        for Self { message, validator_index, signature } in list {
            ssz.extend(offset(Self::FIXED_BYTES));
            ssz.extend(validator_index.to_le_bytes());
            ssz.extend(signature);
            message.write_ssz(&mut ssz);
        }
        ssz
    }

    /// Integers are texts, as the Beacon API has them.
    pub fn to_json(&self) -> Value {
        let Self { message, validator_index, signature } = self;
        json!({
            "message": {
                "proof_data": hexed(&message.proof_data),
                "proof_type": message.proof_type.to_string(),
                "beacon_block_root": hexed(&message.beacon_block_root),
            },
            "validator_index": validator_index.to_string(),
            "signature": hexed(signature),
        })
    }
}

/// What execution proofs are signed under: this chain, as of this fork.
pub(super) fn domain(fork_version: [u8; 4], genesis_validators_root: Root) -> Root {
    let fork_data_root = hashed(&padded(&fork_version), &genesis_validators_root);
    let mut domain = [0; 32];
    domain[..4].copy_from_slice(&DOMAIN_EXECUTION_PROOF);
    domain[4..].copy_from_slice(&fork_data_root[..28]);
    domain
}

/// What is signed.
pub(super) fn signing_root(message: &Envelope, domain: Root) -> Root {
    hashed(&message.hash_tree_root(), &domain)
}

pub(super) fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// The root of these leaves in a tree of this depth; leaves that are not there are zeroes.
fn merkleize(bytes: &[u8], depth: u32) -> Root {
    let mut layer: Vec<Root> = bytes.chunks(32).map(padded).collect();
    let mut zeroes = [0; 32];
    for _ in 0..depth {
        layer = layer.chunks(2).map(|pair| hashed(&pair[0], pair.get(1).unwrap_or(&zeroes))).collect();
        zeroes = hashed(&zeroes, &zeroes);
    }
    layer.first().copied().unwrap_or(zeroes)
}

fn mix_in_length(root: Root, length: usize) -> Root {
    hashed(&root, &padded(&(length as u64).to_le_bytes()))
}

/// At most 32 bytes, and zeroes behind them.
fn padded(bytes: &[u8]) -> Root {
    let mut leaf = [0; 32];
    leaf[..bytes.len()].copy_from_slice(bytes);
    leaf
}

fn hashed(left: &Root, right: &Root) -> Root {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// Messages are far below 4 GiB.
fn offset(at: usize) -> [u8; OFFSET] {
    u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes()
}
