//! States and digests: a word is four elements of the Goldilocks field, written as 32 bytes (four little-endian
//! 64-bit integers below the field's order) or as `0x` and 64 hex digits. A transaction hash is any 32 bytes.

use miden_core::crypto::hash::Poseidon2;
use miden_core::{Felt, Word};

use crate::error::Error;

/// A transaction's hash, as the chain has it.
pub type TransactionHash = [u8; 32];

/// The 32-bit limbs of a transaction hash, little-endian: an injective encoding into the field.
pub(crate) fn limbs(hash: &TransactionHash) -> [Felt; 8] {
    let mut limbs = [Felt::from_u32(0); 8];
    for (limb, bytes) in limbs.iter_mut().zip(hash.chunks_exact(4)) {
        *limb = Felt::from_u32(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte)));
    }
    limbs
}

/// The rule of the chain: what a word becomes by one transaction. States and transaction digests both follow it.
pub fn absorb(word: Word, transaction: &TransactionHash) -> Word {
    Poseidon2::merge(&[word, Poseidon2::hash_elements(&limbs(transaction))])
}

/// The word after all the transactions, in order.
pub fn absorb_all(word: Word, transactions: &[TransactionHash]) -> Word {
    transactions.iter().fold(word, absorb)
}

/// The transactions digest of a block: its segments' digests folded in order, from the word of zeros.
pub fn fold_digests(digests: impl IntoIterator<Item = Word>) -> Word {
    digests.into_iter().fold(Word::empty(), |folded, digest| Poseidon2::merge(&[folded, digest]))
}

/// Reads a word from its 32 bytes; each element must be below the field's order, so that no word has two forms.
pub fn word_from_bytes(bytes: &[u8; 32]) -> Result<Word, Error> {
    let mut elements = [Felt::from_u32(0); 4];
    for (element, bytes) in elements.iter_mut().zip(bytes.chunks_exact(8)) {
        let value = bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        *element =
            Felt::new(value).map_err(|_| Error::Word(format!("{value} is not below the field's order")))?;
    }
    Ok(Word::new(elements))
}

/// Reads a word from `0x` and 64 hex digits.
pub fn word_from_hex(text: &str) -> Result<Word, Error> {
    word_from_bytes(&bytes_from_hex(text)?)
}

/// A word as `0x` and 64 hex digits.
pub fn word_to_hex(word: &Word) -> String {
    bytes_to_hex(&word.as_bytes())
}

/// Reads exactly N bytes from `0x` and hex digits.
pub fn bytes_from_hex<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let decoded = text.strip_prefix("0x").map(|digits| hex::decode_to_slice(digits, &mut bytes));
    if decoded.is_some_and(|decoded| decoded.is_ok()) {
        return Ok(bytes);
    }
    let shown: String = text.chars().take(80).collect();
    Err(Error::Word(format!("expected 0x and {} hex digits, found {shown:?}", N * 2)))
}

/// Bytes as `0x` and hex digits.
pub fn bytes_to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
