//! Which program a risc0 receipt claims to be of: as much of its bincode as that needs.
//!
//! This verifies nothing. It tells a service that answers for another program from one that answers rightly, before a verifier's
//! time is spent; a receipt of a layout that is not known here is left to the verifier.

use sha2::{Digest, Sha256};

#[derive(Debug, PartialEq)]
pub(super) enum Claimed {
    /// The guest's image id.
    Image([u8; 32]),
    /// Made in risc0's development mode, without a proof.
    Fake,
    /// It does not say, or is of a layout that is not known here.
    Unclear,
}

/// Variants of `InnerReceipt`.
const SUCCINCT: u32 = 1;
const GROTH16: u32 = 2;
const FAKE: u32 = 3;
/// Variants of `MaybePruned`.
const VALUE: u32 = 0;
const PRUNED: u32 = 1;

pub(super) fn claimed(receipt: &[u8]) -> Claimed {
    read(receipt).unwrap_or(Claimed::Unclear)
}

fn read(mut receipt: &[u8]) -> Option<Claimed> {
    let rest = &mut receipt;
    match number(rest)? {
        // The seal's words, the control id, the claim.
        SUCCINCT => {
            let words = length(rest)?;
            take(rest, words.checked_mul(4)?.checked_add(32)?)?;
        }
        // The seal's bytes, the claim.
        GROTH16 => {
            let bytes = length(rest)?;
            take(rest, bytes)?;
        }
        FAKE => return Some(Claimed::Fake),
        _ => return None,
    }
    if number(rest)? != VALUE {
        return None;
    }
    // A claim begins with the state before the first step, whose digest is the image id.
    match number(rest)? {
        VALUE => {
            let (pc, root) = (take(rest, 4)?, take(rest, 32)?);
            let state = [&Sha256::digest("risc0.SystemState")[..], root, pc, &1u16.to_le_bytes()].concat();
            Some(Claimed::Image(Sha256::digest(state).into()))
        }
        PRUNED => Some(Claimed::Image(take(rest, 32)?.try_into().ok()?)),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)).ok()
}
