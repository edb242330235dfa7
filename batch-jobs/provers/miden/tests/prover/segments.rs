//! One segment: what is proved verifies, and nothing else does.

use std::fs::File;

use proofyard_miden::ProofHash::Blake3;
use proofyard_miden::programs::{MAX_PROOF_BYTES, SEGMENT_FORMAT};
use proofyard_statement::{Error, ProofFile, SegmentValues};

use crate::{block, changed, segments};

fn read(bytes: &[u8]) -> Result<ProofFile, Error> {
    ProofFile::from_bytes(bytes, SEGMENT_FORMAT, MAX_PROOF_BYTES)
}

#[test]
fn segments_of_no_one_and_five_transactions_are_proved() {
    for transactions in [0, 1, 5] {
        let block = block(1, transactions, 8);
        let proof = segments().prove(&block, 0, Blake3).unwrap();
        let values = segments().verify(&read(&proof.to_bytes().unwrap()).unwrap(), &block, 0).unwrap();
        assert_eq!(values, block.segment_values(0).unwrap());
        assert_eq!(values.to, transactions as u32);
        assert_eq!(values.before == values.after, transactions == 0);
    }
}

/// A valid proof whose file claims anything else than what was proved.
#[test]
fn changed_claims_are_rejected() {
    let block = block(3, 5, 2);
    let proof = segments().prove(&block, 1, Blake3).unwrap();
    let proved = segments().check(&proof).unwrap();
    let changes: [fn(&mut SegmentValues); 10] = [
        |v| v.chain_id ^= 1,
        |v| v.chain_id ^= 1 << 40,
        |v| v.height += 1,
        |v| v.height += 1 << 32,
        |v| v.from -= 1,
        |v| v.to += 1,
        |v| (v.from, v.to) = (v.from + 1, v.to + 1),
        |v| v.before = changed(v.before),
        |v| v.after = changed(v.after),
        |v| (v.before, v.after) = (v.after, v.before),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut claimed = proved.clone();
        change(&mut claimed);
        assert_ne!(claimed, proved, "change {index}");
        let forged = ProofFile { public_values: claimed.to_bytes(), ..proof.clone() };
        let error = segments().check(&read(&forged.to_bytes().unwrap()).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "change {index}: {error}");
        assert!(error.is_permanent());
    }
}

#[test]
fn a_proof_of_another_program_is_rejected() {
    let block = block(1, 1, 8);
    let mut proof = segments().prove(&block, 0, Blake3).unwrap();
    proof.verification_key[3] ^= 1;
    let error = segments().verify(&proof, &block, 0).unwrap_err();
    assert!(matches!(&error, Error::Rejected(why) if why.contains("program")), "{error}");
}

/// Valid proofs, asked about the wrong thing.
#[test]
fn proofs_of_other_segments_and_blocks_are_refused() {
    let (ours, higher) = (block(3, 4, 2), block(4, 4, 2));
    let proof = segments().prove(&ours, 0, Blake3).unwrap();
    let mut other_chain = ours.clone();
    other_chain.chain_id = 1;
    let mut other_transactions = ours.clone();
    other_transactions.transactions.swap(0, 1);
    let cases = [
        (&ours, 1, "from"),
        (&higher, 0, "height"),
        (&other_chain, 0, "chain id"),
        (&other_transactions, 0, "digest after"),
    ];
    for (block, index, field) in cases {
        let error = segments().verify(&proof, block, index).unwrap_err();
        assert!(matches!(&error, Error::OtherStatement(why) if why.starts_with(field)), "{field}: {error}");
    }
    assert!(segments().verify(&proof, &ours, 2).is_err());
}

/// Every part of the file: whichever byte differs, the proof is refused, and nothing panics or allocates much.
#[test]
fn tampered_files_are_refused() {
    let block = block(1, 1, 8);
    let bytes = segments().prove(&block, 0, Blake3).unwrap().to_bytes().unwrap();
    let verify = |bytes: &[u8]| read(bytes).and_then(|proof| segments().verify(&proof, &block, 0)).map(drop);
    verify(&bytes).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let sampled = (0..header + 200).chain((header + 200..bytes.len()).step_by(41)).chain([bytes.len() - 1]);
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
    let read = |path: &std::path::Path| ProofFile::read(path, SEGMENT_FORMAT, MAX_PROOF_BYTES);
    let error = read(&path).unwrap_err();
    assert!(matches!(&error, Error::ProofFile(why) if why.contains("larger than")), "{error}");
    let error = read(&folder.path().join("none")).unwrap_err();
    assert!(!error.is_permanent(), "{error}");
}
