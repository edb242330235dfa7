//! Joining: only the block's own segments, all of them, in order.

use proofyard_miden::ProofHash::Blake3;
use proofyard_miden::bundle::Bundle;
use proofyard_statement::{Error, ProofFile};

use crate::{block, prove_all, segments};

#[test]
fn two_segments_are_joined() {
    let block = block(9, 3, 2);
    let bundle = Bundle { segments: prove_all(&block, Blake3) };
    let read = Bundle::from_bytes(&bundle.to_bytes().unwrap()).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(read.verify(segments(), &block).unwrap(), block.values());
}

#[test]
fn a_block_without_transactions_is_joined() {
    let block = block(9, 0, 2);
    let bundle = Bundle { segments: prove_all(&block, Blake3) };
    assert_eq!(bundle.verify(segments(), &block).unwrap(), block.values());
}

#[test]
fn wrong_sets_of_segments_are_refused() {
    let block = block(9, 6, 2);
    let [a, b, c]: [ProofFile; 3] = prove_all(&block, Blake3).try_into().unwrap();
    let other_height = crate::block(10, 6, 2);
    let other_b = segments().prove(&other_height, 1, Blake3).unwrap();
    // The same transactions in one segment: a valid proof of the block, but not of the segments asked for.
    let whole = segments().prove(&crate::block(9, 6, 6), 0, Blake3).unwrap();
    let sets = [
        ("wrong order", vec![a.clone(), c.clone(), b.clone()]),
        ("the last first", vec![c.clone(), a.clone(), b.clone()]),
        ("missing in the middle", vec![a.clone(), c.clone()]),
        ("missing at the start", vec![b.clone(), c.clone()]),
        ("missing at the end", vec![a.clone(), b.clone()]),
        ("twice", vec![a.clone(), b.clone(), b.clone(), c.clone()]),
        ("of another block", vec![a.clone(), other_b, c.clone()]),
        ("cut otherwise", vec![whole]),
        ("none", vec![]),
    ];
    for (what, files) in sets {
        let error = Bundle { segments: files }.verify(segments(), &block).unwrap_err();
        assert!(error.is_permanent(), "{what}: {error}");
    }
    assert!(Bundle { segments: vec![a, b, c] }.verify(segments(), &other_height).is_err());
}

#[test]
fn a_segment_that_only_claims_to_fit_is_refused() {
    let block = block(9, 4, 2);
    let mut files = prove_all(&block, Blake3);
    // The first's proof under the second's claims.
    files[1].proof = files[0].proof.clone();
    let error = Bundle { segments: files }.verify(segments(), &block).unwrap_err();
    assert!(matches!(&error, Error::Rejected(why) if why.starts_with("segment 1")), "{error}");
}

#[test]
fn tampered_bundles_are_refused() {
    let block = block(9, 3, 2);
    let bundle = Bundle { segments: prove_all(&block, Blake3) };
    let bytes = bundle.to_bytes().unwrap();
    let verify =
        |bytes: &[u8]| Bundle::from_bytes(bytes).and_then(|bundle| bundle.verify(segments(), &block));
    verify(&bytes).unwrap();
    let mut tampered = bytes.clone();
    for offset in (0..900).step_by(3).chain((900..bytes.len()).step_by(997)) {
        tampered[offset] ^= 1 << (offset % 8);
        assert!(verify(&tampered).is_err(), "byte {offset}");
        tampered[offset] = bytes[offset];
    }
    for length in (0..bytes.len()).step_by(9973) {
        assert!(verify(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(verify(&[bytes.as_slice(), b"\n"].concat()).is_err());
    // One kind of file for the other.
    assert!(verify(&bundle.segments[0].to_bytes().unwrap()).is_err());
}
