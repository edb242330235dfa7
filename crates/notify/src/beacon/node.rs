//! What a beacon node is asked, by the Beacon API, and what it is given.

use std::time::Instant;

use proofyard_core::sinks::Trouble;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::envelope::{Root, SignedEnvelope, hexed};
use crate::Failure;
use crate::http::{Answer, Get, JSON, OCTETS, Post, Reply, shown};

/// A beacon block with all its transactions, as JSON, is a few MB.
const ANSWER_BYTES: u64 = 64 << 20;

/// A node, and until when it is waited for.
#[derive(Clone)]
pub(super) struct Node {
    pub url: String,
    pub until: Instant,
}

/// What is fixed of a chain.
pub(super) struct Network {
    pub genesis_s: u64,
    pub genesis_validators_root: Root,
    pub slot_ms: u64,
    pub slots_per_epoch: u64,
    /// From which epoch on each fork's version counts.
    forks: Vec<Fork>,
}

/// A beacon block, of which there should be one at a slot.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    #[serde(deserialize_with = "root")]
    pub root: Root,
    header: SignedHeader,
}

/// What a beacon block carries.
pub(super) struct Carried {
    /// The payload's block hash, where there is one.
    pub hash: Option<String>,
    /// The fork's name.
    pub version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Validator {
    #[serde(deserialize_with = "number")]
    pub index: u64,
    pub status: String,
    validator: ValidatorKey,
}

/// What a node said of each proof: it has it, or why not.
pub(super) type Taken = Vec<Result<(), String>>;

impl Network {
    /// At which slot a block of this time is; `None` where no slot has it.
    pub fn slot_of(&self, timestamp_s: u64) -> Option<u64> {
        let since_ms = timestamp_s.checked_sub(self.genesis_s)?.checked_mul(1_000)?;
        let slot = since_ms.div_ceil(self.slot_ms);
        (slot.checked_mul(self.slot_ms)? / 1_000 == since_ms / 1_000).then_some(slot)
    }

    /// They are one chain, and say the same of this slot; of forks to come they may know more or less.
    pub fn agrees_with(&self, other: &Self, slot: u64) -> bool {
        let fixed = |network: &Self| {
            (network.genesis_s, network.genesis_validators_root, network.slot_ms, network.slots_per_epoch)
        };
        fixed(self) == fixed(other) && self.fork_at(slot) == other.fork_at(slot)
    }

    /// The version of the fork that counts at this slot.
    pub fn fork_at(&self, slot: u64) -> Option<[u8; 4]> {
        let epoch = slot / self.slots_per_epoch;
        let since = self.forks.iter().map(|fork| fork.epoch).filter(|since| *since <= epoch).max()?;
        let latest = || self.forks.iter().filter(|fork| fork.epoch == since).map(|fork| fork.current_version);
        // Development networks have several forks begin at once: the last is the one that no other follows.
        let is_followed = |version: [u8; 4]| {
            let mut others =
                self.forks.iter().filter(|fork| fork.epoch == since && fork.current_version != version);
            others.any(|fork| fork.previous_version == version)
        };
        latest().find(|version| !is_followed(*version))
    }
}

impl Header {
    pub fn slot(&self) -> u64 {
        self.header.message.slot
    }
    pub fn parent(&self) -> Root {
        self.header.message.parent_root
    }
}

impl Validator {
    pub fn has_key(&self, public: &[u8]) -> bool {
        self.validator.pubkey.eq_ignore_ascii_case(&hexed(public))
    }
    /// Also one that is about to leave.
    pub fn is_active(&self) -> bool {
        self.status.starts_with("active")
    }
}

impl Node {
    pub fn network(&self) -> Result<Network, Failure> {
        let spec: Map<String, Value> = self.needed("eth/v1/config/spec")?;
        let setting = |name: &str| spec.get(name)?.as_str()?.parse::<u64>().ok().filter(|value| *value > 0);
        let slot_ms = setting("SLOT_DURATION_MS")
            .or(setting("SECONDS_PER_SLOT").map(|slot_s| slot_s.saturating_mul(1_000)));
        let missing = |name: &str| Failure::later(format!("{}: its settings have no {name}", self.host()));
        let genesis: Genesis = self.needed("eth/v1/beacon/genesis")?;
        Ok(Network {
            genesis_s: genesis.genesis_time,
            genesis_validators_root: genesis.genesis_validators_root,
            slot_ms: slot_ms.ok_or_else(|| missing("SLOT_DURATION_MS or SECONDS_PER_SLOT"))?,
            slots_per_epoch: setting("SLOTS_PER_EPOCH").ok_or_else(|| missing("SLOTS_PER_EPOCH"))?,
            forks: self.needed("eth/v1/config/fork_schedule")?,
        })
    }

    /// The blocks at a slot that it knows, also those that no branch has taken up, as far as it tells.
    pub fn headers_at(&self, slot: u64) -> Result<Vec<Header>, Failure> {
        let headers: Option<Vec<Header>> = self.get(&format!("eth/v1/beacon/headers?slot={slot}"))?;
        let mut headers = headers.unwrap_or_default();
        // Some nodes tell by slot only the block that they follow, and by parent all.
        let parents: Vec<Root> = headers.iter().map(Header::parent).take(2).collect();
        for parent in parents {
            let path = format!("eth/v1/beacon/headers?parent_root={}", hexed(&parent));
            let reply = self.call(&path)?;
            match reply.status {
                200 => headers.extend(self.read::<Vec<Header>>(&reply)?),
                // Not all nodes can be asked that.
                400 | 404 | 405 | 501 => {}
                // Another block may be hidden behind it.
                _ => return Err(self.failed(&path, reply)),
            }
        }
        headers.retain(|header| header.slot() == slot);
        Ok(headers)
    }

    pub fn carried_by(&self, block: &Root) -> Result<Carried, Failure> {
        let path = format!("eth/v2/beacon/blocks/{}", hexed(block));
        let reply = self.call(&path)?;
        if reply.status != 200 {
            return Err(self.failed(&path, reply));
        }
        let Block { version, data } = self.parsed(&reply)?;
        let Body { execution_payload, signed_execution_payload_bid } = data.message.body;
        let bid = signed_execution_payload_bid.map(|bid| bid.message);
        Ok(Carried { hash: bid.or(execution_payload).map(|payload| payload.block_hash), version })
    }

    /// By its index, or its key.
    pub fn validator(&self, id: &str) -> Result<Option<Validator>, Failure> {
        self.get(&format!("eth/v1/beacon/states/head/validators/{id}"))
    }

    pub fn head_slot(&self) -> Result<u64, Failure> {
        self.needed::<Header>("eth/v1/beacon/headers/head").map(|head| head.slot())
    }

    /// Hands proofs in, as many as one call takes; the node keeps the valid ones also where it refuses others.
    pub fn hand_in(&self, proofs: &[SignedEnvelope], version: &str) -> Result<Taken, Failure> {
        let mut reply = self.post(OCTETS, SignedEnvelope::list_ssz(proofs), version)?;
        let reads_no_ssz =
            reply.status == 415 || (reply.status == 400 && self.refusals(&reply, proofs.len()).is_none());
        if reads_no_ssz {
            let json = Value::Array(proofs.iter().map(SignedEnvelope::to_json).collect());
            reply = self.post(JSON, json.to_string().into_bytes(), version)?;
        }
        if let (400, Some(taken)) = (reply.status, self.refusals(&reply, proofs.len())) {
            return Ok(taken);
        }
        let answer = reply.shown(&self.url, [].into_iter());
        if let 404 | 405 | 501 = answer.status {
            let Answer { host, status, text, .. } = answer;
            return Err(Failure::later(format!(
                "{host}: it takes no execution proofs (EIP-8025): {status}: {text}"
            )));
        }
        match answer.outcome() {
            Ok(()) => Ok(vec![Ok(()); proofs.len()]),
            Err(Failure::Later(trouble)) => Err(Failure::Later(trouble)),
            Err(Failure::Refused(reason)) => Ok(vec![Err(reason); proofs.len()]),
        }
    }

    /// Which of the proofs it does not take; `None` where it says of none of them.
    fn refusals(&self, reply: &Reply, proofs: usize) -> Option<Taken> {
        let Refusals { failures } = serde_json::from_slice(&reply.body).ok()?;
        let place = |failure: &Refusal| usize::try_from(failure.index).ok().filter(|index| *index < proofs);
        let (known, strange): (Vec<Refusal>, Vec<Refusal>) =
            failures.into_iter().partition(|failure| place(failure).is_some());
        let host = &reply.host;
        // Which proof it means is not clear then, so none counts as taken.
        let unless_named = match strange.first() {
            Some(Refusal { index, .. }) => Err(format!("{host}: it refuses proof {index} of {proofs} too")),
            None => Ok(()),
        };
        let mut taken: Taken = vec![unless_named; proofs];
        for failure in &known {
            let message = shown(&failure.message, &self.url, [].into_iter());
            *taken.get_mut(place(failure)?)? = Err(format!("{host}: {message}"));
        }
        (!known.is_empty()).then_some(taken)
    }

    fn post(&self, content_type: &'static str, body: Vec<u8>, version: &str) -> Result<Reply, Failure> {
        let url = self.address("eth/v1/beacon/execution_proofs");
        let headers = vec![("eth-consensus-version", version.to_owned())];
        Post { url: &url, content_type, headers, body, time_limit_ms: self.time_left_ms() }.reply()
    }

    /// `None` where there is no such thing.
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let reply = self.call(path)?;
        match reply.status {
            200 => self.read(&reply).map(Some),
            404 => Ok(None),
            _ => Err(self.failed(path, reply)),
        }
    }

    fn needed<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let missing = || Failure::later(format!("{}: it has no {path}", self.host()));
        self.get(path)?.ok_or_else(missing)
    }

    fn call(&self, path: &str) -> Result<Reply, Failure> {
        let url = self.address(path);
        Get { url: &url, time_limit_ms: self.time_left_ms(), most_bytes: ANSWER_BYTES }.send()
    }

    /// Whatever it is, it may pass, or an operator mends it.
    fn failed(&self, path: &str, reply: Reply) -> Failure {
        let Answer { host, status, wait_ms, text } = reply.shown(&self.url, [].into_iter());
        let path = path.split('?').next().unwrap_or_default();
        Failure::Later(Trouble::asking(format!("{host}: {path}: {status}: {text}"), wait_ms))
    }

    fn read<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, Failure> {
        self.parsed::<Data<T>>(reply).map(|data| data.data)
    }

    fn parsed<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, Failure> {
        let strange =
            |error| Failure::later(format!("{}: its answer is not the Beacon API's: {error}", reply.host));
        serde_json::from_slice(&reply.body).map_err(strange)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url.trim_end_matches('/'))
    }

    pub fn host(&self) -> String {
        crate::http::host_of(&self.url)
    }

    fn time_left_ms(&self) -> u64 {
        let left = self.until.saturating_duration_since(Instant::now()).as_millis();
        u64::try_from(left).unwrap_or(u64::MAX).max(1)
    }
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Genesis {
    #[serde(deserialize_with = "number")]
    genesis_time: u64,
    #[serde(deserialize_with = "root")]
    genesis_validators_root: Root,
}

#[derive(Deserialize)]
struct Fork {
    #[serde(deserialize_with = "fixed")]
    previous_version: [u8; 4],
    #[serde(deserialize_with = "fixed")]
    current_version: [u8; 4],
    #[serde(deserialize_with = "number")]
    epoch: u64,
}

#[derive(Debug, Deserialize)]
struct SignedHeader {
    message: HeaderMessage,
}

#[derive(Debug, Deserialize)]
struct HeaderMessage {
    #[serde(deserialize_with = "number")]
    slot: u64,
    #[serde(deserialize_with = "root")]
    parent_root: Root,
}

#[derive(Deserialize)]
struct Block {
    version: String,
    data: SignedBlock,
}

#[derive(Deserialize)]
struct SignedBlock {
    message: BlockMessage,
}

#[derive(Deserialize)]
struct BlockMessage {
    body: Body,
}

/// Up to Fulu it has the payload, from Gloas on the bid for one.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    execution_payload: Option<Payload>,
    #[serde(default)]
    signed_execution_payload_bid: Option<SignedBid>,
}

#[derive(Deserialize)]
struct SignedBid {
    message: Payload,
}

#[derive(Deserialize)]
struct Payload {
    block_hash: String,
}

#[derive(Debug, Deserialize)]
struct ValidatorKey {
    pubkey: String,
}

#[derive(Deserialize)]
struct Refusals {
    failures: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(deserialize_with = "number")]
    index: u64,
    #[serde(default)]
    message: String,
}

/// The Beacon API has integers as texts; some nodes have some of them as numbers.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Is(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Is(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

fn root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Root, D::Error> {
    fixed(deserializer)
}

fn fixed<'de, D: Deserializer<'de>, const BYTES: usize>(deserializer: D) -> Result<[u8; BYTES], D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = hex::decode(text.trim_start_matches("0x")).map_err(D::Error::custom)?;
    bytes.try_into().map_err(|_| D::Error::custom(format!("{text} has not {BYTES} bytes")))
}
