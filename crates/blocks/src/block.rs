//! The block in the node's JSON, and its hash: Keccak-256 over the RLP list of the header's fields.
//!
//! Forks appended fields and never removed one. So a later field without all earlier ones is no header of
//! any fork; it is refused, as it would hash like one whose fields have other names.

use std::fmt;

use alloy_rlp::Encodable;
use proofyard_core::pipeline::Header;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use sha3::{Digest, Keccak256};

use crate::encoding::{Bytes, Fixed, Quantity, WideQuantity, to_hex};
use crate::fault::Fault;
use crate::object::Object;

/// What a field of the header is.
#[derive(Clone, Copy)]
enum Shape {
    Hash,
    Address,
    Bloom,
    Nonce,
    Data,
    Number,
    /// Of 256 bits.
    WideNumber,
}

/// The header's fields under Ethereum's first rules, in the order in which they are hashed.
const FIRST: [(&str, Shape); 15] = [
    ("parentHash", Shape::Hash),
    ("sha3Uncles", Shape::Hash),
    ("miner", Shape::Address),
    ("stateRoot", Shape::Hash),
    ("transactionsRoot", Shape::Hash),
    ("receiptsRoot", Shape::Hash),
    ("logsBloom", Shape::Bloom),
    ("difficulty", Shape::WideNumber),
    ("number", Shape::Number),
    ("gasLimit", Shape::Number),
    ("gasUsed", Shape::Number),
    ("timestamp", Shape::Number),
    ("extraData", Shape::Data),
    ("mixHash", Shape::Hash),
    ("nonce", Shape::Nonce),
];

/// What later forks appended.
const LATER: [(&str, Shape); 8] = [
    // London.
    ("baseFeePerGas", Shape::WideNumber),
    // Shanghai.
    ("withdrawalsRoot", Shape::Hash),
    // Cancun, with the next two.
    ("blobGasUsed", Shape::Number),
    ("excessBlobGas", Shape::Number),
    ("parentBeaconBlockRoot", Shape::Hash),
    // Prague.
    ("requestsHash", Shape::Hash),
    // Amsterdam, with the next.
    ("blockAccessListHash", Shape::Hash),
    ("slotNumber", Shape::Number),
];

/// What nodes give beside the header.
const BESIDE: [&str; 6] = ["hash", "size", "totalDifficulty", "transactions", "uncles", "withdrawals"];

/// Names that are kept of fields which are not understood, and characters of each.
const MAX_UNKNOWN: usize = 8;
const MAX_UNKNOWN_CHARS: usize = 32;

/// A longer value is kept as its hash.
const MAX_FIELD_BYTES: usize = 256;

/// What is known of a block once it was checked.
pub(crate) struct NodeBlock<'a> {
    object: Object<'a>,
    pub hash: [u8; 32],
    pub parent: [u8; 32],
    pub height: u64,
    pub timestamp_s: u64,
    pub transactions: u32,
}

impl<'a> NodeBlock<'a> {
    /// Reads a block, and checks what its chain's rule for headers asks for.
    pub fn checked(object: Object<'a>, header: Header) -> Result<Self, Fault> {
        if let Some(field) = ["number", "hash"].into_iter().find(|field| object.is_null(field)) {
            return Err(Fault::Pending { field });
        }
        let height = required::<Quantity>(&object, "number")?.0;
        let hash = required::<Fixed<32>>(&object, "hash")?.0;
        let parent = required::<Fixed<32>>(&object, "parentHash")?.0;
        let timestamp_s = required::<Quantity>(&object, "timestamp")?.0;
        let transactions = match header {
            Header::Ethereum => {
                check_hash(&object, height, hash)?;
                check_transactions(&object, height, hash)?
            }
            Header::Trusted => object.read::<Vec<de::IgnoredAny>>("transactions")?.map_or(0, |all| all.len()),
        };
        let transactions = u32::try_from(transactions).unwrap_or(u32::MAX); // a line has far fewer
        Ok(Self { object, hash, parent, height, timestamp_s, transactions })
    }

    /// Fields that are none of Ethereum's; the first few.
    pub fn not_understood(&self) -> Vec<String> {
        not_understood(&self.object)
    }

    /// A field's value as text: a string as it is, hex in lower case; a list as how many it has. `None` where it is
    /// absent, null or an object.
    pub fn field(&self, name: &str) -> Option<String> {
        self.object.raw(name).and_then(text_of)
    }
}

fn required<'a, T: Deserialize<'a>>(object: &Object<'a>, field: &'static str) -> Result<T, Fault> {
    object.read(field)?.ok_or(Fault::MissingField { field })
}

fn check_hash(object: &Object<'_>, height: u64, said: [u8; 32]) -> Result<(), Fault> {
    let mut fields = Vec::with_capacity(768);
    for (field, shape) in FIRST {
        let Some(bytes) = shape.read(object, field)? else {
            return Err(Fault::NoHeaderField { height, field, unknown: not_understood(object) });
        };
        bytes.as_slice().encode(&mut fields);
    }
    let mut missing = None;
    for (field, shape) in LATER {
        match (shape.read(object, field)?, missing) {
            (Some(bytes), None) => bytes.as_slice().encode(&mut fields),
            (Some(_), Some(field)) => {
                return Err(Fault::NoHeaderField { height, field, unknown: not_understood(object) });
            }
            (None, _) => missing = missing.or(Some(field)),
        }
    }
    let mut list = Vec::with_capacity(fields.len() + 4);
    alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut list);
    list.extend_from_slice(&fields);
    let computed: [u8; 32] = Keccak256::digest(&list).into();
    if computed == said {
        return Ok(());
    }
    Err(Fault::WrongHash { height, computed, said, unknown: not_understood(object) })
}

impl Shape {
    /// The bytes that are hashed; RLP has numbers without leading zeros.
    fn read(self, object: &Object<'_>, field: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(match self {
            Self::Hash => object.read::<Fixed<32>>(field)?.map(|fixed| fixed.0.to_vec()),
            Self::Address => object.read::<Fixed<20>>(field)?.map(|fixed| fixed.0.to_vec()),
            Self::Bloom => object.read::<Fixed<256>>(field)?.map(|fixed| fixed.0.to_vec()),
            Self::Nonce => object.read::<Fixed<8>>(field)?.map(|fixed| fixed.0.to_vec()),
            Self::Data => object.read::<Bytes>(field)?.map(|bytes| bytes.0),
            Self::Number => object.read::<Quantity>(field)?.map(|number| number.to_bytes()),
            Self::WideNumber => object.read::<WideQuantity>(field)?.map(|number| number.0),
        })
    }
}

/// How many there are; each must belong here, as far as it says so itself.
///
/// That they are those under `transactionsRoot` is not checked: chains give transactions that are not under it, such as
/// Polygon's of state that is synced.
fn check_transactions(object: &Object<'_>, height: u64, block: [u8; 32]) -> Result<usize, Fault> {
    let transactions: Vec<NodeTransaction> = required(object, "transactions")?;
    for (index, transaction) in transactions.iter().enumerate() {
        let NodeTransaction::Whole(transaction) = transaction else { continue };
        let here = transaction.block_hash.is_none_or(|hash| hash.0 == block);
        let in_order = transaction.transaction_index.is_none_or(|said| said.0 == index as u64);
        if !(here && in_order) {
            return Err(Fault::StrayTransaction { height, index });
        }
    }
    Ok(transactions.len())
}

fn not_understood(object: &Object<'_>) -> Vec<String> {
    let header = || FIRST.iter().chain(&LATER).map(|(name, _)| *name);
    let unknown = object.names().filter(|name| !header().chain(BESIDE).any(|known| known == *name));
    unknown.take(MAX_UNKNOWN).map(|name| name.chars().take(MAX_UNKNOWN_CHARS).collect()).collect()
}

fn text_of(raw: &RawValue) -> Option<String> {
    let text = match raw.get().as_bytes().first()? {
        b'"' => {
            let text: String = serde_json::from_str(raw.get()).ok()?;
            if text.starts_with("0x") { text.to_ascii_lowercase() } else { text }
        }
        b'[' => serde_json::from_str::<Vec<de::IgnoredAny>>(raw.get()).ok()?.len().to_string(),
        b'{' | b'n' => return None,
        _ => raw.get().to_owned(),
    };
    if text.len() <= MAX_FIELD_BYTES {
        return Some(text);
    }
    Some(format!("keccak256:{}", to_hex(&Keccak256::digest(text.as_bytes()))))
}

/// A node gives whole transactions or their hashes alone, as it was asked.
enum NodeTransaction {
    Whole(WholeTransaction),
    HashAlone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WholeTransaction {
    /// Provers read it, so it must be there, and once.
    #[serde(rename = "hash")]
    _hash: Fixed<32>,
    block_hash: Option<Fixed<32>>,
    transaction_index: Option<Quantity>,
}

impl<'de> Deserialize<'de> for NodeTransaction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TransactionVisitor)
    }
}

struct TransactionVisitor;

impl<'de> Visitor<'de> for TransactionVisitor {
    type Value = NodeTransaction;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a transaction or its hash")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<NodeTransaction, E> {
        match Fixed::<32>::parse(text) {
            Some(_) => Ok(NodeTransaction::HashAlone),
            None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NodeTransaction, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(NodeTransaction::Whole)
    }
}
