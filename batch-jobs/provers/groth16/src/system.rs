//! The proof systems, leaf, aggregate and range: what differs between them, and the library's functions behind a wall.
//!
//! The library is generic and panics where it is surprised. Here it is called for exactly three curves, with checked
//! sizes, and a panic becomes an error: whatever comes from a file may be anything.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ark_bls12_377::{Bls12_377, Fr};
use ark_bn254::Bn254;
use ark_bw6_761::BW6_761;
use ark_ec::pairing::Pairing;
use ark_ff::PrimeField;
use ark_groth16::{Groth16, PreparedVerifyingKey, Proof, ProvingKey, VerifyingKey, prepare_verifying_key};
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_snark::SNARK;
use proofyard_statement::Error;
use rand_core::{OsRng, RngCore};

use crate::aggregate::LEAVES;
use crate::evm;
use crate::packing::{
    AGGREGATE_PIECE_BYTES, LEAF_PIECE_BYTES, LEAF_PIECES, RANGE_PIECE_BYTES, RANGE_PIECES, big_endian_inputs,
    public_inputs,
};
use crate::range::MAX_BLOCKS;
use crate::rule::MAX_TRANSACTIONS;

/// Proofs of one block, over BLS12-377.
#[derive(Debug, Clone, Copy)]
pub enum LeafSystem {}

/// Proofs of two leaf proofs, over BW6-761.
#[derive(Debug, Clone, Copy)]
pub enum AggregateSystem {}

/// Proofs of blocks in a row, over BN254, that contracts verify.
#[derive(Debug, Clone, Copy)]
pub enum RangeSystem {}

/// One of the three.
pub trait System {
    type Curve: Pairing;

    /// Names of the circuit and the curve, in files and messages.
    const CIRCUIT: &'static str;
    const CURVE: &'static str;
    const PROOF_SYSTEM: &'static str;
    /// An estimate; see the README.
    const SECURITY_BITS: u32;
    /// Transactions of a leaf, leaves of an aggregate, or blocks of a range.
    const CAPACITY: usize;
    const PUBLIC_INPUTS: usize;
    /// Bytes of the public values in one public input.
    const PIECE_BYTES: usize;
    /// Whether a leaf's key is part of the circuit.
    const PINS_LEAF_KEY: bool;
    const PROOF_BYTES: usize;
    /// The sha256 of the development key's file: it is the same wherever it is made.
    const DEVELOPMENT_KEY: &'static str;

    /// The public inputs that these public values are.
    fn public_inputs(values: &[u8]) -> Vec<Scalar<Self>> {
        public_inputs(values, Self::PIECE_BYTES)
    }

    fn make_key(
        circuit: Circuit<Scalar<Self>>,
        randomness: &mut dyn RngCore,
    ) -> Result<ProvingKey<Self::Curve>, Error>;

    fn proving_key_to_bytes(key: &ProvingKey<Self::Curve>) -> Result<Vec<u8>, Error>;

    /// Points are not checked: the bytes must be those that the key's hash stands for.
    fn proving_key_from_bytes(bytes: &[u8]) -> Result<ProvingKey<Self::Curve>, Error>;

    fn verifying_key_to_bytes(key: &VerifyingKey<Self::Curve>) -> Result<Vec<u8>, Error>;

    fn verifying_key_from_bytes(bytes: &[u8]) -> Result<VerifyingKey<Self::Curve>, Error>;

    fn prepare(key: &VerifyingKey<Self::Curve>) -> Result<PreparedVerifyingKey<Self::Curve>, Error>;

    fn prove(
        key: &ProvingKey<Self::Curve>,
        circuit: Circuit<Scalar<Self>>,
    ) -> Result<Proof<Self::Curve>, Error>;

    fn proof_to_bytes(proof: &Proof<Self::Curve>) -> Result<Vec<u8>, Error>;

    /// The proof that these bytes are; each point is checked to be in its group.
    fn proof_from_bytes(bytes: &[u8]) -> Result<Proof<Self::Curve>, Error>;

    /// Refuses a proof that does not hold for these public inputs.
    fn check(
        key: &PreparedVerifyingKey<Self::Curve>,
        public_inputs: &[Scalar<Self>],
        proof: &Proof<Self::Curve>,
    ) -> Result<(), Error>;
}

/// One whose proofs are files with a header, which has the public values.
pub trait WithHeader: System {
    const PROOF_FORMAT: &'static str;
}

pub type Scalar<S> = <<S as System>::Curve as Pairing>::ScalarField;

/// Any circuit, so that the library is compiled for one only.
pub struct Circuit<F: PrimeField>(Synthesis<F>);

type Synthesis<F> = Box<dyn FnOnce(ConstraintSystemRef<F>) -> Result<(), SynthesisError>>;

impl<F: PrimeField> Circuit<F> {
    pub fn new(circuit: impl ConstraintSynthesizer<F> + 'static) -> Self {
        Self(Box::new(|system| circuit.generate_constraints(system)))
    }
}

impl<F: PrimeField> ConstraintSynthesizer<F> for Circuit<F> {
    fn generate_constraints(self, system: ConstraintSystemRef<F>) -> Result<(), SynthesisError> {
        (self.0)(system)
    }
}

/// The functions of the trait are spelled out for each system, so that what they call is compiled here, once.
macro_rules! functions {
    ($curve:ty, $scalar:ty) => {
        type Curve = $curve;

        fn make_key(
            circuit: Circuit<$scalar>,
            mut randomness: &mut dyn RngCore,
        ) -> Result<ProvingKey<$curve>, Error> {
            let make =
                || Groth16::<$curve>::generate_random_parameters_with_reduction(circuit, &mut randomness);
            guarded(make).and_then(|made| made.map_err(|e| e.to_string())).map_err(Error::Proving)
        }

        fn proving_key_to_bytes(key: &ProvingKey<$curve>) -> Result<Vec<u8>, Error> {
            let mut bytes = Vec::with_capacity(key.uncompressed_size());
            key.serialize_uncompressed(&mut bytes).map_err(|e| Error::Key(e.to_string()))?;
            Ok(bytes)
        }

        fn proving_key_from_bytes(bytes: &[u8]) -> Result<ProvingKey<$curve>, Error> {
            let read = |bytes: &mut &[u8]| ProvingKey::deserialize_uncompressed_unchecked(bytes);
            read_whole(bytes, read).map_err(Error::Key)
        }

        fn verifying_key_to_bytes(key: &VerifyingKey<$curve>) -> Result<Vec<u8>, Error> {
            canonical(key).map_err(Error::Key)
        }

        fn verifying_key_from_bytes(bytes: &[u8]) -> Result<VerifyingKey<$curve>, Error> {
            let read = |bytes: &mut &[u8]| VerifyingKey::deserialize_compressed(bytes);
            let key = read_canonical(bytes, read).map_err(Error::Key)?;
            let inputs = key.gamma_abc_g1.len().saturating_sub(1);
            if inputs == Self::PUBLIC_INPUTS {
                return Ok(key);
            }
            Err(Error::Key(format!("it is for {inputs} public inputs, expected {}", Self::PUBLIC_INPUTS)))
        }

        fn prepare(key: &VerifyingKey<$curve>) -> Result<PreparedVerifyingKey<$curve>, Error> {
            guarded(|| prepare_verifying_key(key)).map_err(Error::Key)
        }

        fn prove(key: &ProvingKey<$curve>, circuit: Circuit<$scalar>) -> Result<Proof<$curve>, Error> {
            let prove = || Groth16::<$curve>::prove(key, circuit, &mut OsRng);
            guarded(prove).and_then(|proof| proof.map_err(|e| e.to_string())).map_err(Error::Proving)
        }

        fn check(
            key: &PreparedVerifyingKey<$curve>,
            public_inputs: &[$scalar],
            proof: &Proof<$curve>,
        ) -> Result<(), Error> {
            // The library would leave out inputs that have no counterpart.
            if public_inputs.len() + 1 != key.vk.gamma_abc_g1.len() {
                return Err(Error::Rejected("the key is for another number of public inputs".into()));
            }
            let check = || Groth16::<$curve>::verify_with_processed_vk(key, public_inputs, proof);
            match guarded(check).map_err(Error::Rejected)? {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::Rejected("it does not hold for its public values".into())),
                Err(error) => Err(Error::Rejected(error.to_string())),
            }
        }
    };
}

/// Proofs in the library's own canonical form.
macro_rules! canonical_proofs {
    ($curve:ty) => {
        fn proof_to_bytes(proof: &Proof<$curve>) -> Result<Vec<u8>, Error> {
            canonical(proof).map_err(Error::Proving)
        }

        fn proof_from_bytes(bytes: &[u8]) -> Result<Proof<$curve>, Error> {
            let read = |bytes: &mut &[u8]| Proof::deserialize_compressed(bytes);
            read_canonical(bytes, read).map_err(Error::Rejected)
        }
    };
}

impl System for LeafSystem {
    const CIRCUIT: &'static str = "leaf";
    const CURVE: &'static str = "bls12-377";
    const PROOF_SYSTEM: &'static str = "groth16-bls12-377";
    const SECURITY_BITS: u32 = 126;
    const CAPACITY: usize = MAX_TRANSACTIONS;
    const PUBLIC_INPUTS: usize = LEAF_PIECES;
    const PIECE_BYTES: usize = LEAF_PIECE_BYTES;
    const PINS_LEAF_KEY: bool = false;
    const PROOF_BYTES: usize = 192;
    const DEVELOPMENT_KEY: &'static str = "cc441d18290e7593e6039d00d8be2d2f272d6098b6fbeb47fe85ce67d9dd6908";

    functions!(Bls12_377, Fr);
    canonical_proofs!(Bls12_377);
}

impl WithHeader for LeafSystem {
    const PROOF_FORMAT: &'static str = "proofyard-groth16-block-1";
}

impl System for AggregateSystem {
    const CIRCUIT: &'static str = "aggregate";
    const CURVE: &'static str = "bw6-761";
    const PROOF_SYSTEM: &'static str = "groth16-bw6-761";
    const SECURITY_BITS: u32 = 126;
    const CAPACITY: usize = LEAVES;
    const PUBLIC_INPUTS: usize = 2;
    const PIECE_BYTES: usize = AGGREGATE_PIECE_BYTES;
    const PINS_LEAF_KEY: bool = true;
    const PROOF_BYTES: usize = 288;
    const DEVELOPMENT_KEY: &'static str = "2d7fbd60d6b9028afdd537d39eac933e4ddd17dad41a77f87c59a3cd89229707";

    functions!(BW6_761, ark_bw6_761::Fr);
    canonical_proofs!(BW6_761);
}

impl WithHeader for AggregateSystem {
    const PROOF_FORMAT: &'static str = "proofyard-groth16-aggregate-1";
}

impl System for RangeSystem {
    const CIRCUIT: &'static str = "range";
    const CURVE: &'static str = "bn254";
    const PROOF_SYSTEM: &'static str = "groth16-bn254";
    const SECURITY_BITS: u32 = 100;
    const CAPACITY: usize = MAX_BLOCKS;
    const PUBLIC_INPUTS: usize = RANGE_PIECES;
    const PIECE_BYTES: usize = RANGE_PIECE_BYTES;
    const PINS_LEAF_KEY: bool = false;
    const PROOF_BYTES: usize = evm::COORDINATES * evm::COORDINATE_BYTES;
    const DEVELOPMENT_KEY: &'static str = "a9e0129c01445b4559aec3ea3b67ab01a403ed91bf96afadea1b9828bb44c881";

    functions!(Bn254, ark_bn254::Fr);

    fn public_inputs(values: &[u8]) -> Vec<ark_bn254::Fr> {
        big_endian_inputs(values, Self::PIECE_BYTES)
    }

    fn proof_to_bytes(proof: &Proof<Bn254>) -> Result<Vec<u8>, Error> {
        Ok(evm::proof_to_bytes(proof))
    }

    fn proof_from_bytes(bytes: &[u8]) -> Result<Proof<Bn254>, Error> {
        guarded(|| evm::proof_from_bytes(bytes)).and_then(|read| read).map_err(Error::Rejected)
    }
}

/// What the work gives, or what the library said as it panicked.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("no reason given").to_string(),
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("the library panicked: {}", text(panic)))
}

fn canonical(value: &impl CanonicalSerialize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(value.compressed_size());
    value.serialize_compressed(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn read_whole<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut &[u8]) -> Result<T, ark_serialize::SerializationError>,
) -> Result<T, String> {
    let mut rest = bytes;
    let value = guarded(|| read(&mut rest))?.map_err(|e| e.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes too many", rest.len())) }
}

/// As [`read_whole`]; and these must be the bytes that are written for the value, so that nobody respells it.
fn read_canonical<T: CanonicalSerialize>(
    bytes: &[u8],
    read: impl FnOnce(&mut &[u8]) -> Result<T, ark_serialize::SerializationError>,
) -> Result<T, String> {
    let value = read_whole(bytes, read)?;
    if canonical(&value)? == bytes { Ok(value) } else { Err("it is not in its canonical form".into()) }
}
