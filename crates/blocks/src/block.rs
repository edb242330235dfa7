//! The block in the node's JSON, and its hash: Keccak-256 over the RLP list of the header's fields.
//!
//! Forks appended fields and never removed one. So a later field without all earlier ones is no header of
//! any fork; it is refused, as it would hash like one whose fields have other names.

use std::collections::BTreeMap;
use std::fmt;

use alloy_rlp::Encodable;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de};
use sha3::{Digest, Keccak256};

use crate::encoding::{Bytes, Fixed, Quantity, WideQuantity, to_hex};

/// The root of a trie that holds nothing.
const EMPTY_TRIE: [u8; 32] = [
    0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55, 0xa6, 0xff, 0x83, 0x45, 0xe6, 0x92, 0xc0, 0xf8, 0x6e, 0x5b,
    0x48, 0xe0, 0x1b, 0x99, 0x6c, 0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63, 0xb4, 0x21,
];

/// What is read of the node's JSON, the header's fields in the order in which they are hashed. There may be
/// more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeBlock {
    pub hash: Fixed<32>,
    pub transactions: Vec<NodeTransaction>,
    pub parent_hash: Fixed<32>,
    sha3_uncles: Fixed<32>,
    miner: Fixed<20>,
    state_root: Fixed<32>,
    transactions_root: Fixed<32>,
    receipts_root: Fixed<32>,
    logs_bloom: Fixed<256>,
    difficulty: WideQuantity,
    pub number: Quantity,
    gas_limit: Quantity,
    pub gas_used: Quantity,
    pub timestamp: Quantity,
    extra_data: Bytes,
    mix_hash: Fixed<32>,
    nonce: Fixed<8>,
    /// London.
    base_fee_per_gas: Option<Quantity>,
    /// Shanghai.
    withdrawals_root: Option<Fixed<32>>,
    /// Cancun, with the next two.
    blob_gas_used: Option<Quantity>,
    excess_blob_gas: Option<Quantity>,
    parent_beacon_block_root: Option<Fixed<32>>,
    /// Prague.
    requests_hash: Option<Fixed<32>>,
    /// Amsterdam, with the next.
    block_access_list_hash: Option<Fixed<32>>,
    slot_number: Option<Quantity>,
}

/// A node gives whole transactions or their hashes alone, as it was asked.
pub(crate) enum NodeTransaction {
    Whole(WholeTransaction),
    HashAlone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeTransaction {
    /// Provers read it, so it must be there, and once.
    #[serde(rename = "hash")]
    _hash: Fixed<32>,
    pub block_hash: Option<Fixed<32>>,
    pub transaction_index: Option<Quantity>,
}

impl NodeBlock {
    /// The hash of the header, or the field that must not be missing since a later one is there.
    pub fn compute_hash(&self) -> Result<[u8; 32], &'static str> {
        let mut fields = Vec::with_capacity(768);
        self.encode_first_fork(&mut fields);
        self.encode_later_forks(&mut fields)?;
        let mut list = Vec::with_capacity(fields.len() + 4);
        alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut list);
        list.extend_from_slice(&fields);
        Ok(Keccak256::digest(&list).into())
    }

    fn encode_first_fork(&self, out: &mut Vec<u8>) {
        self.parent_hash.0.encode(out);
        self.sha3_uncles.0.encode(out);
        self.miner.0.encode(out);
        self.state_root.0.encode(out);
        self.transactions_root.0.encode(out);
        self.receipts_root.0.encode(out);
        self.logs_bloom.0.encode(out);
        self.difficulty.0.as_slice().encode(out);
        self.number.0.encode(out);
        self.gas_limit.0.encode(out);
        self.gas_used.0.encode(out);
        self.timestamp.0.encode(out);
        self.extra_data.0.as_slice().encode(out);
        self.mix_hash.0.encode(out);
        self.nonce.0.encode(out);
    }

    fn encode_later_forks(&self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let number = |field: &Option<Quantity>| field.map(|quantity| alloy_rlp::encode(quantity.0));
        let bytes = |field: &Option<Fixed<32>>| field.map(|fixed| alloy_rlp::encode(fixed.0));
        let mut missing = None;
        for (name, encoded) in [
            ("baseFeePerGas", number(&self.base_fee_per_gas)),
            ("withdrawalsRoot", bytes(&self.withdrawals_root)),
            ("blobGasUsed", number(&self.blob_gas_used)),
            ("excessBlobGas", number(&self.excess_blob_gas)),
            ("parentBeaconBlockRoot", bytes(&self.parent_beacon_block_root)),
            ("requestsHash", bytes(&self.requests_hash)),
            ("blockAccessListHash", bytes(&self.block_access_list_hash)),
            ("slotNumber", number(&self.slot_number)),
        ] {
            match (encoded, missing) {
                (Some(encoded), None) => out.extend_from_slice(&encoded),
                (Some(_), Some(name)) => return Err(name),
                (None, _) => missing = missing.or(Some(name)),
            }
        }
        Ok(())
    }

    pub fn says_no_transactions(&self) -> bool {
        self.transactions_root.0 == EMPTY_TRIE
    }

    /// What a pipeline may cut or budget by.
    pub fn fields(&self, transactions: u32) -> BTreeMap<String, String> {
        let numbers = [
            ("height", Some(self.number.0)),
            ("timestamp", Some(self.timestamp.0)),
            ("transactions", Some(transactions.into())),
            ("gas_limit", Some(self.gas_limit.0)),
            ("gas_used", Some(self.gas_used.0)),
            ("base_fee_per_gas", self.base_fee_per_gas.map(|quantity| quantity.0)),
            ("blob_gas_used", self.blob_gas_used.map(|quantity| quantity.0)),
            ("excess_blob_gas", self.excess_blob_gas.map(|quantity| quantity.0)),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string())));
        let bytes = [("miner", to_hex(&self.miner.0)), ("extra_data", to_hex(&self.extra_data.0))];
        numbers.chain(bytes).map(|(name, value)| (name.to_owned(), value)).collect()
    }
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
