//! The rule of the chain: how transactions become a digest, and a digest a state.

use crate::error::Error;

/// A state, or a digest of transactions.
pub type Digest = [u8; 32];

/// A transaction's hash, as the chain has it.
pub type TransactionHash = [u8; 32];

/// Transactions that one step takes; a segment of a block begins at a multiple of it.
pub const STEP_TRANSACTIONS: usize = 2;

/// The digest before a block's first transaction. It names the block's place, so that no two places share a digest.
pub fn start(chain_id: u64, height: u64) -> Digest {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&chain_id.to_be_bytes());
    digest[8..16].copy_from_slice(&height.to_be_bytes());
    digest
}

/// The digest after these transactions as well; they must begin at a multiple of [`STEP_TRANSACTIONS`].
pub fn absorb(digest: Digest, transactions: &[TransactionHash]) -> Digest {
    let step = |digest: Digest, next: &[TransactionHash]| keyed(&digest, next.as_flattened());
    transactions.chunks(STEP_TRANSACTIONS).fold(digest, step)
}

/// The state after a block whose transactions have this digest.
pub fn close(pre: Digest, transactions: Digest) -> Digest {
    keyed(&pre, &transactions)
}

/// How many times `keyed` runs for a block: provers are sized by it.
pub fn steps(transactions: usize) -> usize {
    transactions.div_ceil(STEP_TRANSACTIONS) + 1
}

fn keyed(key: &Digest, message: &[u8]) -> Digest {
    *blake3::keyed_hash(key, message).as_bytes()
}

/// Reads exactly N bytes from `0x` and hex digits.
pub fn bytes_from_hex<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let decoded = text.strip_prefix("0x").map(|digits| hex::decode_to_slice(digits, &mut bytes));
    if decoded.is_some_and(|decoded| decoded.is_ok()) {
        return Ok(bytes);
    }
    let shown: String = text.chars().take(80).collect();
    Err(Error::Hex(format!("expected 0x and {} hex digits, found {shown:?}", N * 2)))
}

/// Bytes as `0x` and hex digits.
pub fn bytes_to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: [TransactionHash; 5] = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]];

    #[test]
    fn a_digest_does_not_depend_on_where_a_block_is_cut() {
        let begin = start(1, 7);
        let whole = absorb(begin, &HASHES);
        assert_eq!(absorb(absorb(begin, &HASHES[..2]), &HASHES[2..]), whole);
        assert_eq!(absorb(absorb(begin, &HASHES[..4]), &HASHES[4..]), whole);
    }

    #[test]
    fn a_digest_depends_on_the_place_and_on_each_transaction() {
        let whole = absorb(start(1, 7), &HASHES);
        assert_ne!(absorb(start(2, 7), &HASHES), whole);
        assert_ne!(absorb(start(1, 8), &HASHES), whole);
        assert_ne!(absorb(start(1, 7), &HASHES[..4]), whole);
        let mut swapped = HASHES;
        swapped.swap(0, 1);
        assert_ne!(absorb(start(1, 7), &swapped), whole);
    }

    /// The published definition, by the library's own streaming interface.
    #[test]
    fn a_step_is_the_standard_keyed_hash() {
        let begin = start(31_337, 3);
        let mut hasher = blake3::Hasher::new_keyed(&begin);
        hasher.update(&HASHES[0]).update(&HASHES[1]);
        assert_eq!(absorb(begin, &HASHES[..2]), *hasher.finalize().as_bytes());
        assert_eq!(absorb(begin, &HASHES[..1]), *blake3::keyed_hash(&begin, &HASHES[0]).as_bytes());
        assert_eq!(absorb(begin, &[]), begin);
        assert_eq!((steps(0), steps(1), steps(2), steps(3)), (1, 2, 2, 3));
    }
}
