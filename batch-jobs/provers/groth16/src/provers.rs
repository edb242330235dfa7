//! The provers of this program, as the protocol asks for them: `block`, `aggregate` and `range`.

use std::path::{Path, PathBuf};

use ark_bls12_377::Bls12_377;
use ark_groth16::VerifyingKey;
use proofyard_prover::{
    Failure, Input, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    write_output,
};
use proofyard_statement::digest::bytes_to_hex;
use proofyard_statement::inputs::{blocks, expect_key, proofs, range_values, whole_block};
use proofyard_statement::proof_file::read_bounded;
use proofyard_statement::{BlockValues, Error, ProofFile, RangeValues};
use serde_json::{Map, Value};

use crate::aggregate::{AggregateCircuit, LEAVES, Leaf};
use crate::keys::{
    DEVELOPMENT_WARNING, Key, default_folder, development_aggregate, development_leaf, development_range,
    verification_key,
};
use crate::leaf::LeafCircuit;
use crate::range::RangeCircuit;
use crate::system::{AggregateSystem, Circuit, LeafSystem, RangeSystem, Scalar, System, WithHeader};

/// Where keys are and which one is meant; a setup request's arguments override it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub folder: Option<PathBuf>,
    /// `sha256:` and 64 hex digits, or `development`.
    pub key: Option<String>,
}

/// Proves one block.
pub struct BlockProver {
    settings: Settings,
    key: Option<Key<LeafSystem>>,
}

/// Proves that two proofs of blocks that follow each other hold.
pub struct AggregateProver {
    settings: Settings,
    key: Option<Key<AggregateSystem>>,
}

/// Proves blocks that follow each other, for contracts. Its proof files are what a contract takes and nothing besides, so
/// that their verifier knows the public values from its inputs.
pub struct RangeProver {
    settings: Settings,
    key: Option<Key<RangeSystem>>,
}

impl Settings {
    fn with_arguments(&self, arguments: &Map<String, Value>) -> Result<Self, Error> {
        let text = |name: &str| match arguments.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(Error::Key(format!("the argument {name:?} is {other}, expected a text"))),
        };
        Ok(Self {
            folder: text("keys")?.map(PathBuf::from).or_else(|| self.folder.clone()),
            key: text("key")?.or_else(|| self.key.clone()),
        })
    }

    /// The key that contracts verify with.
    pub fn load_range(&self) -> Result<Key<RangeSystem>, Error> {
        self.load(development_range)
    }

    fn load<S: System>(
        &self,
        development: impl FnOnce(&Path) -> Result<String, Error>,
    ) -> Result<Key<S>, Error> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => default_folder()?,
        };
        let key = match self.key.as_deref() {
            Some("development") => Key::load(&folder, &development(&folder)?)?,
            Some(name) => Key::load(&folder, name)?,
            None => {
                return Err(Error::Key(
                    "none was named: give --key, or the argument \"key\", with sha256:... as `proofyard-groth16 \
                     setup` prints it, or with development"
                        .into(),
                ));
            }
        };
        if key.is_development() {
            eprintln!("proofyard-groth16: {DEVELOPMENT_WARNING}");
        }
        Ok(key)
    }
}

impl BlockProver {
    pub fn new(settings: Settings) -> Self {
        Self { settings, key: None }
    }
}

impl Prover for BlockProver {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let settings = self.settings.with_arguments(&request.arguments)?;
        Ok(setup_ok(self.key.insert(settings.load(development_leaf)?)))
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let key = loaded(&mut self.key)?;
        let circuit = LeafCircuit::of(&whole_block(&request.inputs)?)?;
        let values = circuit.values.to_bytes();
        let proof = prove(key, Circuit::new(circuit), &values, work)?;
        write_with_header(key, values, proof, request)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let key = loaded(&mut self.key)?;
        expect_key(request.verification_key.as_deref(), &key.id)?;
        let values = BlockValues::from_bytes(&check(key, &request.proof)?)?;
        values.expect(&whole_block(&request.inputs)?.checked_values()?)?;
        Ok(VerifyOk::new(hex::encode(values.to_bytes())))
    }
}

impl AggregateProver {
    pub fn new(settings: Settings) -> Self {
        Self { settings, key: None }
    }
}

impl Prover for AggregateProver {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let settings = self.settings.with_arguments(&request.arguments)?;
        Ok(setup_ok(self.key.insert(settings.load(development_aggregate)?)))
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let key = loaded(&mut self.key)?;
        let leaf_key = pinned_leaf(key)?;
        expect_leaf_keys(&request.inputs, &leaf_key)?;
        let leaves = read_leaves(&request.inputs, &leaf_key)?;
        let ranges = leaves.each_ref().map(|leaf| RangeValues::from(leaf.values.clone()));
        let range = RangeValues::join(&ranges)?;
        let values = range.to_bytes();
        let circuit = AggregateCircuit { leaf_key, range, leaves };
        let proof = prove(key, Circuit::new(circuit), &values, work)?;
        write_with_header(key, values, proof, request)
    }

    /// The leaf proofs are not looked at: what the aggregate proves is that they were checked.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let key = loaded(&mut self.key)?;
        expect_key(request.verification_key.as_deref(), &key.id)?;
        expect_leaf_keys(&request.inputs, &pinned_leaf(key)?)?;
        let values = RangeValues::from_bytes(&check(key, &request.proof)?)?;
        values.expect(&range_values(&request.inputs)?)?;
        Ok(VerifyOk::new(hex::encode(values.to_bytes())))
    }
}

impl RangeProver {
    pub fn new(settings: Settings) -> Self {
        Self { settings, key: None }
    }
}

impl Prover for RangeProver {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let settings = self.settings.with_arguments(&request.arguments)?;
        Ok(setup_ok(self.key.insert(settings.load_range()?)))
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let key = loaded(&mut self.key)?;
        let circuit = RangeCircuit::of(&blocks(&request.inputs)?)?;
        let values = circuit.values.to_bytes();
        let proof = prove(key, Circuit::new(circuit), &values, work)?;
        write(key, values, &proof, request)
    }

    /// The inputs may be the blocks, or proofs of them.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let key = loaded(&mut self.key)?;
        expect_key(request.verification_key.as_deref(), &key.id)?;
        let values = range_values(&request.inputs)?;
        let proof = RangeSystem::proof_from_bytes(&read_bounded(&request.proof, RangeSystem::PROOF_BYTES)?)?;
        let bytes = values.to_bytes();
        RangeSystem::check(&key.verifying, &RangeSystem::public_inputs(&bytes), &proof).map_err(|_| {
            Error::Rejected(format!(
                "it does not prove, under the verification key {}, that blocks {} to {} of chain {} take {} to {}",
                hex::encode(&key.id),
                values.from,
                values.to,
                values.chain_id,
                bytes_to_hex(&values.pre),
                bytes_to_hex(&values.post)
            ))
        })?;
        Ok(VerifyOk::new(hex::encode(bytes)))
    }
}

fn loaded<S: System>(key: &mut Option<Key<S>>) -> Result<&mut Key<S>, Error> {
    key.as_mut()
        .ok_or_else(|| Error::Key("none is loaded: a setup request must come first, and succeed".into()))
}

fn setup_ok<S: System>(key: &Key<S>) -> SetupOk {
    SetupOk {
        verification_key: Some(hex::encode(&key.id)),
        proof_system: Some(S::PROOF_SYSTEM.into()),
        security_bits: Some(S::SECURITY_BITS),
        trusted_setup: Some(true),
        ..SetupOk::default()
    }
}

/// The bytes of a proof, which was looked at once more.
fn prove<S: System>(
    key: &mut Key<S>,
    circuit: Circuit<Scalar<S>>,
    public_values: &[u8],
    work: &mut Work<'_>,
) -> Result<Vec<u8>, Error> {
    work.progress(0.0, "loading the proving key");
    let proving = key.proving()?;
    work.progress(0.1, "proving");
    let proof = S::prove(proving, circuit)?;
    // The library makes something of a witness that satisfies nothing, too.
    S::check(&key.verifying, &S::public_inputs(public_values), &proof)
        .map_err(|e| Error::Proving(format!("what was made is no proof: {e}")))?;
    S::proof_to_bytes(&proof)
}

fn write_with_header<S: WithHeader>(
    key: &Key<S>,
    public_values: Vec<u8>,
    proof: Vec<u8>,
    request: &ProveRequest,
) -> Result<ProveOk, Failure> {
    let format = S::PROOF_FORMAT;
    let file = ProofFile { format, verification_key: key.id.clone(), public_values, proof };
    let bytes = file.to_bytes()?;
    write(key, file.public_values, &bytes, request)
}

fn write<S: System>(
    key: &Key<S>,
    public_values: Vec<u8>,
    file: &[u8],
    request: &ProveRequest,
) -> Result<ProveOk, Failure> {
    Ok(ProveOk {
        proof: write_output(&request.output_dir, &format!("{}.proof", S::CIRCUIT), file)?,
        verification_key: Some(hex::encode(&key.id)),
        proof_system: Some(S::PROOF_SYSTEM.into()),
        security_bits: Some(S::SECURITY_BITS),
        public_values: Some(hex::encode(public_values)),
        ..ProveOk::default()
    })
}

/// The public values of a proof file, whatever they are, once the proof was found to hold for them.
fn check<S: WithHeader>(key: &Key<S>, path: &Path) -> Result<Vec<u8>, Error> {
    let file = ProofFile::read(path, S::PROOF_FORMAT, S::PROOF_BYTES)?;
    if file.verification_key != key.id {
        return Err(Error::Rejected(format!(
            "it is under the verification key {}, and this verifier's is {}",
            hex::encode(&file.verification_key),
            hex::encode(&key.id)
        )));
    }
    let inputs = S::public_inputs(&file.public_values);
    S::check(&key.verifying, &inputs, &S::proof_from_bytes(&file.proof)?)?;
    Ok(file.public_values)
}

fn pinned_leaf(key: &Key<AggregateSystem>) -> Result<VerifyingKey<Bls12_377>, Error> {
    key.leaf.clone().ok_or_else(|| Error::Key("this aggregate key names no leaf key".into()))
}

/// Refuses leaves that their verifier says are under another key than the one in the aggregate's circuit.
fn expect_leaf_keys(inputs: &[Input], leaf_key: &VerifyingKey<Bls12_377>) -> Result<(), Error> {
    let pinned = verification_key::<LeafSystem>(leaf_key)?;
    for (index, input) in inputs.iter().enumerate() {
        let named = input.verification_key.as_deref().map(|named| named.strip_prefix("0x").unwrap_or(named));
        if let Some(named) = named.filter(|named| !named.eq_ignore_ascii_case(&hex::encode(&pinned))) {
            return Err(other_leaf_key(index, named, &pinned));
        }
    }
    Ok(())
}

fn other_leaf_key(index: usize, named: &str, pinned: &[u8]) -> Error {
    let named: String = named.chars().take(80).collect();
    Error::Key(format!(
        "proof {index} is under the leaf verification key {named}, and this aggregate key takes only {}; make an \
         aggregate key for that leaf key, or prove the block under this one",
        hex::encode(pinned)
    ))
}

/// The leaf proofs that the inputs are, each checked here, so that what is wrong with one is said of it.
fn read_leaves(inputs: &[Input], leaf_key: &VerifyingKey<Bls12_377>) -> Result<[Leaf; LEAVES], Error> {
    let pinned = verification_key::<LeafSystem>(leaf_key)?;
    let prepared = LeafSystem::prepare(leaf_key)?;
    let named = proofs(inputs)?;
    let mut leaves = Vec::with_capacity(LEAVES);
    for (index, (path, verified)) in named.iter().enumerate() {
        let read = || {
            let file = ProofFile::read(path, LeafSystem::PROOF_FORMAT, LeafSystem::PROOF_BYTES)?;
            if file.verification_key != pinned {
                return Err(other_leaf_key(index, &hex::encode(&file.verification_key), &pinned));
            }
            let values = BlockValues::from_bytes(&file.public_values)?;
            let leaf = Leaf { values, proof: LeafSystem::proof_from_bytes(&file.proof)? };
            LeafSystem::check(&prepared, &leaf.public_inputs(), &leaf.proof)?;
            RangeValues::from(leaf.values.clone()).expect(verified)?;
            Ok(leaf)
        };
        leaves.push(read().map_err(|e| e.of(format_args!("proof {index}")))?);
    }
    let found = leaves.len();
    leaves
        .try_into()
        .map_err(|_| Error::Inputs(format!("expected the proofs of {LEAVES} blocks, found {found}")))
}
