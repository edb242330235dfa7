//! Proofs that proofs were checked: what the programs accept, and every lie that they must refuse.
//!
//! The lies are told to the program itself, which has no run for them. The checks that a prover makes beforehand, for
//! a better message, are left out.

use std::sync::OnceLock;

use proofyard_miden::ProofHash::Poseidon2;
use proofyard_miden::programs::{BlockProgram, MergeProgram, RangeProgram};
use proofyard_miden::recursion::Inner;
use proofyard_statement::{Block, BlockValues, Error, ProofFile, RangeValues, SegmentValues};

use crate::{block, chain, changed, prove_all, segments};

fn merge() -> &'static MergeProgram {
    static PROGRAM: OnceLock<MergeProgram> = OnceLock::new();
    PROGRAM.get_or_init(|| MergeProgram::new().unwrap())
}

fn range() -> &'static RangeProgram {
    static PROGRAM: OnceLock<RangeProgram> = OnceLock::new();
    PROGRAM.get_or_init(|| RangeProgram::new().unwrap())
}

/// A block of two segments with their proofs, made once.
fn proved_block() -> &'static (Block, Vec<ProofFile>) {
    static PROVED: OnceLock<(Block, Vec<ProofFile>)> = OnceLock::new();
    PROVED.get_or_init(|| {
        let block = block(7, 3, 2);
        let files = prove_all(&block, Poseidon2);
        (block, files)
    })
}

/// Three blocks in a row with a proof of each, made once.
fn proved_chain() -> &'static (Vec<Block>, Vec<ProofFile>) {
    static PROVED: OnceLock<(Vec<Block>, Vec<ProofFile>)> = OnceLock::new();
    PROVED.get_or_init(|| {
        let program = BlockProgram::new().unwrap();
        let blocks = chain((1 << 32) - 1, &[1, 0, 2], 2);
        let files = blocks.iter().map(|block| program.prove(block, Poseidon2).unwrap()).collect();
        (blocks, files)
    })
}

fn inner_segments<'a>(values: &[SegmentValues], files: &'a [ProofFile]) -> Vec<Inner<'a>> {
    values.iter().zip(files).map(|(values, file)| merge().inner_segment(values, &file.proof)).collect()
}

fn segment_values(block: &Block) -> Vec<SegmentValues> {
    (0..block.segments.len()).map(|index| block.segment_values(index).unwrap()).collect()
}

fn why(result: Result<impl Sized, Error>) -> String {
    match result {
        Ok(_) => panic!("the program accepted a lie"),
        Err(error) => error.to_string(),
    }
}

/// Proved for real: a block's proof to a range. That a range and more blocks become a range is run, since a proof is of a
/// run. The example `rollup` proves the rest: segments merged to blocks, and two of these in one range.
#[test]
fn a_proof_of_a_proof_is_proved() {
    let (blocks, files) = proved_chain();
    let one = range().prove(&files[..1]).unwrap();
    let parts: Vec<RangeValues> = blocks.iter().map(|block| block.values().into()).collect();
    assert_eq!(range().check(&one).unwrap(), parts[0]);
    let inner: Vec<_> =
        [&one, &files[1], &files[2]].iter().map(|file| range().inner(file).unwrap().1).collect();
    let own = range().machine().hash();
    range().execute(&RangeValues::join(&parts).unwrap(), own, &inner).unwrap();

    let proved = range().check(&one).unwrap();
    let changes: [fn(&mut RangeValues); 6] = [
        |v| v.chain_id ^= 1,
        |v| v.from += 1,
        |v| v.to += 1,
        |v| v.to += 1 << 32,
        |v| v.pre = changed(v.pre),
        |v| v.post = changed(v.post),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut claimed = proved.clone();
        change(&mut claimed);
        let forged = ProofFile { public_values: claimed.to_bytes(), ..one.clone() };
        assert!(matches!(range().check(&forged), Err(Error::Rejected(_))), "change {index}");
    }

    // Another range program: the hash that it took for its own is not this program's.
    let mut other = one;
    other.verification_key[0] ^= 1;
    assert!(why(range().check(&other)).contains("of the program"));
}

#[test]
fn a_merge_comes_to_the_blocks_values() {
    let (block, files) = proved_block();
    let outputs = merge().execute(&block.values(), &inner_segments(&segment_values(block), files)).unwrap();
    let words = |digest: [u8; 32]| {
        digest.as_chunks::<4>().0.iter().map(|word| u64::from(u32::from_le_bytes(*word))).collect::<Vec<_>>()
    };
    let outputs: Vec<u64> = outputs.iter().map(|element| element.as_canonical_u64()).collect();
    assert_eq!(outputs, [words(block.post), words(block.values().transactions)].concat());
}

/// True proofs, claimed to be of something else: the verifier inside refuses each.
#[test]
fn a_merge_refuses_claims_that_were_not_proved() {
    let (block, files) = proved_block();
    let changes: [fn(&mut [SegmentValues]); 5] = [
        |v| v[1].after = changed(v[1].after),
        |v| v[1].to += 1,
        |v| (v[0].height, v[1].height) = (8, 8),
        |v| (v[0].chain_id, v[1].chain_id) = (1, 1),
        |v| (v[0].after, v[1].before) = (changed(v[0].after), changed(v[0].after)),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut claimed = segment_values(block);
        change(&mut claimed);
        let place =
            BlockValues { chain_id: claimed[0].chain_id, height: claimed[0].height, ..block.values() };
        let refused = merge().execute(&place, &inner_segments(&claimed, files));
        assert!(refused.is_err(), "change {index}");
    }
}

/// True proofs of true claims that do not make up this block.
#[test]
fn a_merge_refuses_what_does_not_follow() {
    let (block, files) = proved_block();
    let values = segment_values(block);
    let swapped = [values[1].clone(), values[0].clone()];
    let swapped_files = [files[1].clone(), files[0].clone()];
    assert!(
        why(merge().execute(&block.values(), &inner_segments(&swapped, &swapped_files)))
            .contains("digest that the one before")
    );
    assert!(
        why(merge().execute(&block.values(), &inner_segments(&values[1..], &files[1..]))).contains("digest")
    );
    let higher = BlockValues { height: 8, ..block.values() };
    assert!(why(merge().execute(&higher, &inner_segments(&values, files))).contains("digest"));
    // Without its last segment, or with another pre-state, it comes to other values: nothing to prove them with.
    let outputs = merge().execute(&block.values(), &inner_segments(&values[..1], files)).unwrap();
    let whole = merge().execute(&block.values(), &inner_segments(&values, files)).unwrap();
    assert_ne!(outputs, whole);
    let other = BlockValues { pre: changed(block.pre), ..block.values() };
    assert_ne!(merge().execute(&other, &inner_segments(&values, files)).unwrap(), whole);
}

#[test]
fn a_merge_refuses_another_programs_proof() {
    let (blocks, files) = proved_chain();
    let (_, inner) = range().inner(&files[0]).unwrap();
    assert!(why(merge().execute(&blocks[0].values(), &[inner])).contains("another program than `segment`"));
    // The proof of one program under another's hash.
    let (block, segment_files) = proved_block();
    let mut inner = inner_segments(&segment_values(block), segment_files);
    inner[0].program = merge().machine().info();
    assert!(merge().execute(&block.values(), &inner).is_err());
}

#[test]
fn a_merge_refuses_tampered_proofs() {
    let (block, files) = proved_block();
    let values = segment_values(block);
    for offset in [1, 40, 1_000, files[0].proof.len() / 2, files[0].proof.len() - 9] {
        let mut tampered = files.clone();
        tampered[0].proof[offset] ^= 4;
        let refused = merge().execute(&block.values(), &inner_segments(&values, &tampered));
        assert!(refused.is_err(), "byte {offset}");
    }
    let mut cut = files.clone();
    cut[1].proof.truncate(5_000);
    assert!(merge().execute(&block.values(), &inner_segments(&values, &cut)).is_err());
    // A proof that commits with another hash cannot be read by a program.
    let fast = prove_all(block, proofyard_miden::ProofHash::Blake3);
    assert!(why(merge().execute(&block.values(), &inner_segments(&values, &fast))).contains("Poseidon2"));
    // The prover says so before it starts.
    assert!(why(merge().prove(block, &[files[1].clone(), files[0].clone()])).contains("segment 0"));
    assert!(why(merge().prove(block, &files[..1])).contains("1 proofs for a block of 2 segments"));
}

#[test]
fn a_range_refuses_what_does_not_follow() {
    let (blocks, files) = proved_chain();
    let all = RangeValues::join(&blocks.iter().map(|b| b.values().into()).collect::<Vec<_>>()).unwrap();
    let own = range().machine().hash();
    let inner = |order: &[usize]| -> Vec<Inner<'static>> {
        order.iter().map(|index| range().inner(&proved_chain().1[*index]).unwrap().1).collect()
    };
    range().execute(&all, own, &inner(&[0, 1, 2])).unwrap();
    assert!(why(range().execute(&all, own, &inner(&[0, 2]))).contains("does not begin in the state"));
    assert!(why(range().execute(&all, own, &inner(&[1, 0, 2]))).contains("does not begin in the state"));
    assert!(why(range().execute(&all, own, &inner(&[0, 1]))).contains("ends at another height"));
    assert!(why(range().execute(&all, own, &[])).contains("a range of no proofs"));
    let cases = [
        (RangeValues { from: all.from + 1, ..all.clone() }, "height after the one before"),
        (RangeValues { chain_id: 1, ..all.clone() }, "another chain"),
        (RangeValues { pre: changed(all.pre), ..all.clone() }, "does not begin in the state"),
        (RangeValues { to: all.to + 1, ..all.clone() }, "ends at another height"),
    ];
    for (values, reason) in cases {
        let refused = why(range().execute(&values, own, &inner(&[0, 1, 2])));
        assert!(refused.contains(reason), "{refused}");
    }
    // A segment is no block, and a range must be of the program that is taken for one's own.
    let (block, segment_files) = proved_block();
    let segment =
        merge().inner_segment(&segments().check(&segment_files[0]).unwrap(), &segment_files[0].proof);
    let refused = range().execute(&block.values().into(), own, &[segment]);
    assert!(refused.is_err());
    assert!(why(range().prove(&[files[1].clone(), files[0].clone()])).contains("starts at height"));
}
