#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write;

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256, hex, keccak256};
use serde_json::{Value, json};
use ssz::Decode;
use ssz_derive::Decode as DecodeSsz;

use super::*;

/// Worked out by other programs: vector.py.
fn vector() -> Value {
    serde_json::from_str(include_str!("vector.json")).unwrap()
}

fn written(new_payload: &Value, witness: &str, chain_id: u64) -> Result<Vec<u8>, GuestInputError> {
    let line = json!({ "block": {}, "new_payload": new_payload }).to_string();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(witness.as_bytes()).unwrap();
    let mut output = Vec::new();
    let bytes = write_guest_input(&GuestBlock::of_line(line.as_bytes())?, &file, chain_id, &mut output)?;
    assert_eq!(bytes, output.len() as u64);
    Ok(output)
}

fn of_vector(vector: &Value) -> Result<Vec<u8>, GuestInputError> {
    written(&vector["new_payload"], &vector["witness"].to_string(), vector["chain_id"].as_u64().unwrap())
}

#[test]
fn it_is_byte_for_byte_what_other_programs_write() {
    let vector = vector();
    let expected = hex::decode(vector["guest_input"].as_str().unwrap()).unwrap();
    let found = of_vector(&vector).unwrap();
    let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!((differs, found.len()), (None, expected.len()));
}

/// The containers once more, as a guest reads them.
#[derive(DecodeSsz)]
struct StatelessInput {
    request: PayloadRequest,
    witness: Parts,
    chain_id: u64,
    public_keys: Vec<FixedBytes<65>>,
}

#[derive(DecodeSsz)]
struct PayloadRequest {
    payload: Payload,
    versioned_hashes: Vec<B256>,
    parent_beacon_block_root: B256,
    requests: Requests,
}

#[derive(DecodeSsz)]
struct Payload {
    parent_hash: B256,
    _fee_recipient: Address,
    _state_root: B256,
    _receipts_root: B256,
    _logs_bloom: FixedBytes<256>,
    _prev_randao: B256,
    block_number: u64,
    _gas_limit: u64,
    _gas_used: u64,
    _timestamp: u64,
    _extra_data: Bytes,
    base_fee_per_gas: U256,
    _block_hash: B256,
    transactions: Vec<Bytes>,
    withdrawals: Vec<(u64, u64, Address, u64)>,
    _blob_gas_used: u64,
    _excess_blob_gas: u64,
    _block_access_list: Bytes,
    slot_number: u64,
}

#[derive(DecodeSsz)]
struct Requests {
    deposits: Vec<FixedBytes<192>>,
    withdrawals: Vec<FixedBytes<76>>,
    consolidations: Vec<FixedBytes<116>>,
    builder_deposits: Vec<FixedBytes<184>>,
    builder_exits: Vec<FixedBytes<68>>,
}

#[derive(DecodeSsz)]
struct Parts {
    state: Vec<Bytes>,
    codes: Vec<Bytes>,
    headers: Vec<Bytes>,
}

fn decoded(input: &[u8]) -> StatelessInput {
    assert_eq!(input[..2], [0x15, 0x01]);
    StatelessInput::from_ssz_bytes(&input[2..]).unwrap()
}

#[test]
fn a_guest_reads_what_was_given() {
    let vector = vector();
    let read = decoded(&of_vector(&vector).unwrap());
    let payload = &vector["new_payload"][0];
    let text = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    assert_eq!(read.chain_id, vector["chain_id"].as_u64().unwrap());
    assert_eq!(format!("{:#x}", read.request.payload.block_number), payload["blockNumber"]);
    assert_eq!(format!("{:#x}", read.request.payload.slot_number), payload["slotNumber"]);
    assert_eq!(format!("{:#x}", read.request.payload.base_fee_per_gas), payload["baseFeePerGas"]);
    assert_eq!(text(&read.request.parent_beacon_block_root[..]), vector["new_payload"][2]);
    assert_eq!(read.request.versioned_hashes.len(), 2);
    let texts = |parts: &[Bytes]| parts.iter().map(|part| json!(text(part))).collect::<Vec<_>>();
    assert_eq!(json!(texts(&read.request.payload.transactions)), payload["transactions"]);
    assert_eq!(json!(texts(&read.witness.state)), vector["witness"]["state"]);
    assert_eq!(json!(texts(&read.witness.codes)), vector["witness"]["codes"]);
    assert_eq!(read.request.payload.withdrawals[1].1, (1 << 33) + 2);
    let requests = &read.request.requests;
    let counts = [
        requests.deposits.len(),
        requests.withdrawals.len(),
        requests.consolidations.len(),
        requests.builder_deposits.len(),
        requests.builder_exits.len(),
    ];
    assert_eq!(counts, [2, 1, 0, 1, 3]);
    let headers = read.witness.headers.iter().map(keccak256).collect::<Vec<_>>();
    assert_eq!(headers.last(), Some(&read.request.payload.parent_hash), "the parent is the last");
    assert_eq!(read.public_keys.len(), read.request.payload.transactions.len());
}

#[test]
fn nothing_of_the_lists_need_be_there() {
    let vector = vector();
    let mut call = vector["new_payload"].clone();
    for list in ["/0/transactions", "/0/withdrawals", "/1", "/3"] {
        *call.pointer_mut(list).unwrap() = json!([]);
    }
    let headers = &vector["witness"]["headers"];
    for witness in [
        json!({ "state": [], "codes": [], "headers": headers }),
        json!({ "state": null, "codes": null, "headers": [headers[0]] }),
    ] {
        let read = decoded(&written(&call, &witness.to_string(), 1).unwrap());
        assert!(
            read.public_keys.is_empty() && read.witness.state.is_empty() && read.witness.codes.is_empty()
        );
        assert_eq!(read.witness.headers.len(), witness["headers"].as_array().unwrap().len());
    }
}

#[test]
fn a_witness_that_a_guest_would_not_take_is_refused_and_named() {
    let vector = vector();
    let refused = |witness: &str, said: &str| {
        let error = written(&vector["new_payload"], witness, 1).unwrap_err();
        assert!(matches!(error, GuestInputError::Witness(_)), "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
    };
    let whole = vector["witness"].to_string();
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..end], "the witness cannot be a guest's");
    }
    refused(&format!("{whole}{whole}"), "trailing");
    let headers = vector["witness"]["headers"].as_array().unwrap();
    let with = |name: &str, value: Value| {
        let mut witness = vector["witness"].clone();
        witness[name] = value;
        witness.to_string()
    };
    let long = |bytes: usize| json!([format!("0x{}", "ab".repeat(bytes))]);
    refused(&with("state", long(1_025)), "a part of `state` has 1025 bytes, and a guest takes 1024");
    refused(&with("codes", long(65_537)), "a part of `codes` has 65537 bytes");
    refused(&with("headers", long(1_025)), "a part of `headers` has 1025 bytes");
    refused(&with("headers", json!(vec!["0xc0"; 257])), "more than 256 headers");
    refused(&with("headers", json!([])), "it has no headers");
    refused(&with("headers", json!(null)), "it has no headers");
    refused(&with("headers", json!([headers[1], headers[2]])), "is not the block's parent");
    refused(
        &with("headers", json!([headers[0], headers[2]])),
        "its headers are no chain: the one before 999",
    );
    refused(&with("headers", json!(["0xc0"])), "no RLP of a header");
    refused(&with("headers", json!([{ "hash": "0x" }])), "a part of `headers` as a text of hex");
    for part in [json!("ab"), json!("0xa"), json!("0xag"), json!("0xäx"), json!(7)] {
        refused(&with("state", json!([part])), "`state`");
    }
    refused(&with("state", json!({})), "`state` as a list");
    refused(r#"{"state":[],"codes":[]}"#, "it has no `headers`");
    refused(r#"{"state":[],"state":[],"codes":[],"headers":[]}"#, "it has `state` twice");
    refused("[]", "an object with state, codes and headers");
}

#[test]
fn a_block_that_cannot_be_a_guests_input_is_refused_and_named() {
    let vector = vector();
    let witness = vector["witness"].to_string();
    for (place, wrong, said) in [
        ("/0/transactions/1", json!("0x05c0"), "transaction 1: "),
        ("/0/transactions/0", json!("0x"), "transaction 0: "),
        ("/0/transactions/0", json!("f8"), "a transaction is not written"),
        ("/0/extraData", json!(format!("0x{}", "00".repeat(33))), "its extraData has 33 bytes"),
        ("/0/blockNumber", json!("0x1ffffffffffffffff"), "blockNumber is not written"),
        ("/0/gasUsed", json!("0x"), "gasUsed is not written"),
        ("/0/parentHash", json!("0xab"), "parentHash is not written"),
        ("/0/blockAccessList", Value::Null, "not as the engine API has it"),
        ("/1", json!(["0xab"]), "a blob's hash is not written"),
        ("/3", json!(["0x05"]), "requests of type 5"),
        ("/3", json!(["0x"]), "one of its requests is empty"),
        ("/3", json!(["0x00ab"]), "its requests of type 0 have 1 bytes, and each has 192"),
        ("/3", json!(["0x01", "0x00"]), "not in the order of their types"),
        ("/3", json!(["0x01", "0x01"]), "not in the order of their types"),
    ] {
        let mut call = vector["new_payload"].clone();
        *call.pointer_mut(place).unwrap() = wrong;
        let error = written(&call, &witness, 1).unwrap_err();
        assert!(matches!(error, GuestInputError::Block(_)), "{place}: {error}");
        assert!(error.to_string().contains(said), "{place}: {error}");
    }
    let error = written(&Value::Null, &witness, 1).unwrap_err();
    assert!(error.to_string().contains("it did not come as a payload"), "{error}");
}
