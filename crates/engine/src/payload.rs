//! A payload as a line of blocks: the header that it is of, so that whoever reads the line hashes it again, and the call's own
//! parameters, which hold all that the payload does.
//!
//! What a header has beyond the payload's fields is made of it: the roots of transactions and withdrawals, the hashes of requests
//! and of the access list. So a block is believed because its hash is found again, not because an execution client said VALID.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::Sha256;
use sha3::{Digest, Keccak256};

use crate::trie::{list, number, root_of};

/// Of a block after proof of work: Keccak-256 of the empty list.
const NO_UNCLES: &str = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";

/// A call of `engine_newPayloadV5`.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    params: &'a RawValue,
}

#[derive(Deserialize)]
struct Params<'a>(
    #[serde(borrow)] Payload<'a>,
    /// Of blobs: they are the transactions' own business.
    serde::de::IgnoredAny,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Vec<Cow<'a, str>>,
);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload<'a> {
    pub parent_hash: String,
    pub fee_recipient: String,
    pub state_root: String,
    pub receipts_root: String,
    pub logs_bloom: String,
    pub prev_randao: String,
    pub block_number: String,
    pub gas_limit: String,
    pub gas_used: String,
    pub timestamp: String,
    pub extra_data: String,
    pub base_fee_per_gas: String,
    pub block_hash: String,
    #[serde(borrow)]
    pub transactions: Vec<Cow<'a, str>>,
    pub withdrawals: Vec<Withdrawal>,
    pub blob_gas_used: String,
    pub excess_blob_gas: String,
    #[serde(borrow)]
    pub block_access_list: Cow<'a, str>,
    pub slot_number: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Withdrawal {
    pub index: String,
    pub validator_index: String,
    pub address: String,
    pub amount: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    #[error("it is no call of engine_newPayloadV5 as the engine API has it")]
    Form(#[from] serde_json::Error),
    #[error("{what} is not written as the engine API has it")]
    Value { what: String },
}

/// The line of a call's payload.
pub(crate) fn line_of(call: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let Call { params } = serde_json::from_slice(call)?;
    let Params(payload, _, parent_beacon_block_root, requests) = serde_json::from_str(params.get())?;
    let transactions = all_bytes("a transaction", &payload.transactions)?;
    let hashes: Vec<String> = transactions.iter().map(|bytes| hex_of(&Keccak256::digest(bytes))).collect();
    let withdrawals = payload.withdrawals.iter().map(Withdrawal::encoded).collect::<Result<Vec<_>, _>>()?;
    let access_list = bytes_of("blockAccessList", &payload.block_access_list)?;
    let block = json!({
        "number": payload.block_number,
        "hash": payload.block_hash,
        "parentHash": payload.parent_hash,
        "sha3Uncles": NO_UNCLES,
        "miner": payload.fee_recipient,
        "stateRoot": payload.state_root,
        "transactionsRoot": hex_of(&root_of(&transactions)),
        "receiptsRoot": payload.receipts_root,
        "logsBloom": payload.logs_bloom,
        "difficulty": "0x0",
        "gasLimit": payload.gas_limit,
        "gasUsed": payload.gas_used,
        "timestamp": payload.timestamp,
        "extraData": payload.extra_data,
        "mixHash": payload.prev_randao,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": payload.base_fee_per_gas,
        "withdrawalsRoot": hex_of(&root_of(&withdrawals)),
        "blobGasUsed": payload.blob_gas_used,
        "excessBlobGas": payload.excess_blob_gas,
        "parentBeaconBlockRoot": parent_beacon_block_root,
        "requestsHash": hex_of(&requests_hash(&requests)?),
        "blockAccessListHash": hex_of(&Keccak256::digest(access_list)),
        "slotNumber": payload.slot_number,
        "transactions": hashes,
        "withdrawals": payload.withdrawals.iter().map(Withdrawal::json).collect::<Vec<_>>(),
    });
    Ok(format!("{{\"block\":{block},\"new_payload\":{}}}", params.get()).into_bytes())
}

/// As EIP-7685 commits to them: those without data are none.
fn requests_hash(requests: &[Cow<'_, str>]) -> Result<[u8; 32], PayloadError> {
    let mut hash = Sha256::new();
    for request in all_bytes("a request", requests)?.iter().filter(|request| request.len() > 1) {
        hash.update(Sha256::digest(request));
    }
    Ok(hash.finalize().into())
}

impl Withdrawal {
    fn encoded(&self) -> Result<Vec<u8>, PayloadError> {
        let address = bytes_of("a withdrawal's address", &self.address)?;
        let quantity = |text: &str| quantity_of("a withdrawal's number", text).map(number);
        Ok(list(&[
            quantity(&self.index)?,
            quantity(&self.validator_index)?,
            alloy_rlp::encode(address.as_slice()),
            quantity(&self.amount)?,
        ]))
    }

    fn json(&self) -> Value {
        json!({
            "index": self.index,
            "validatorIndex": self.validator_index,
            "address": self.address,
            "amount": self.amount,
        })
    }
}

fn quantity_of(what: &str, text: &str) -> Result<u64, PayloadError> {
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| PayloadError::Value { what: what.to_owned() })
}

fn bytes_of(what: &str, text: &str) -> Result<Vec<u8>, PayloadError> {
    text.strip_prefix("0x")
        .and_then(|digits| hex::decode(digits).ok())
        .ok_or_else(|| PayloadError::Value { what: what.to_owned() })
}

fn all_bytes(what: &str, texts: &[Cow<'_, str>]) -> Result<Vec<Vec<u8>>, PayloadError> {
    texts.iter().map(|text| bytes_of(what, text)).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn call() -> Value {
        let hash = |digit: &str| format!("0x{}", digit.repeat(64));
        json!({
            "id": 1,
            "method": "engine_newPayloadV5",
            "params": [
                {
                    "parentHash": hash("1"), "feeRecipient": format!("0x{}", "2".repeat(40)), "stateRoot": hash("3"),
                    "receiptsRoot": hash("4"), "logsBloom": format!("0x{}", "0".repeat(512)), "prevRandao": hash("5"),
                    "blockNumber": "0x10", "gasLimit": "0x100", "gasUsed": "0x10", "timestamp": "0x20",
                    "extraData": "0x", "baseFeePerGas": "0x7", "blockHash": hash("6"), "transactions": ["0x02c0", "0xc0"],
                    "withdrawals": [{
                        "index": "0x1", "validatorIndex": "0x2", "address": format!("0x{}", "7".repeat(40)), "amount": "0x0",
                    }],
                    "blobGasUsed": "0x0", "excessBlobGas": "0x0", "blockAccessList": "0xc0", "slotNumber": "0x9",
                },
                [],
                hash("8"),
                ["0x00", "0x01ab"],
            ],
        })
    }

    #[test]
    fn a_line_has_the_header_and_the_parameters_as_they_came() {
        let call = call();
        let line = line_of(call.to_string().as_bytes()).unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        let block = &line["block"];
        assert_eq!(line["new_payload"], call["params"]);
        assert_eq!(block["hash"], call["params"][0]["blockHash"]);
        assert_eq!(block["miner"], call["params"][0]["feeRecipient"]);
        assert_eq!(block["transactions"][0], hex_of(&Keccak256::digest([0x02, 0xc0])));
        // Keccak-256 of the empty list; the request without data is none.
        assert_eq!(block["blockAccessListHash"], NO_UNCLES);
        assert_eq!(block["requestsHash"], hex_of(&Sha256::digest(Sha256::digest([0x01, 0xab]))));
        assert_ne!(block["withdrawalsRoot"], hex_of(&root_of(&[])));
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for (place, wrong) in [
            ("/params/0/transactions/0", json!("02c0")),
            ("/params/0/transactions/0", json!(7)),
            ("/params/0/withdrawals/0/amount", json!("0x1ffffffffffffffff")),
            ("/params/0/withdrawals/0/address", json!("0x7")),
            ("/params/0/blockAccessList", Value::Null),
            ("/params/0/blockAccessList", json!("0xg0")),
            ("/params/3", json!(["ab"])),
            ("/params", json!([])),
        ] {
            let mut call = call();
            *call.pointer_mut(place).unwrap() = wrong;
            assert!(line_of(call.to_string().as_bytes()).is_err(), "{place}");
        }
        assert!(line_of(b"{").is_err());
    }
}
