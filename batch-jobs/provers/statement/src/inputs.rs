//! Parsing a request's inputs, as the provers here need them.

use std::path::Path;

use proofyard_prover::{Input, InputKind};

use crate::block::Block;
use crate::error::Error;
use crate::values::RangeValues;

/// The one input is a block.
pub fn whole_block(inputs: &[Input]) -> Result<Block, Error> {
    let [Input { kind: InputKind::Block, path, index: None, .. }] = inputs else {
        return Err(Error::Inputs("expected one whole block".into()));
    };
    Block::read(path)
}

/// The one input is a segment of a block.
pub fn segment(inputs: &[Input]) -> Result<(Block, usize), Error> {
    let [Input { kind: InputKind::Block, path, index: Some(index), .. }] = inputs else {
        return Err(Error::Inputs("expected one block with the index of a segment".into()));
    };
    Ok((Block::read(path)?, *index as usize))
}

/// One block, wherever it stands, and the paths of all proofs in order.
pub fn block_and_proofs(inputs: &[Input]) -> Result<(Block, Vec<&Path>), Error> {
    let mut blocks = inputs.iter().filter(|input| input.kind == InputKind::Block && input.index.is_none());
    let (Some(block), None) = (blocks.next(), blocks.next()) else {
        return Err(Error::Inputs("expected one block and the proofs of its segments, in order".into()));
    };
    let proofs = inputs.iter().filter(|input| input.kind == InputKind::Proof);
    Ok((Block::read(&block.path)?, proofs.map(|input| input.path.as_path()).collect()))
}

/// All inputs are blocks, in order.
pub fn blocks(inputs: &[Input]) -> Result<Vec<Block>, Error> {
    let read = |input: &Input| match (input.kind, input.index) {
        (InputKind::Block, None) => Block::read(&input.path),
        _ => Err(Error::Inputs("expected whole blocks only".into())),
    };
    let blocks = inputs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if blocks.is_empty() { Err(Error::Inputs("expected at least one block".into())) } else { Ok(blocks) }
}

/// All inputs are proofs of blocks or of ranges, in order; with what their verifiers read from them.
pub fn proofs(inputs: &[Input]) -> Result<Vec<(&Path, RangeValues)>, Error> {
    let read = |input: &'_ Input| {
        let (InputKind::Proof, Some(values)) = (input.kind, &input.public_values) else {
            return Err(Error::Inputs("expected proofs with their public values only".into()));
        };
        let bytes = hex::decode(values)
            .map_err(|_| Error::Inputs(format!("public values {values:?} are not hexadecimal")))?;
        RangeValues::from_either(&bytes)
    };
    if inputs.is_empty() {
        return Err(Error::Inputs("expected at least one proof".into()));
    }
    inputs.iter().map(|input| Ok((input.path.as_path(), read(input)?))).collect()
}

/// What a proof of these inputs, blocks or proofs of blocks or ranges, must state.
pub fn range_values(inputs: &[Input]) -> Result<RangeValues, Error> {
    let of_block = |block: Block| RangeValues::from(block.values());
    let parts: Vec<RangeValues> = match inputs.first().map(|input| input.kind) {
        Some(InputKind::Block) => blocks(inputs)?.into_iter().map(of_block).collect(),
        _ => proofs(inputs)?.into_iter().map(|(_, values)| values).collect(),
    };
    RangeValues::join(&parts)
}

/// Refuses a verification key that the pipeline names, if it is not this verifier's own.
pub fn expect_key(named: Option<&str>, own: &[u8]) -> Result<(), Error> {
    let own = hex::encode(own);
    match named.map(|named| named.strip_prefix("0x").unwrap_or(named)) {
        Some(named) if !named.eq_ignore_ascii_case(&own) => {
            let named: String = named.chars().take(80).collect();
            Err(Error::Key(format!("this verifier's verification key is {own}, not {named}")))
        }
        _ => Ok(()),
    }
}
