//! Tampering: changes of a proof, after each of which it must be refused.

use sha2::{Digest, Sha256};

/// A changed proof.
pub(super) struct Tampering {
    /// As in "a proof ... was accepted".
    pub what: String,
    pub content: Vec<u8>,
}

fn tampering(what: impl Into<String>, content: Vec<u8>) -> Tampering {
    Tampering { what: what.into(), content }
}

/// In how many places a bit is flipped.
const PLACES: usize = 9;

/// One flipped bit each, in places from the first byte to the last; another bit in each place.
pub(super) fn flipped(proof: &[u8]) -> Vec<Tampering> {
    let last = proof.len().saturating_sub(1);
    let mut places: Vec<usize> = (0..PLACES).map(|place| last * place / (PLACES - 1)).collect();
    places.dedup();
    let flip = |(number, place): (usize, &usize)| {
        let mut content = proof.to_vec();
        *content.get_mut(*place)? ^= 1 << (number % 8);
        Some(tampering(format!("with a flipped bit in byte {place} of {}", proof.len()), content))
    };
    places.iter().enumerate().filter_map(flip).collect()
}

pub(super) fn cut(proof: &[u8]) -> Vec<Tampering> {
    let mut lengths = vec![0, proof.len() / 2, proof.len().saturating_sub(1)];
    lengths.dedup();
    let cut = |length: &usize| {
        tampering(format!("cut to {length} of {} bytes", proof.len()), proof[..*length].to_vec())
    };
    lengths.iter().filter(|length| **length < proof.len()).map(cut).collect()
}

pub(super) fn extended(proof: &[u8]) -> Vec<Tampering> {
    let with = |tail: &[u8]| [proof, tail].concat();
    vec![
        tampering("with a zero byte at its end", with(&[0])),
        tampering("with a line's end at its end", with(b"\n")),
        tampering("with itself at its end", with(proof)),
    ]
}

/// Pseudo-random bytes, the same each time.
pub(super) fn random(proof: &[u8]) -> Vec<Tampering> {
    let bytes = |length: usize| -> Vec<u8> {
        (0u64..).flat_map(|block| Sha256::digest(block.to_le_bytes())).take(length).collect()
    };
    vec![
        tampering("of 64 random bytes", bytes(64)),
        tampering("of as many random bytes as a good one has", bytes(proof.len())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_made_is_the_proof() {
        for proof in [b"".as_slice(), b"x", b"a proof of some length"] {
            for make in [flipped, cut, extended, random] {
                let made = make(proof);
                assert!(made.iter().all(|one| one.content != proof || proof.is_empty()), "{proof:?}");
            }
        }
        assert_eq!(flipped(&[0; 100]).len(), PLACES);
        let first_and_last = |made: Vec<Tampering>| (made[0].content[0], made[PLACES - 1].content[99]);
        assert_eq!(first_and_last(flipped(&[0; 100])), (1, 1));
        assert_eq!(cut(b"abcd").iter().map(|one| one.content.len()).collect::<Vec<_>>(), [0, 2, 3]);
    }
}
