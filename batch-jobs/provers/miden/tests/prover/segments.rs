//! One segment: what is proved verifies, and nothing else does.

use std::fs::File;

use miden_core::{Felt, Word};
use proofyard_miden::artifact::SegmentProof;
use proofyard_miden::error::Error;
use proofyard_miden::statement::SegmentStatement;
use proofyard_miden::word::{absorb, word_from_hex};

use crate::{block, line, parse, vm};

#[test]
fn segments_of_no_one_and_eight_transactions_are_proved() {
    for transactions in [0, 1, 8] {
        let block = block(1, transactions, 8);
        let proof = vm().prove_segment(&block, 0).unwrap();
        let read = SegmentProof::from_bytes(&proof.to_bytes().unwrap()).unwrap();
        let statement = vm().verify_segment(&read, &block, 0).unwrap();
        assert_eq!(statement, block.segment_statement(0).unwrap());
        assert_eq!(statement.to, transactions as u32);
        assert_eq!(statement.pre == statement.post, transactions == 0);
    }
}

/// The canonical bytes, spelled out, and back.
#[test]
fn public_values_are_the_canonical_bytes() {
    let statement = block(0x0102, 2, 1).segment_statement(1).unwrap();
    let bytes = statement.to_bytes();
    assert_eq!(bytes[..8], crate::CHAIN_ID.to_be_bytes());
    assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(bytes[24..56], statement.pre.as_bytes());
    assert_eq!(bytes[56..88], statement.post.as_bytes());
    assert_eq!(bytes[88..], statement.transactions_digest.as_bytes());
    assert_eq!(SegmentStatement::from_bytes(&bytes.try_into().unwrap()).unwrap(), statement);
}

/// A valid proof whose file claims anything else than what was proved.
#[test]
fn changed_claims_are_rejected() {
    let block = block(3, 5, 3);
    let proof = vm().prove_segment(&block, 1).unwrap();
    vm().check(&proof).unwrap();
    let changes: [fn(&mut SegmentStatement); 13] = [
        |s| s.chain_id ^= 1,
        |s| s.chain_id ^= 1 << 40,
        |s| s.height += 1,
        |s| s.height += 1 << 32,
        |s| s.from -= 1,
        |s| s.to += 1,
        |s| (s.from, s.to) = (s.from + 1, s.to + 1),
        |s| s.pre = changed(s.pre),
        |s| s.post = changed(s.post),
        |s| s.transactions_digest = changed(s.transactions_digest),
        |s| (s.pre, s.post) = (s.post, s.pre),
        |s| s.transactions_digest = s.post,
        |s| s.post = absorb(s.post, &[0; 32]),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut forged = proof.clone();
        change(&mut forged.statement);
        assert_ne!(forged.statement, proof.statement, "change {index}");
        let read = SegmentProof::from_bytes(&forged.to_bytes().unwrap()).unwrap();
        let error = vm().check(&read).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "change {index}: {error}");
        assert!(error.is_permanent());
    }
}

fn changed(word: Word) -> Word {
    let mut elements = word.into_elements();
    elements[3] += Felt::from_u32(1);
    Word::new(elements)
}

#[test]
fn a_proof_of_another_program_is_rejected() {
    let block = block(1, 1, 8);
    let mut proof = vm().prove_segment(&block, 0).unwrap();
    proof.program = changed(proof.program);
    let error = vm().verify_segment(&proof, &block, 0).unwrap_err();
    assert!(matches!(&error, Error::Rejected(why) if why.contains("program")), "{error}");
}

/// Valid proofs, asked about the wrong thing.
#[test]
fn proofs_of_other_segments_and_blocks_are_refused() {
    let (ours, higher) = (block(3, 4, 2), block(4, 4, 2));
    let proof = vm().prove_segment(&ours, 0).unwrap();
    let mut other_chain = ours.clone();
    other_chain.chain_id = 1;
    let mut other_transactions = ours.clone();
    other_transactions.transactions.swap(0, 1);
    let mut other_state = ours.clone();
    other_state.segments[0].post = changed(other_state.segments[0].post);
    let cases = [
        (&ours, 1, "from"),
        (&higher, 0, "height"),
        (&other_chain, 0, "chain id"),
        (&other_transactions, 0, "transactions digest"),
        (&other_state, 0, "post-state"),
    ];
    for (block, index, field) in cases {
        let error = vm().verify_segment(&proof, block, index).unwrap_err();
        assert!(matches!(&error, Error::OtherStatement(why) if why.starts_with(field)), "{field}: {error}");
    }
    assert!(vm().verify_segment(&proof, &ours, 2).is_err());
}

#[test]
fn what_is_not_true_is_not_proved() {
    let mut wrong = block(1, 2, 8);
    wrong.segments[0].post = changed(wrong.segments[0].post);
    let error = vm().prove_segment(&wrong, 0).unwrap_err();
    assert!(matches!(&error, Error::Block(why) if why.contains("post-state")), "{error}");
    assert!(vm().prove_segment(&wrong, 1).is_err());
    wrong.segments[0].to = 9;
    assert!(vm().prove_segment(&wrong, 0).is_err());
}

/// Every part of the file: whichever byte differs, the proof is refused, and nothing panics or allocates much.
#[test]
fn tampered_files_are_refused() {
    let block = block(1, 1, 8);
    let bytes = vm().prove_segment(&block, 0).unwrap().to_bytes().unwrap();
    let verify = |bytes: &[u8]| {
        SegmentProof::from_bytes(bytes).and_then(|proof| vm().verify_segment(&proof, &block, 0)).map(drop)
    };
    verify(&bytes).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let sampled = (0..header + 200).chain((header + 200..bytes.len()).step_by(13)).chain([bytes.len() - 1]);
    let mut tampered = bytes.clone();
    for offset in sampled {
        for mask in [1 << (offset % 8), 0xff] {
            tampered[offset] ^= mask;
            let error = verify(&tampered).err().unwrap_or_else(|| panic!("byte {offset} does not matter"));
            assert!(error.is_permanent(), "byte {offset}: {error}");
            tampered[offset] ^= mask;
        }
    }
    for length in (0..bytes.len()).step_by(997).chain([header, header + 1, bytes.len() - 1]) {
        assert!(verify(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(verify(&[bytes.as_slice(), b"\0"].concat()).is_err());
    assert!(verify(&[b'x'; 100_000]).is_err());
    assert!(verify(b"\n").is_err());
}

#[test]
fn huge_files_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.proof");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = SegmentProof::read(&path).unwrap_err();
    assert!(matches!(&error, Error::Artifact(why) if why.contains("larger than")), "{error}");
    let error = SegmentProof::read(&folder.path().join("none")).unwrap_err();
    assert!(!error.is_permanent(), "{error}");
}

/// A word has one form: a value at or above the field's order is another spelling of a smaller one.
#[test]
fn words_are_canonical() {
    let largest = format!("0x{}", "00000000ffffffff".repeat(4));
    assert!(word_from_hex(&largest).is_ok());
    assert!(word_from_hex(&format!("0x{}{}", "01000000ffffffff", "0".repeat(48))).is_err());
    for wrong in ["", "0x", "0x12", &largest[2..], &largest.replace('f', "g"), &format!("{largest}00")] {
        assert!(word_from_hex(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn blocks_that_are_not_usable_are_refused() {
    let good = line(1, 4, 2);
    parse(&good);
    let pre = good["segments"][0]["pre"].clone();
    let cases: [(&str, serde_json::Value, &str); 8] = [
        ("/block/number", "1".into(), "number"),
        ("/block/transactions/1", "0x12".into(), "transaction 1"),
        ("/segments/1/from", 1.into(), "segment 1"),
        ("/segments/1/to", 3.into(), "3 of 4"),
        ("/segments/1/to", u32::MAX.into(), "of 4"),
        ("/segments/1/pre", pre, "pre-state of segment 1"),
        ("/segments", serde_json::json!([]), "0 of 4"),
        ("/chain_id", "1".into(), "invalid type"),
    ];
    for (pointer, value, why) in cases {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let error = proofyard_miden::block::Block::parse(wrong.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(why), "{pointer}: {error}");
    }
    let text = good.to_string();
    assert!(proofyard_miden::block::Block::parse(&text.as_bytes()[..text.len() / 2]).is_err());
}
