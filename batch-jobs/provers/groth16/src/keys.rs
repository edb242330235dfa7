//! Keys as files, named by what is in them.
//!
//! A key is two files in one folder, each named by the sha256 of its content: a large one to prove with, and a small
//! one to verify with, which also names the large one. The hash of the small one is therefore the key's name: whoever
//! pins it has pinned everything, a verifier reads a few kilobytes, and a prover reads the rest when it first proves.
//! A file whose content has another hash than its name says is refused, so a folder of keys may come from anywhere.
//!
//! The **verification key** that the protocol speaks of is the sha256 of the verifying key in its canonical form.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ark_bls12_377::Bls12_377;
use ark_groth16::{PreparedVerifyingKey, ProvingKey, VerifyingKey};
use proofyard_statement::Error;
use proofyard_statement::proof_file::{split_header, with_header};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aggregate::AggregateCircuit;
use crate::leaf::LeafCircuit;
use crate::range::RangeCircuit;
use crate::system::{AggregateSystem, Circuit, LeafSystem, RangeSystem, System};

const KEY_FORMAT: &str = "proofyard-groth16-key-1";
const PROVING_KEY_FORMAT: &str = "proofyard-groth16-proving-key-1";

/// The most bytes that are read of either file.
const MAX_KEY_BYTES: u64 = 64 << 10;
const MAX_PROVING_KEY_BYTES: u64 = 1 << 30;

/// The development keys' randomness is the sha256 of this and the circuit's name, so it is public.
const DEVELOPMENT_SEED: &str = "proofyard-groth16 development key, anyone can forge proofs under it: ";

pub const DEVELOPMENT_WARNING: &str = "WARNING: this is the development key. Its randomness is published, so ANYONE \
                                       CAN FORGE PROOFS under it. Never accept it where a proof matters.";

/// Where a setup's secret numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Randomness {
    OperatingSystem,
    Published,
}

/// A key for one circuit, loaded from its files.
pub struct Key<S: System> {
    folder: PathBuf,
    /// As `--key` takes it.
    pub name: String,
    description: Description,
    /// What the protocol calls the verification key.
    pub id: Vec<u8>,
    pub verifying: PreparedVerifyingKey<S::Curve>,
    /// Of an aggregate: the leaf key that is part of its circuit.
    pub leaf: Option<VerifyingKey<Bls12_377>>,
    proving: Option<ProvingKey<S::Curve>>,
}

/// A key and its files.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    pub circuit: &'static str,
    /// Its name, as `--key` takes it.
    pub key: String,
    pub verification_key: String,
    pub randomness: Randomness,
    pub files: [PathBuf; 2],
}

/// The small file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: String,
    circuit: String,
    curve: String,
    capacity: usize,
    randomness: Randomness,
    verifying_key: String,
    leaf_verifying_key: Option<String>,
    /// The sha256 of the large file.
    proving_key: String,
}

/// The first line of the large file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvingKeyHeader {
    format: String,
    circuit: String,
    curve: String,
    capacity: usize,
}

/// The folder that keys are kept in where none is named.
pub fn default_folder() -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os("PROOFYARD_KEYS").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or_else(|| {
        Error::Key(
            "there is no home folder to keep keys in: name a folder with --keys or PROOFYARD_KEYS".into(),
        )
    })?;
    Ok(home.join(".cache/proofyard/keys"))
}

/// The verification key that the protocol speaks of.
pub fn verification_key<S: System>(key: &VerifyingKey<S::Curve>) -> Result<Vec<u8>, Error> {
    Ok(Sha256::digest(S::verifying_key_to_bytes(key)?).to_vec())
}

/// Makes a leaf's key; a development key that the folder has is not made again.
pub fn make_leaf(folder: &Path, randomness: Randomness) -> Result<Made, Error> {
    make::<LeafSystem>(folder, Circuit::new(LeafCircuit::blank()), None, randomness)
}

/// Makes a key for aggregates of proofs under this leaf key, likewise.
pub fn make_aggregate(folder: &Path, leaf_key: &str, randomness: Randomness) -> Result<Made, Error> {
    let leaf = Key::<LeafSystem>::load(folder, leaf_key)?.verifying.vk;
    let circuit = Circuit::new(AggregateCircuit::blank(leaf.clone()));
    make::<AggregateSystem>(folder, circuit, Some(&leaf), randomness)
}

/// Makes a range's key, likewise.
pub fn make_range(folder: &Path, randomness: Randomness) -> Result<Made, Error> {
    make::<RangeSystem>(folder, Circuit::new(RangeCircuit::blank()), None, randomness)
}

/// The names of the published development keys; makes those that are not in the folder.
pub fn development_leaf(folder: &Path) -> Result<String, Error> {
    development::<LeafSystem>(folder, |folder| make_leaf(folder, Randomness::Published))
}

pub fn development_aggregate(folder: &Path) -> Result<String, Error> {
    let leaf = development_leaf(folder)?;
    development::<AggregateSystem>(folder, |folder| make_aggregate(folder, &leaf, Randomness::Published))
}

pub fn development_range(folder: &Path) -> Result<String, Error> {
    development::<RangeSystem>(folder, |folder| make_range(folder, Randomness::Published))
}

fn development<S: System>(
    folder: &Path,
    make: impl FnOnce(&Path) -> Result<Made, Error>,
) -> Result<String, Error> {
    let name = format!("sha256:{}", S::DEVELOPMENT_KEY);
    let file = key_file::<S>(folder, S::DEVELOPMENT_KEY);
    if file.exists() {
        return Ok(name);
    }
    create(folder)?;
    // Several provers may start at once. Making a key takes all cores, so the others wait; on a filesystem without locks
    // all of them make it, and their files are the same.
    let lock_path = folder.join(format!(".{}.development.lock", S::CIRCUIT));
    let lock =
        File::create(&lock_path).map_err(|e| Error::io(format!("writing {}", lock_path.display()), e))?;
    let _ = lock.lock();
    if file.exists() {
        return Ok(name);
    }
    eprintln!("proofyard-groth16: making the development key of the {} circuit, once", S::CIRCUIT);
    let made = make(folder)?;
    if made.key == name {
        return Ok(name);
    }
    Err(Error::Key(format!(
        "this program makes the {} circuit's development key {}, and the published one is {name}: it was built with \
         another circuit or other libraries; build it from the repository's own Cargo.lock",
        S::CIRCUIT,
        made.key
    )))
}

/// The published development key, if the folder has all of it.
fn kept_development<S: System>(folder: &Path, leaf: Option<&VerifyingKey<Bls12_377>>) -> Option<Made> {
    let name = format!("sha256:{}", S::DEVELOPMENT_KEY);
    let key = Key::<S>::load(folder, &name).ok()?;
    let files = [key_file::<S>(folder, S::DEVELOPMENT_KEY), key.proving_file()];
    (key.leaf.as_ref() == leaf && files[1].exists()).then(|| Made {
        circuit: S::CIRCUIT,
        key: name,
        verification_key: hex::encode(&key.id),
        randomness: key.description.randomness,
        files,
    })
}

fn make<S: System>(
    folder: &Path,
    circuit: Circuit<crate::system::Scalar<S>>,
    leaf: Option<&VerifyingKey<Bls12_377>>,
    randomness: Randomness,
) -> Result<Made, Error> {
    if randomness == Randomness::Published
        && let Some(kept) = kept_development::<S>(folder, leaf)
    {
        return Ok(kept);
    }
    create(folder)?;
    let mut source: Box<dyn RngCore> = match randomness {
        Randomness::OperatingSystem => Box::new(OsRng),
        Randomness::Published => {
            let seed = Sha256::digest(format!("{DEVELOPMENT_SEED}{}", S::CIRCUIT));
            Box::new(ChaCha20Rng::from_seed(seed.into()))
        }
    };
    let proving = S::make_key(circuit, &mut *source)?;
    let header = ProvingKeyHeader::of::<S>();
    let bytes = with_header(&header, &S::proving_key_to_bytes(&proving)?).map_err(|e| of_file(folder, e))?;
    let (proving_key, proving_path) =
        store(folder, |hash| format!("{hash}.{}.proving-key", S::CIRCUIT), &bytes)?;
    let leaf = leaf.map(LeafSystem::verifying_key_to_bytes).transpose()?;
    let description = Description {
        format: KEY_FORMAT.into(),
        circuit: S::CIRCUIT.into(),
        curve: S::CURVE.into(),
        capacity: S::CAPACITY,
        randomness,
        verifying_key: hex::encode(S::verifying_key_to_bytes(&proving.vk)?),
        leaf_verifying_key: leaf.map(hex::encode),
        proving_key,
    };
    let mut text = serde_json::to_vec(&description).map_err(|e| Error::Key(e.to_string()))?;
    text.push(b'\n');
    let (name, path) = store(folder, |hash| format!("{hash}.{}.key", S::CIRCUIT), &text)?;
    Ok(Made {
        circuit: S::CIRCUIT,
        key: format!("sha256:{name}"),
        verification_key: hex::encode(verification_key::<S>(&proving.vk)?),
        randomness,
        files: [path, proving_path],
    })
}

impl ProvingKeyHeader {
    fn of<S: System>() -> Self {
        Self {
            format: PROVING_KEY_FORMAT.into(),
            circuit: S::CIRCUIT.into(),
            curve: S::CURVE.into(),
            capacity: S::CAPACITY,
        }
    }
}

impl<S: System> Key<S> {
    /// Loads what verifying needs of the key with this name, `sha256:` and 64 hex digits.
    pub fn load(folder: &Path, name: &str) -> Result<Self, Error> {
        let hash = hash_of_name(name)?;
        let path = key_file::<S>(folder, hash);
        let bytes = read_hashed(&path, hash, MAX_KEY_BYTES)?;
        let wrong = |why: String| Error::Key(format!("{}: {why}", path.display()));
        let description: Description = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        let found = (&*description.format, &*description.circuit, &*description.curve, description.capacity);
        let expected = (KEY_FORMAT, S::CIRCUIT, S::CURVE, S::CAPACITY);
        if found != expected {
            return Err(wrong(format!(
                "it is a {} for the circuit {} of capacity {} over {}, expected a {} for {} of capacity {} over {}",
                found.0, found.1, found.3, found.2, expected.0, expected.1, expected.3, expected.2
            )));
        }
        let decode = |text: &str| hex::decode(text).map_err(|e| wrong(format!("a key in it: {e}")));
        let verifying = S::verifying_key_from_bytes(&decode(&description.verifying_key)?)
            .map_err(|e| of_file(&path, e))?;
        if description.leaf_verifying_key.is_some() != S::PINS_LEAF_KEY {
            return Err(wrong("its leaf_verifying_key is missing, or is too much".into()));
        }
        let leaf = match &description.leaf_verifying_key {
            Some(leaf) => {
                let leaf = LeafSystem::verifying_key_from_bytes(&decode(leaf)?);
                Some(leaf.map_err(|e| of_file(&path, e))?)
            }
            None => None,
        };
        let id = verification_key::<S>(&verifying)?;
        let verifying = S::prepare(&verifying)?;
        Ok(Self { folder: folder.into(), name: name.into(), description, id, verifying, leaf, proving: None })
    }

    /// Whether anyone can forge proofs under it.
    pub fn is_development(&self) -> bool {
        self.description.randomness == Randomness::Published
    }

    /// The part to prove with; loaded when it is first asked for.
    pub fn proving(&mut self) -> Result<&ProvingKey<S::Curve>, Error> {
        let loaded = match self.proving.take() {
            Some(loaded) => loaded,
            None => self.load_proving()?,
        };
        Ok(self.proving.insert(loaded))
    }

    fn proving_file(&self) -> PathBuf {
        self.folder.join(format!("{}.{}.proving-key", self.description.proving_key, S::CIRCUIT))
    }

    fn load_proving(&self) -> Result<ProvingKey<S::Curve>, Error> {
        let path = self.proving_file();
        let bytes = read_hashed(&path, &self.description.proving_key, MAX_PROVING_KEY_BYTES)?;
        let wrong = |why: String| Error::Key(format!("{}: {why}", path.display()));
        let (header, body) =
            split_header::<ProvingKeyHeader>(&bytes, PROVING_KEY_FORMAT).map_err(|e| of_file(&path, e))?;
        if header != ProvingKeyHeader::of::<S>() {
            return Err(wrong(format!("it is for another circuit: {header:?}")));
        }
        let proving = S::proving_key_from_bytes(body).map_err(|e| of_file(&path, e))?;
        if proving.vk != self.verifying.vk {
            return Err(wrong("it belongs to another verifying key".into()));
        }
        Ok(proving)
    }
}

fn key_file<S: System>(folder: &Path, hash: &str) -> PathBuf {
    folder.join(format!("{hash}.{}.key", S::CIRCUIT))
}

/// The 64 hex digits of a key's name. They become part of a path, so nothing else may.
fn hash_of_name(name: &str) -> Result<&str, Error> {
    let hash = name.strip_prefix("sha256:").unwrap_or_default();
    if hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(hash);
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::Key(format!(
        "{shown:?} is no key's name: expected \"development\", or sha256: and 64 hex digits"
    )))
}

/// The content of a file that must have this hash.
fn read_hashed(path: &Path, hash: &str, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    let shown = path.display();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Key(format!(
                "there is no file {shown}: copy it there, or make keys with `proofyard-groth16 setup`"
            )));
        }
        opened => opened.map_err(|e| Error::io(format!("reading {shown}"), e))?,
    };
    let mut bytes = Vec::new();
    let read = file.take(limit_bytes + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(format!("reading {shown}"), e))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::Key(format!("{shown} is larger than {limit_bytes} bytes: it is no key")));
    }
    let found = hex::encode(Sha256::digest(&bytes));
    if found == hash {
        return Ok(bytes);
    }
    Err(Error::Key(format!(
        "the file {shown} has the sha256 {found}, expected {hash}: it is damaged or another file; put the right one in \
         its place"
    )))
}

/// Writes a file under the name that its hash gives; it is whole or not there.
fn store(
    folder: &Path,
    name: impl FnOnce(&str) -> String,
    content: &[u8],
) -> Result<(String, PathBuf), Error> {
    let hash = hex::encode(Sha256::digest(content));
    let path = folder.join(name(&hash));
    let write = || {
        // Provers may run as another user than the one that made the key; the process's own mask still applies.
        let readable = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().prefix(".key-").permissions(readable).tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(&path).map(drop).map_err(|e| e.error)
    };
    write().map_err(|e: io::Error| Error::io(format!("writing {}", path.display()), e))?;
    Ok((hash, path))
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|e| Error::io(format!("making the folder {}", folder.display()), e))
}

/// An error about a part of a key's file, as one about that file.
fn of_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Key(why) | Error::ProofFile(why) => Error::Key(format!("{}: {why}", path.display())),
        other => Error::Key(format!("{}: {other}", path.display())),
    }
}
