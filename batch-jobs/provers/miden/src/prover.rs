//! What a prover of this kind does: prove a segment, join a block's segment proofs, and check either.
//!
//! The join is a bundle of the segment proofs, checked together. It is as large as they are, and checking it takes
//! as long as checking each of them.

use crate::artifact::{BlockProof, SegmentProof};
use crate::block::{Block, check_cover};
use crate::error::Error;
use crate::statement::{BlockStatement, SegmentStatement};
use crate::vm::SegmentVm;
use crate::word::{fold_digests, word_to_hex};

impl SegmentVm {
    /// Proves one segment of the block.
    pub fn prove_segment(&self, block: &Block, index: usize) -> Result<SegmentProof, Error> {
        let statement = block.segment_statement(index)?;
        let stark_proof = self.prove(&statement, block.transactions_of(index)?)?;
        Ok(SegmentProof { program: self.verification_key(), statement, stark_proof })
    }

    /// Checks that the proof proves what it says, whatever that is.
    pub fn check(&self, proof: &SegmentProof) -> Result<SegmentStatement, Error> {
        if proof.program != self.verification_key() {
            return Err(Error::Rejected(format!(
                "it is of the program {}, expected {}",
                word_to_hex(&proof.program),
                word_to_hex(&self.verification_key()),
            )));
        }
        self.verify(&proof.statement, &proof.stark_proof)?;
        Ok(proof.statement.clone())
    }

    /// Checks that the proof is one of this segment of the block.
    pub fn verify_segment(
        &self,
        proof: &SegmentProof,
        block: &Block,
        index: usize,
    ) -> Result<SegmentStatement, Error> {
        let statement = self.check(proof)?;
        statement.expect(&block.segment_statement(index)?)?;
        Ok(statement)
    }

    /// Checks all segment proofs of the block, given in order, and puts them together.
    pub fn join(&self, segments: Vec<SegmentProof>, block: &Block) -> Result<BlockProof, Error> {
        let statement = self.check_segments(&segments, block)?;
        Ok(BlockProof { statement, segments })
    }

    /// Checks a joined proof from its own segment proofs.
    pub fn verify_block(&self, proof: &BlockProof, block: &Block) -> Result<BlockStatement, Error> {
        let statement = self.check_segments(&proof.segments, block)?;
        proof.statement.expect(&statement)?;
        Ok(statement)
    }

    fn check_segments(&self, segments: &[SegmentProof], block: &Block) -> Result<BlockStatement, Error> {
        // Linking is cheap and finds what a confused caller does wrong, so it comes before the proofs.
        let statement = link(segments.iter().map(|segment| &segment.statement), block.transactions.len())?;
        if segments.len() != block.segments.len() {
            return Err(Error::Join(format!(
                "{} segment proofs for a block of {} segments",
                segments.len(),
                block.segments.len()
            )));
        }
        for (index, segment) in segments.iter().enumerate() {
            self.verify_segment(segment, block, index).map_err(|e| e.of_segment(index))?;
        }
        statement.expect(&block.statement()?)?;
        Ok(statement)
    }
}

/// What segments in this order come to: one block, each state where the one before ended, and all transactions
/// exactly once.
fn link<'a>(
    segments: impl Iterator<Item = &'a SegmentStatement> + Clone,
    transactions: usize,
) -> Result<BlockStatement, Error> {
    let mut following = segments.clone();
    let Some(first) = following.next() else {
        return Err(Error::Join("there are none".into()));
    };
    let mut last = first;
    for (index, next) in following.enumerate() {
        if (next.chain_id, next.height) != (first.chain_id, first.height) {
            return Err(Error::Join(format!("segment {} is of another block than segment 0", index + 1)));
        }
        if next.pre != last.post {
            return Err(Error::Join(format!(
                "segment {} does not start where segment {index} ends",
                index + 1
            )));
        }
        last = next;
    }
    check_cover(segments.clone().map(|segment| (segment.from, segment.to)), transactions)
        .map_err(Error::Join)?;
    let digests = segments.map(|segment| segment.transactions_digest);
    Ok(BlockStatement {
        chain_id: first.chain_id,
        height: first.height,
        pre: first.pre,
        post: last.post,
        transactions_digest: fold_digests(digests),
    })
}
