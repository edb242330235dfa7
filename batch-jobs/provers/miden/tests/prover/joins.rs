//! Joining: only the block's own segments, all of them, in order.

use proofyard_miden::artifact::{BlockProof, SegmentProof};
use proofyard_miden::error::Error;

use crate::{block, prove_all, vm};

#[test]
fn two_segments_are_joined() {
    let block = block(9, 3, 2);
    let segments = prove_all(&block);
    let joined = vm().join(segments.clone(), &block).unwrap();
    let read = BlockProof::from_bytes(&joined.to_bytes().unwrap()).unwrap();
    let statement = vm().verify_block(&read, &block).unwrap();
    assert_eq!(statement, block.statement().unwrap());
    assert_eq!(statement.pre, segments[0].statement.pre);
    assert_eq!(statement.post, segments[1].statement.post);
    let bytes = statement.to_bytes();
    assert_eq!(bytes[..8], crate::CHAIN_ID.to_be_bytes());
    assert_eq!(bytes[8..16], 9_u64.to_be_bytes());
    assert_eq!(bytes[16..48], statement.pre.as_bytes());
    assert_eq!(bytes[48..80], statement.post.as_bytes());
    assert_eq!(bytes[80..], statement.transactions_digest.as_bytes());
}

#[test]
fn a_block_without_transactions_is_joined() {
    let block = block(9, 0, 2);
    let joined = vm().join(prove_all(&block), &block).unwrap();
    let statement = vm().verify_block(&joined, &block).unwrap();
    assert_eq!(statement.pre, statement.post);
}

#[test]
fn wrong_sets_of_segments_are_refused() {
    let block = block(9, 3, 1);
    let [a, b, c]: [SegmentProof; 3] = prove_all(&block).try_into().unwrap();
    let other_height = crate::block(10, 3, 1);
    let [_, other_b, _]: [SegmentProof; 3] = prove_all(&other_height).try_into().unwrap();
    // The same transactions in one segment: a valid proof of the block, but not of the segments asked for.
    let whole = vm().prove_segment(&crate::block(9, 3, 3), 0).unwrap();
    let sets = [
        ("wrong order", vec![a.clone(), c.clone(), b.clone()]),
        ("the last first", vec![c.clone(), a.clone(), b.clone()]),
        ("missing in the middle", vec![a.clone(), c.clone()]),
        ("missing at the start", vec![b.clone(), c.clone()]),
        ("missing at the end", vec![a.clone(), b.clone()]),
        ("twice", vec![a.clone(), b.clone(), b.clone(), c.clone()]),
        ("of another block", vec![a.clone(), other_b.clone(), c.clone()]),
        ("cut otherwise", vec![whole]),
        ("none", vec![]),
    ];
    for (what, segments) in sets {
        let error = vm().join(segments.clone(), &block).unwrap_err();
        assert!(matches!(error, Error::Join(_)), "{what}: {error}");
        assert!(error.is_permanent());
        // Nor does it help to leave the joiner out and write its file.
        let forged = BlockProof { statement: block.statement().unwrap(), segments };
        let read = BlockProof::from_bytes(&forged.to_bytes().unwrap()).unwrap();
        assert!(vm().verify_block(&read, &block).is_err(), "{what}");
    }
    assert!(vm().join(prove_all(&other_height), &block).is_err());
}

#[test]
fn a_segment_that_only_claims_to_fit_is_refused() {
    let block = block(9, 2, 1);
    let mut segments = prove_all(&block);
    // The first's proof under the second's claims.
    segments[1].stark_proof = segments[0].stark_proof.clone();
    let error = vm().join(segments.clone(), &block).unwrap_err();
    assert!(matches!(&error, Error::Rejected(why) if why.starts_with("segment 1")), "{error}");
    let forged = BlockProof { statement: block.statement().unwrap(), segments };
    assert!(matches!(vm().verify_block(&forged, &block), Err(Error::Rejected(_))));
}

#[test]
fn tampered_joined_files_are_refused() {
    let block = block(9, 2, 1);
    let joined = vm().join(prove_all(&block), &block).unwrap();
    let bytes = joined.to_bytes().unwrap();
    let verify =
        |bytes: &[u8]| BlockProof::from_bytes(bytes).and_then(|proof| vm().verify_block(&proof, &block));
    verify(&bytes).unwrap();
    let mut tampered = bytes.clone();
    for offset in (0..1200).step_by(3).chain((1200..bytes.len()).step_by(397)) {
        tampered[offset] ^= 1 << (offset % 8);
        assert!(verify(&tampered).is_err(), "byte {offset}");
        tampered[offset] = bytes[offset];
    }
    for length in (0..bytes.len()).step_by(5003) {
        assert!(verify(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(verify(&[bytes.as_slice(), b"\n"].concat()).is_err());
    // One kind of file for the other.
    assert!(SegmentProof::from_bytes(&bytes).is_err());
    assert!(verify(&joined.segments[0].to_bytes().unwrap()).is_err());

    let mut other = joined.clone();
    other.statement.post = other.statement.pre;
    assert!(matches!(vm().verify_block(&other, &block), Err(Error::OtherStatement(_))));
    assert!(vm().verify_block(&joined, &crate::block(10, 2, 1)).is_err());
}
