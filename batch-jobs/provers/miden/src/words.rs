//! Digests and integers as elements of Miden's field: 32 bits an element, so that each value has one form.

use miden_core::Felt;
use proofyard_statement::digest::bytes_to_hex;
use proofyard_statement::{Digest, Error, TransactionHash};

/// A digest as BLAKE3 reads it: eight 32-bit words, little-endian.
pub fn words(digest: &Digest) -> [Felt; 8] {
    let mut words = [Felt::from_u32(0); 8];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<4>().0) {
        *word = Felt::from_u32(u32::from_le_bytes(*bytes));
    }
    words
}

/// The digest of eight words.
pub fn digest(words: &[Felt]) -> Result<Digest, Error> {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        let word = u32::try_from(word.as_canonical_u64())
            .map_err(|_| Error::Proving("the program gave a word of more than 32 bits".into()))?;
        *bytes = word.to_le_bytes();
    }
    Ok(digest)
}

/// A 64-bit integer may be above the field's order; its halves, low and high, never are.
pub fn halves(value: u64) -> [Felt; 2] {
    [value & 0xffff_ffff, value >> 32].map(Felt::new_unchecked)
}

/// A transaction's hash, as the programs read it.
pub fn words_of(transactions: &[TransactionHash]) -> Vec<Felt> {
    transactions.iter().flat_map(words).collect()
}

/// A program's hash as bytes: its verification key.
pub fn key_bytes(program: &miden_core::Word) -> [u8; 32] {
    program.as_bytes()
}

/// How a key is shown in messages.
pub fn shown(key: &[u8]) -> String {
    bytes_to_hex(key)
}
