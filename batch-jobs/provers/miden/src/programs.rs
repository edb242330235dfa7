//! The four programs, each with what its proofs state.

use miden_core::{Felt, Word};
use miden_processor::advice::AdviceInputs;
use proofyard_statement::{Block, BlockValues, Error, ProofFile, RangeValues, SegmentValues};

use crate::recursion::{self, Inner};
use crate::vm::{Machine, ProofHash, Statement, whole_stack};
use crate::words::{digest, halves, shown, words, words_of};

pub const SEGMENT_FORMAT: &str = "proofyard-miden-segment-2";
pub const BLOCK_FORMAT: &str = "proofyard-miden-block-2";
pub const RANGE_FORMAT: &str = "proofyard-miden-range-2";

/// A proof of the largest segment, or of proofs, is well below this.
pub const MAX_PROOF_BYTES: usize = 2 << 20;

/// More would not fit a small machine's memory in one proof; a block is cut into segments for that.
pub const MAX_TRANSACTIONS: usize = 256;

/// Each takes seconds and some 0.6 GB to prove.
pub const MAX_INNER_PROOFS: usize = 16;

/// Proves segments of a block.
pub struct SegmentProgram(Machine);

/// Proves a whole block at once.
pub struct BlockProgram(Machine);

/// Proves a block from the proofs of its segments.
pub struct MergeProgram {
    machine: Machine,
    segment: SegmentProgram,
}

/// Proves a range of blocks from proofs of blocks, by either program, and of ranges.
pub struct RangeProgram {
    machine: Machine,
    block: BlockProgram,
    merge: MergeProgram,
}

impl SegmentProgram {
    pub fn new() -> Result<Self, Error> {
        Machine::new(include_str!("segment.masm"), &[]).map(Self)
    }

    pub fn machine(&self) -> &Machine {
        &self.0
    }

    pub fn prove(&self, block: &Block, index: usize, hash: ProofHash) -> Result<ProofFile, Error> {
        let transactions = block.transactions_of(index)?;
        check_size(transactions.len())?;
        let values = block.segment_values(index)?;
        let advice = AdviceInputs::default().with_stack(words_of(transactions));
        proved(&self.0, SEGMENT_FORMAT, &segment_statement(&values), values.to_bytes(), advice, hash)
    }

    /// Checks that the proof proves the values that it states, whatever they are.
    pub fn check(&self, file: &ProofFile) -> Result<SegmentValues, Error> {
        expect_program(&self.0, file)?;
        let values = SegmentValues::from_bytes(&file.public_values)?;
        self.0.verify(&segment_statement(&values), &file.proof)?;
        Ok(values)
    }

    /// Checks that the proof is one of this segment of the block.
    pub fn verify(&self, file: &ProofFile, block: &Block, index: usize) -> Result<SegmentValues, Error> {
        let values = self.check(file)?;
        values.expect(&block.segment_values(index)?)?;
        Ok(values)
    }
}

impl BlockProgram {
    pub fn new() -> Result<Self, Error> {
        Machine::new(include_str!("block.masm"), &[]).map(Self)
    }

    pub fn machine(&self) -> &Machine {
        &self.0
    }

    pub fn prove(&self, block: &Block, hash: ProofHash) -> Result<ProofFile, Error> {
        check_size(block.transactions.len())?;
        let values = block.checked_values()?;
        let number = Felt::new_unchecked(block.transactions.len() as u64);
        let stack = [vec![number], words_of(&block.transactions)].concat();
        let advice = AdviceInputs::default().with_stack(stack);
        proved(&self.0, BLOCK_FORMAT, &block_statement(&values), values.to_bytes(), advice, hash)
    }

    /// Checks that the proof proves the values that it states, whatever they are.
    pub fn check(&self, file: &ProofFile) -> Result<BlockValues, Error> {
        check_block(&self.0, file)
    }
}

impl MergeProgram {
    pub fn new() -> Result<Self, Error> {
        let segment = SegmentProgram::new()?;
        let pinned = [("SEGMENT", segment.0.hash())];
        Ok(Self { machine: Machine::new(include_str!("merge.masm"), &pinned)?, segment })
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Proves the block from the proofs of its segments, in order.
    pub fn prove(&self, block: &Block, segments: &[ProofFile]) -> Result<ProofFile, Error> {
        let values = block.checked_values()?;
        if segments.len() != block.segments.len() || segments.len() > MAX_INNER_PROOFS {
            let (found, expected) = (segments.len(), block.segments.len());
            return Err(Error::Join(format!(
                "{found} proofs for a block of {expected} segments, of which at most {MAX_INNER_PROOFS} may be"
            )));
        }
        // The program itself refuses wrong proofs, but only after a while, and with a less helpful error.
        let mut inner = Vec::with_capacity(segments.len());
        for (index, file) in segments.iter().enumerate() {
            let checked = self.segment.verify(file, block, index);
            let values = checked.map_err(|error| error.of(format_args!("segment {index}")))?;
            inner.push(self.inner_segment(&values, &file.proof));
        }
        let advice = merge_advice(&inner)?;
        let statement = block_statement(&values);
        proved(&self.machine, BLOCK_FORMAT, &statement, values.to_bytes(), advice, ProofHash::Poseidon2)
    }

    /// Runs the program on these proofs, whose stated values need not be true.
    pub fn execute(&self, values: &BlockValues, segments: &[Inner<'_>]) -> Result<Vec<Felt>, Error> {
        self.machine.execute(&block_statement(values).inputs, merge_advice(segments)?)
    }

    pub fn inner_segment<'a>(&self, values: &SegmentValues, proof: &'a [u8]) -> Inner<'a> {
        Inner { program: self.segment.0.info(), statement: segment_statement(values), proof }
    }

    /// Checks that the proof proves the values that it states, whatever they are.
    pub fn check(&self, file: &ProofFile) -> Result<BlockValues, Error> {
        check_block(&self.machine, file)
    }
}

impl RangeProgram {
    pub fn new() -> Result<Self, Error> {
        let (block, merge) = (BlockProgram::new()?, MergeProgram::new()?);
        let pinned = [("BLOCK", block.0.hash()), ("MERGE", merge.machine.hash())];
        Ok(Self { machine: Machine::new(include_str!("range.masm"), &pinned)?, block, merge })
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Proves the range that these proofs, of blocks or ranges, come to in this order.
    pub fn prove(&self, files: &[ProofFile]) -> Result<ProofFile, Error> {
        if files.len() > MAX_INNER_PROOFS {
            return Err(Error::Join(format!("{} proofs; at most {MAX_INNER_PROOFS} may be", files.len())));
        }
        let mut parts = Vec::with_capacity(files.len());
        let mut inner = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let (values, checked) =
                self.inner(file).map_err(|error| error.of(format_args!("proof {index}")))?;
            parts.push(values);
            inner.push(checked);
        }
        let values = RangeValues::join(&parts)?;
        let advice = self.advice(self.machine.hash(), &inner)?;
        let statement = range_statement(&values, self.machine.hash());
        proved(&self.machine, RANGE_FORMAT, &statement, values.to_bytes(), advice, ProofHash::Poseidon2)
    }

    /// Runs the program on these proofs, whose stated values need not be true, with `own` as its own hash.
    pub fn execute(&self, values: &RangeValues, own: Word, proofs: &[Inner<'_>]) -> Result<Vec<Felt>, Error> {
        self.machine.execute(&range_statement(values, own).inputs, self.advice(own, proofs)?)
    }

    /// Checks a proof of a block or of a range, and makes it ready to be checked inside the program.
    pub fn inner<'a>(&self, file: &'a ProofFile) -> Result<(RangeValues, Inner<'a>), Error> {
        if file.format == RANGE_FORMAT {
            let values = self.check(file)?;
            let statement = range_statement(&values, self.machine.hash());
            return Ok((values, Inner { program: self.machine.info(), statement, proof: &file.proof }));
        }
        let machine = match file.verification_key == self.block.0.verification_key() {
            true => &self.block.0,
            false => &self.merge.machine,
        };
        let values = check_block(machine, file)?;
        let statement = block_statement(&values);
        Ok((values.into(), Inner { program: machine.info(), statement, proof: &file.proof }))
    }

    /// Checks that the proof proves the values that it states, whatever they are.
    pub fn check(&self, file: &ProofFile) -> Result<RangeValues, Error> {
        expect_program(&self.machine, file)?;
        let values = RangeValues::from_bytes(&file.public_values)?;
        self.machine.verify(&range_statement(&values, self.machine.hash()), &file.proof)?;
        Ok(values)
    }

    fn advice(&self, own: Word, proofs: &[Inner<'_>]) -> Result<AdviceInputs, Error> {
        let number = Felt::new_unchecked(proofs.len() as u64);
        recursion::advice(&[own.as_elements(), &[number]].concat(), proofs)
    }
}

fn merge_advice(segments: &[Inner<'_>]) -> Result<AdviceInputs, Error> {
    recursion::advice(&[Felt::new_unchecked(segments.len() as u64)], segments)
}

fn check_block(machine: &Machine, file: &ProofFile) -> Result<BlockValues, Error> {
    expect_program(machine, file)?;
    let values = BlockValues::from_bytes(&file.public_values)?;
    machine.verify(&block_statement(&values), &file.proof)?;
    Ok(values)
}

fn segment_statement(values: &SegmentValues) -> Statement {
    let range = [values.from, values.to].map(Felt::from_u32);
    let place = [halves(values.chain_id), halves(values.height)];
    let inputs = [&words(&values.before), &range[..], place.as_flattened()].concat();
    Statement { inputs, outputs: words(&values.after).to_vec() }
}

fn block_statement(values: &BlockValues) -> Statement {
    let place = [halves(values.chain_id), halves(values.height)];
    Statement {
        inputs: [&words(&values.pre), place.as_flattened()].concat(),
        outputs: [words(&values.post), words(&values.transactions)].concat(),
    }
}

fn range_statement(values: &RangeValues, own: Word) -> Statement {
    let place = [halves(values.chain_id), halves(values.from), halves(values.to)];
    Statement {
        inputs: [&words(&values.pre), place.as_flattened()].concat(),
        outputs: [&words(&values.post), own.as_elements()].concat(),
    }
}

fn proved(
    machine: &Machine,
    format: &'static str,
    statement: &Statement,
    public_values: Vec<u8>,
    advice: AdviceInputs,
    hash: ProofHash,
) -> Result<ProofFile, Error> {
    let (outputs, proof) = machine.prove(&statement.inputs, advice, hash)?;
    if outputs != whole_stack(&statement.outputs) {
        let found = outputs.get(..8).map(digest).transpose()?.unwrap_or_default();
        return Err(Error::Proving(format!("the program came to {}, not to what is stated", shown(&found))));
    }
    Ok(ProofFile { format, verification_key: machine.verification_key().to_vec(), public_values, proof })
}

fn check_size(transactions: usize) -> Result<(), Error> {
    if transactions <= MAX_TRANSACTIONS {
        return Ok(());
    }
    let why = format!("{transactions} transactions; at most {MAX_TRANSACTIONS} are proved at once");
    Err(Error::Block(why))
}

fn expect_program(machine: &Machine, file: &ProofFile) -> Result<(), Error> {
    let own = machine.verification_key();
    if file.verification_key == own {
        return Ok(());
    }
    let (found, own) = (shown(&file.verification_key), shown(&own));
    Err(Error::Rejected(format!("it is of the program {found}, expected {own}")))
}
