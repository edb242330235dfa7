//! The keys: commitment generators, the circuit's matrices, and what the compressing proof needs of them.
//!
//! Nothing in them is secret and nothing is chosen: the generators are hashes of a label to the curves, so that every
//! process makes the same keys from the circuit alone.

use std::io::{self, Write};

use nova_snark::nova::{CompressedSNARK, ProverKey, PublicParams, RecursiveSNARK, VerifierKey};
use nova_snark::provider::ipa_pc::EvaluationEngine;
use nova_snark::provider::{PallasEngine, VestaEngine};
use nova_snark::spartan::snark::RelaxedR1CSSNARK;
use nova_snark::traits::snark::RelaxedR1CSSNARKTrait;
use proofyard_statement::Error;
use sha2::{Digest as _, Sha256};

use crate::step::Step;

type Compressing<E> = RelaxedR1CSSNARK<E, EvaluationEngine<E>>;
type Verifier =
    VerifierKey<PallasEngine, VestaEngine, Step, Compressing<PallasEngine>, Compressing<VestaEngine>>;

pub type Folded = RecursiveSNARK<PallasEngine, VestaEngine, Step>;
pub type Compressed =
    CompressedSNARK<PallasEngine, VestaEngine, Step, Compressing<PallasEngine>, Compressing<VestaEngine>>;

/// Everything that proving and verifying need besides blocks.
pub struct Keys {
    pub(crate) parameters: PublicParams<PallasEngine, VestaEngine, Step>,
    pub(crate) prover:
        ProverKey<PallasEngine, VestaEngine, Step, Compressing<PallasEngine>, Compressing<VestaEngine>>,
    pub(crate) verifier: Verifier,
    id: [u8; 32],
}

impl Keys {
    /// Makes the keys; it takes seconds.
    pub fn make() -> Result<Self, Error> {
        // The matrices are the same for each step; any will do.
        let parameters = PublicParams::setup(
            &Step::Close,
            &*Compressing::<PallasEngine>::ck_floor(),
            &*Compressing::<VestaEngine>::ck_floor(),
        )
        .map_err(|e| Error::Key(format!("the parameters cannot be made: {e}")))?;
        let (prover, verifier) = Compressed::setup(&parameters)
            .map_err(|e| Error::Key(format!("the compressing proof's keys cannot be made: {e}")))?;
        let id = id_of(&verifier)?;
        Ok(Self { parameters, prover, verifier, id })
    }

    /// The verification key's id: the SHA-256 of the verifier's key, which holds the matrices and all generators.
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// Constraints of one folding step: of the circuit over Pallas, which holds the step, and of the one over Vesta.
    pub fn constraints(&self) -> (usize, usize) {
        self.parameters.num_constraints()
    }
}

fn id_of(verifier: &Verifier) -> Result<[u8; 32], Error> {
    let mut hash = Hashing(Sha256::new());
    // Fixed-width little-endian integers: one form, on every machine.
    bincode::serde::encode_into_std_write(verifier, &mut hash, bincode::config::legacy())
        .map_err(|e| Error::Key(format!("the verifier's key cannot be written: {e}")))?;
    Ok(hash.0.finalize().into())
}

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
