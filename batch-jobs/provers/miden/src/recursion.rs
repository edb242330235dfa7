//! A proof as advice for Miden's verifier inside the virtual machine.
//!
//! The verifier reads a proof from the advice in the order in which its transcript names things: security parameters,
//! the statement, the randomness that it will draw itself and compare, commitments, evaluations, the low-degree test's
//! rounds. Openings lie in a Merkle store, and their leaves in a map under their hashes. None of it is trusted: with wrong
//! advice the program does not run to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use miden_air::{ProcessorAir, PublicInputs, config};
use miden_core::field::QuadFelt;
use miden_core::precompile::PrecompileTranscriptState;
use miden_core::program::ProgramInfo;
use miden_core::{Felt, WORD_SIZE, Word};
use miden_crypto::field::BasedVectorSpace;
use miden_crypto::merkle::store::MerkleStore;
use miden_crypto::merkle::{MerklePath, PartialMerkleTree};
use miden_crypto::stark::StarkConfig;
use miden_crypto::stark::challenger::CanObserve;
use miden_crypto::stark::fri::PcsTranscript;
use miden_crypto::stark::lmcs::Lmcs;
use miden_crypto::stark::lmcs::proof::BatchProofView;
use miden_crypto::stark::proof::StarkTranscript;
use miden_lifted_stark::AirInstance;
use miden_processor::advice::AdviceInputs;
use proofyard_statement::Error;

use crate::vm::{ProofHash, Statement, split_proof, stack_inputs, whole_stack};

type Config = config::Poseidon2Config;
type Commitments = <Config as StarkConfig<Felt, QuadFelt>>::Lmcs;
type Transcript = StarkTranscript<QuadFelt, Commitments>;

/// A proof, with what it is a proof of.
pub struct Inner<'a> {
    pub program: ProgramInfo,
    pub statement: Statement,
    pub proof: &'a [u8],
}

/// The advice for a program that reads `first`, then these proofs.
pub fn advice(first: &[Felt], proofs: &[Inner<'_>]) -> Result<AdviceInputs, Error> {
    let mut stack = first.to_vec();
    let mut store = MerkleStore::new();
    let mut leaves = Vec::new();
    for (index, inner) in proofs.iter().enumerate() {
        let parsing = || advice_of(inner, &mut stack, &mut store, &mut leaves);
        catch_unwind(AssertUnwindSafe(parsing))
            .unwrap_or_else(|_| Err(Error::Rejected("it is malformed".into())))
            .map_err(|error| error.of(format_args!("proof {index}")))?;
    }
    Ok(AdviceInputs::default().with_stack(stack).with_map(leaves).with_merkle_store(store))
}

fn advice_of(
    inner: &Inner<'_>,
    stack: &mut Vec<Felt>,
    store: &mut MerkleStore,
    leaves: &mut Vec<(Word, Vec<Felt>)>,
) -> Result<(), Error> {
    let (ProofHash::Poseidon2, stark) = split_proof(inner.proof)? else {
        return Err(Error::Rejected("it does not commit with Poseidon2, so no program can check it".into()));
    };
    let config = config::poseidon2_config(config::pcs_params());
    let transcript = parse(&config, inner, stark)?;
    put_stack(inner, &transcript, stack)?;
    let pcs = &transcript.pcs_transcript;
    for openings in pcs.deep_witnesses.iter().chain(&pcs.fri_witnesses) {
        put_openings(config.lmcs(), openings, store, leaves)?;
    }
    Ok(())
}

/// Reads a proof as its verifier would, without verifying it.
fn parse(config: &Config, inner: &Inner<'_>, stark: &[u8]) -> Result<Transcript, Error> {
    let malformed = |e: &dyn std::fmt::Display| Error::Rejected(format!("it is malformed: {e}"));
    let data = bincode_1::deserialize(stark).map_err(|e| malformed(&e))?;
    let outputs = miden_processor::StackOutputs::new(&inner.statement.outputs);
    let public = PublicInputs::new(
        inner.program.clone(),
        stack_inputs(&inner.statement.inputs)?,
        outputs.map_err(|e| malformed(&e))?,
        PrecompileTranscriptState::default(),
    );
    let (values, kernel) = public.to_air_inputs();
    let variable: &[&[Felt]] = &[&kernel];
    let mut challenger = config.challenger();
    config::observe_protocol_params(&mut challenger);
    challenger.observe_slice(&values);
    config::observe_var_len_public_inputs(&mut challenger, variable, &[WORD_SIZE]);
    let instance = AirInstance { public_values: &values, var_len_public_inputs: variable };
    let parsed = StarkTranscript::from_proof(config, &[(&ProcessorAir, instance)], &data, challenger);
    parsed.map(|(transcript, _)| transcript).map_err(|e| malformed(&e))
}

fn put_stack(inner: &Inner<'_>, transcript: &Transcript, stack: &mut Vec<Felt>) -> Result<(), Error> {
    let malformed = || Error::Rejected("it is malformed".into());
    let pcs = &transcript.pcs_transcript;
    let integer = |value: usize| Felt::new_unchecked(value as u64);
    let log_trace_length = *transcript.instance_shapes.log_trace_heights().first().ok_or_else(malformed)?;
    stack.push(Felt::from_u32(u32::from(log_trace_length)));

    let parameters = config::pcs_params();
    stack.push(integer(parameters.num_queries()));
    stack.extend([parameters.query_pow_bits(), config::DEEP_POW_BITS, config::FOLDING_POW_BITS].map(integer));

    // The statement, padded to a multiple of eight, and no kernel.
    let statement = &inner.statement;
    stack.extend_from_slice(inner.program.program_hash().as_elements());
    stack.extend(whole_stack(&statement.inputs));
    stack.extend(whole_stack(&statement.outputs));
    stack.extend([Felt::from_u32(0); WORD_SIZE]);
    stack.push(Felt::from_u32(0));

    let [alpha, beta, ..] = transcript.randomness.as_slice() else { return Err(malformed()) };
    stack.extend(elements(&[*beta, *alpha]));
    stack.extend(commitment(transcript.main_commit));
    stack.extend(commitment(transcript.aux_commit));
    if let Some(values) = transcript.all_aux_values.first() {
        stack.extend(elements(values));
    }
    stack.extend(commitment(transcript.quotient_commit));
    stack.extend(elements(&[pcs.deep_transcript.challenge_columns]).into_iter().rev());
    put_evaluations(pcs, stack);
    stack.push(pcs.deep_transcript.pow_witness);
    for round in &pcs.fri_transcript.rounds {
        stack.extend(commitment(round.commitment));
        stack.push(round.pow_witness);
    }
    stack.extend(elements(&pcs.fri_transcript.final_poly));
    stack.push(pcs.query_pow_witness);
    Ok(())
}

/// The evaluations of all columns at the drawn point, then those at the point after it.
fn put_evaluations(pcs: &PcsTranscript<QuadFelt, Commitments>, stack: &mut Vec<Felt>) {
    let (mut here, mut next) = (Vec::new(), Vec::new());
    for matrix in pcs.deep_transcript.evals.iter().flatten() {
        let mut rows = matrix.values.as_slice().chunks(matrix.width);
        here.extend_from_slice(rows.next().unwrap_or_default());
        next.extend_from_slice(rows.next().unwrap_or_default());
    }
    stack.extend(elements(&here));
    stack.extend(elements(&next));
}

fn put_openings(
    commitments: &Commitments,
    openings: &<Commitments as Lmcs>::BatchProof,
    store: &mut MerkleStore,
    leaves: &mut Vec<(Word, Vec<Felt>)>,
) -> Result<(), Error> {
    let malformed = || Error::Rejected("its openings are malformed".into());
    let mut paths = Vec::new();
    for index in openings.indices() {
        let rows = openings.opening(index).ok_or_else(malformed)?;
        let siblings = openings.path(index).ok_or_else(malformed)?;
        let leaf = Word::new(commitments.hash(rows.iter_rows()).into());
        let path = siblings.into_iter().map(|sibling| Word::new(sibling.into())).collect();
        paths.push((index as u64, leaf, MerklePath::new(path)));
        leaves.push((leaf, rows.as_slice().to_vec()));
    }
    let tree = PartialMerkleTree::with_paths(paths).map_err(|_| malformed())?;
    store.extend(tree.inner_nodes());
    Ok(())
}

fn commitment<C: Into<[Felt; 4]>>(commitment: C) -> [Felt; 4] {
    commitment.into()
}

fn elements(values: &[QuadFelt]) -> Vec<Felt> {
    QuadFelt::flatten_to_base(values.to_vec())
}
