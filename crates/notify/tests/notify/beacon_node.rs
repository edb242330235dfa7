//! A beacon node as EIP-8025 has it: blocks by slot, validators, and `execution_proofs`, of which it checks all that the
//! consensus rules say. How roots are made here is the specification's long way, with every leaf that is not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use blst::BLST_ERROR;
use blst::min_pk::{PublicKey, Signature};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Answer, Request, Server, status};

pub type Root = [u8; 32];

/// EIP-2335's test key.
pub const PUBLIC_KEY: &str =
    "0x9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07";
pub const VALIDATOR: u64 = 256;
/// Some slots before the first of the recorded blocks.
pub const GENESIS_S: u64 = 1_767_225_612 - 12 * 100;
/// The version of the fork from this epoch on, and the one before it.
pub const FORK: (u64, [u8; 4], [u8; 4]) = (2, [7, 0, 0, 0], [6, 0, 0, 0]);
pub const GENESIS_VALIDATORS_ROOT: Root = [0x22; 32];
const SLOTS_PER_EPOCH: u64 = 32;
const MAX_PROOF_BYTES: usize = 4_194_304;

#[derive(Clone, Debug)]
pub struct BeaconBlock {
    pub slot: u64,
    pub root: Root,
    pub parent: Root,
    /// The block hash of what it carries.
    pub carries: String,
}

/// What a node knows, wants and has got.
pub struct State {
    pub blocks: Vec<BeaconBlock>,
    /// It tells by slot only the first one.
    pub hides_branches: bool,
    pub head_slot: u64,
    pub status: &'static str,
    pub public_key: String,
    pub genesis_validators_root: Root,
    /// Blocks have a bid, and no payload.
    pub is_gloas: bool,
    pub reads_ssz: bool,
    pub reads_json: bool,
    /// Types that it does not take, and why.
    pub refuses: BTreeMap<u64, String>,
    /// The proofs that it has: by beacon block and type.
    pub proofs: BTreeMap<(Root, u64), Vec<u8>>,
    pub signatures: Vec<String>,
    /// How many came in each call.
    pub calls: Vec<usize>,
    /// What was wrong with what came.
    pub faults: Vec<String>,
}

#[derive(Clone)]
pub struct BeaconNode(Arc<Mutex<State>>);

impl BeaconNode {
    pub fn start() -> (Self, Server) {
        let node = Self(Arc::new(Mutex::new(State {
            blocks: Vec::new(),
            hides_branches: false,
            head_slot: 0,
            status: "active_ongoing",
            public_key: PUBLIC_KEY.to_owned(),
            genesis_validators_root: GENESIS_VALIDATORS_ROOT,
            is_gloas: true,
            reads_ssz: true,
            reads_json: true,
            refuses: BTreeMap::new(),
            proofs: BTreeMap::new(),
            signatures: Vec::new(),
            calls: Vec::new(),
            faults: Vec::new(),
        })));
        let server = Server::start(node.answers());
        (node, server)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A block at a slot, which is the head then.
    pub fn add(&self, slot: u64, root: Root, carries: &str) {
        let mut state = self.state();
        let parent = sha256(&[&slot.to_le_bytes(), b"parent"]);
        state.blocks.push(BeaconBlock { slot, root, parent, carries: carries.to_owned() });
        state.head_slot = state.head_slot.max(slot);
    }

    /// The types that it has of a block.
    pub fn types(&self, root: Root) -> Vec<u64> {
        self.state().proofs.keys().filter(|(of, _)| *of == root).map(|(_, proof_type)| *proof_type).collect()
    }

    pub fn answers(&self) -> impl FnMut(&Request) -> Answer + Send + 'static {
        let node = self.clone();
        move |request| node.answer(request)
    }

    pub fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match (request.method.as_str(), path) {
            ("GET", "/eth/v1/config/spec") => data(json!({
                "SECONDS_PER_SLOT": "12", "SLOT_DURATION_MS": "12000", "SLOTS_PER_EPOCH": SLOTS_PER_EPOCH.to_string(),
                "BLOB_SCHEDULE": [], "CONFIG_NAME": "fixture",
            })),
            ("GET", "/eth/v1/beacon/genesis") => data(json!({
                "genesis_time": GENESIS_S.to_string(), "genesis_fork_version": hexed(&FORK.2),
                "genesis_validators_root": hexed(&state.genesis_validators_root),
            })),
            ("GET", "/eth/v1/config/fork_schedule") => data(json!([
                { "previous_version": hexed(&FORK.2), "current_version": hexed(&FORK.2), "epoch": "0" },
                { "previous_version": hexed(&FORK.2), "current_version": hexed(&FORK.1), "epoch": FORK.0.to_string() },
                { "previous_version": hexed(&FORK.1), "current_version": "0x08000000", "epoch": u64::MAX.to_string() },
            ])),
            ("GET", "/eth/v1/beacon/headers") => state.headers(query),
            ("GET", "/eth/v1/beacon/headers/head") => data(header(state.head_slot, [9; 32], [8; 32])),
            ("GET", _) if path.starts_with("/eth/v2/beacon/blocks/") => state.block(path),
            ("GET", _) if path.starts_with("/eth/v1/beacon/states/head/validators/") => state.validator(path),
            ("POST", "/eth/v1/beacon/execution_proofs") => state.take(request),
            _ => status(404),
        }
    }
}

impl State {
    fn headers(&self, query: &str) -> Answer {
        let (name, value) = query.split_once('=').unwrap();
        let is_asked_for = |block: &&BeaconBlock| match name {
            "slot" => block.slot.to_string() == value,
            "parent_root" => hexed(&block.parent) == value,
            _ => panic!("{query}"),
        };
        let mut found: Vec<&BeaconBlock> = self.blocks.iter().filter(is_asked_for).collect();
        if self.hides_branches && name == "slot" {
            found.truncate(1);
        }
        match found.is_empty() {
            true => status(404),
            false => data(found.iter().map(|block| header(block.slot, block.root, block.parent)).collect()),
        }
    }

    fn block(&self, path: &str) -> Answer {
        let Some(block) = self.blocks.iter().find(|block| path.ends_with(&hexed(&block.root))) else {
            return status(404);
        };
        let (version, body) = match self.is_gloas {
            true => {
                let bid =
                    json!({ "message": { "block_hash": block.carries, "slot": block.slot.to_string() } });
                ("gloas", json!({ "graffiti": "0x00", "signed_execution_payload_bid": bid }))
            }
            false => {
                let payload = json!({ "block_hash": block.carries, "transactions": ["0x02".repeat(1_000)] });
                ("fulu", json!({ "graffiti": "0x00", "execution_payload": payload }))
            }
        };
        let message = json!({ "slot": block.slot.to_string(), "body": body });
        let data = json!({ "message": message, "signature": "0x" });
        Answer::Status(200, Vec::new(), json!({ "version": version, "data": data }).to_string())
    }

    fn validator(&self, path: &str) -> Answer {
        let id = path.rsplit('/').next().unwrap();
        if id != self.public_key && id != VALIDATOR.to_string() {
            return status(404);
        }
        let validator = json!({ "pubkey": self.public_key, "slashed": false });
        data(json!({ "index": VALIDATOR.to_string(), "status": self.status, "validator": validator }))
    }

    /// Takes each proof that is right, whatever is wrong with others.
    fn take(&mut self, request: &Request) -> Answer {
        let is_ssz = request.header("content-type") == Some("application/octet-stream");
        if (is_ssz && !self.reads_ssz) || (!is_ssz && !self.reads_json) {
            return status(415);
        }
        let read = if is_ssz { from_ssz(&request.body) } else { from_json(&request.body) };
        let proofs = match read {
            Ok(proofs) => proofs,
            Err(fault) => {
                self.faults.push(fault.clone());
                return Answer::Status(400, Vec::new(), json!({ "code": 400, "message": fault }).to_string());
            }
        };
        self.calls.push(proofs.len());
        let mut failures = Vec::new();
        for (index, proof) in proofs.into_iter().enumerate() {
            if let Some(message) = self.refuses.get(&proof.proof_type) {
                failures.push(json!({ "index": index, "message": message }));
                continue;
            }
            if let Err(fault) = self.check(&proof) {
                self.faults.push(fault.clone());
                failures.push(json!({ "index": index, "message": fault }));
                continue;
            }
            self.signatures.push(hex::encode(&proof.signature));
            self.proofs.insert((proof.beacon_block_root, proof.proof_type), proof.data);
        }
        match failures.is_empty() {
            true => status(200),
            false => {
                let body = json!({ "code": 400, "message": "some were refused", "failures": failures });
                Answer::Status(400, Vec::new(), body.to_string())
            }
        }
    }

    fn check(&self, proof: &Proof) -> Result<(), String> {
        let block = self.blocks.iter().find(|block| block.root == proof.beacon_block_root);
        let block = block.ok_or("no such block")?;
        if proof.data.is_empty() || proof.data.len() > MAX_PROOF_BYTES {
            return Err(format!("a proof of {} bytes", proof.data.len()));
        }
        if proof.validator_index != VALIDATOR || !self.status.starts_with("active") {
            return Err("no active validator".to_owned());
        }
        let version = if block.slot / SLOTS_PER_EPOCH >= FORK.0 { FORK.1 } else { FORK.2 };
        let signing_root = proof.signing_root(version, self.genesis_validators_root);
        let key = hex::decode(&self.public_key[2..]).unwrap();
        let key = PublicKey::key_validate(&key).unwrap();
        let signature = Signature::sig_validate(&proof.signature, true);
        let signature = signature.map_err(|error| format!("no signature: {error:?}"))?;
        let scheme = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
        match signature.verify(true, &signing_root, scheme, &[], &key, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            error => Err(format!("a wrong signature: {error:?}")),
        }
    }
}

struct Proof {
    data: Vec<u8>,
    proof_type: u64,
    beacon_block_root: Root,
    validator_index: u64,
    signature: Vec<u8>,
}

impl Proof {
    fn hash_tree_root(&self) -> Root {
        envelope_root(&self.data, self.proof_type, self.beacon_block_root)
    }

    fn signing_root(&self, version: [u8; 4], genesis_validators_root: Root) -> Root {
        let fork_data = sha256(&[&version, &[0; 28], &genesis_validators_root]);
        sha256(&[&self.hash_tree_root(), &[0x0F, 0, 0, 0], &fork_data[..28]])
    }
}

pub fn envelope_root(data: &[u8], proof_type: u64, beacon_block_root: Root) -> Root {
    let mut leaves = vec![[0_u8; 32]; MAX_PROOF_BYTES / 32];
    for (leaf, bytes) in leaves.iter_mut().zip(data.chunks(32)) {
        leaf[..bytes.len()].copy_from_slice(bytes);
    }
    let data = sha256(&[&tree(leaves), &(data.len() as u64).to_le_bytes(), &[0; 24]]);
    let mut kind = [0; 32];
    kind[..8].copy_from_slice(&proof_type.to_le_bytes());
    tree(vec![data, kind, beacon_block_root, [0; 32]])
}

fn tree(mut leaves: Vec<Root>) -> Root {
    while leaves.len() > 1 {
        leaves = leaves.chunks(2).map(|pair| sha256(&[&pair[0], &pair[1]])).collect();
    }
    leaves[0]
}

fn from_ssz(bytes: &[u8]) -> Result<Vec<Proof>, String> {
    let number = |at: usize| -> Result<usize, String> {
        let bytes = bytes.get(at..at + 4).ok_or("it is too short")?;
        Ok(u32::from_le_bytes(bytes.try_into().unwrap()) as usize)
    };
    let first = number(0)?;
    if !first.is_multiple_of(4) || first == 0 || first / 4 > 4 {
        return Err(format!("{} proofs in a call", first / 4));
    }
    let mut ends: Vec<usize> = (0..first / 4).map(|index| number(index * 4)).collect::<Result<_, _>>()?;
    ends.push(bytes.len());
    let proof = |range: &[usize]| -> Result<Proof, String> {
        let signed = bytes.get(range[0]..range[1]).ok_or("offsets that go nowhere")?;
        if signed.len() < 145
            || signed[..4] != 108_u32.to_le_bytes()
            || signed[108..112] != 37_u32.to_le_bytes()
        {
            return Err("it is no signed envelope".to_owned());
        }
        Ok(Proof {
            data: signed[145..].to_vec(),
            proof_type: signed[112].into(),
            beacon_block_root: signed[113..145].try_into().unwrap(),
            validator_index: u64::from_le_bytes(signed[4..12].try_into().unwrap()),
            signature: signed[12..108].to_vec(),
        })
    };
    ends.windows(2).map(proof).collect()
}

fn from_json(bytes: &[u8]) -> Result<Vec<Proof>, String> {
    let list: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if list.is_empty() || list.len() > 4 {
        return Err(format!("{} proofs in a call", list.len()));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(format!("{value} is no text"));
    let octets = |value: &Value| -> Result<Vec<u8>, String> {
        let text = text(value)?;
        let digits = text.strip_prefix("0x").ok_or("no 0x")?;
        hex::decode(digits).map_err(|error| error.to_string())
    };
    let number = |value: &Value| text(value)?.parse::<u64>().map_err(|error| error.to_string());
    let proof = |signed: &Value| {
        let message = &signed["message"];
        Ok(Proof {
            data: octets(&message["proof_data"])?,
            proof_type: number(&message["proof_type"])?,
            beacon_block_root: octets(&message["beacon_block_root"])?.try_into().map_err(|_| "no root")?,
            validator_index: number(&signed["validator_index"])?,
            signature: octets(&signed["signature"])?,
        })
    };
    list.iter().map(proof).collect()
}

fn header(slot: u64, root: Root, parent: Root) -> Value {
    let message = json!({ "slot": slot.to_string(), "parent_root": hexed(&parent), "proposer_index": "1" });
    json!({ "root": hexed(&root), "canonical": true, "header": { "message": message, "signature": "0x" } })
}

fn data(data: Value) -> Answer {
    Answer::Status(200, Vec::new(), json!({ "data": data, "execution_optimistic": false }).to_string())
}

pub fn sha256(parts: &[&[u8]]) -> Root {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

pub fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
