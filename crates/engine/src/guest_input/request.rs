//! What the consensus client asked to be checked, as SSZ, and who signed its transactions.

use std::borrow::Cow;
use std::io::{self, Write};

use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256, hex};
use serde::Deserialize;
use ssz::Encode;
use ssz_derive::Encode as EncodeSsz;

use super::GuestInputError;
use crate::payload::Payload;

/// Bytes of one request of each type, in the order of their types from 0: deposits, withdrawals, consolidations, builders'
/// deposits and exits. A call gives those of a type one behind another, each as SSZ has it.
const REQUEST_BYTES: [usize; 5] = [192, 76, 116, 184, 68];
const MOST_EXTRA_DATA_BYTES: usize = 32;
/// Uncompressed: 0x04, then both coordinates.
const PUBLIC_KEY_BYTES: usize = 65;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    new_payload: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a>(
    #[serde(borrow)] Payload<'a>,
    #[serde(borrow)] Vec<Cow<'a, str>>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Vec<Cow<'a, str>>,
);

#[derive(EncodeSsz)]
pub(super) struct Request {
    execution_payload: ExecutionPayload,
    versioned_hashes: Vec<B256>,
    parent_beacon_block_root: B256,
    execution_requests: Requests,
}

#[derive(EncodeSsz)]
struct ExecutionPayload {
    parent_hash: B256,
    fee_recipient: Address,
    state_root: B256,
    receipts_root: B256,
    logs_bloom: FixedBytes<256>,
    prev_randao: B256,
    block_number: u64,
    gas_limit: u64,
    gas_used: u64,
    timestamp: u64,
    extra_data: Bytes,
    base_fee_per_gas: U256,
    block_hash: B256,
    transactions: Vec<Bytes>,
    withdrawals: Vec<Withdrawal>,
    blob_gas_used: u64,
    excess_blob_gas: u64,
    block_access_list: Bytes,
    slot_number: u64,
}

#[derive(EncodeSsz)]
struct Withdrawal {
    index: u64,
    validator_index: u64,
    address: Address,
    amount: u64,
}

/// Lists of things of fixed sizes, which SSZ writes one behind another: as the call gives them.
#[derive(EncodeSsz)]
struct Requests {
    deposits: Bytes,
    withdrawals: Bytes,
    consolidations: Bytes,
    builder_deposits: Bytes,
    builder_exits: Bytes,
}

impl Request {
    pub(super) fn of_line(line: &[u8]) -> Result<Self, GuestInputError> {
        let line: Line<'_> = serde_json::from_slice(line)
            .map_err(|error| bad(format!("its payload is not as the engine API has it: {error}")))?;
        let Some(Params(payload, versioned_hashes, root, requests)) = line.new_payload else {
            return Err(bad("it did not come as a payload (its line has no `new_payload`)".to_owned()));
        };
        Ok(Self {
            execution_payload: payload_of(&payload)?,
            versioned_hashes: all("a blob's hash", &versioned_hashes, fixed)?,
            parent_beacon_block_root: fixed("the parent beacon block's root", &root)?,
            execution_requests: requests_of(&requests)?,
        })
    }

    pub(super) fn parent(&self) -> B256 {
        self.execution_payload.parent_hash
    }

    pub(super) fn ssz(&self) -> Vec<u8> {
        self.as_ssz_bytes()
    }

    /// Recovered from the signatures: a guest that is given them only checks them.
    pub(super) fn public_keys(&self) -> Result<PublicKeys, GuestInputError> {
        let transactions = &self.execution_payload.transactions;
        let mut keys = Vec::with_capacity(transactions.len() * PUBLIC_KEY_BYTES);
        for (index, encoded) in transactions.iter().enumerate() {
            let wrong = |why: &dyn std::fmt::Display| bad(format!("transaction {index}: {why}"));
            let signed =
                EthereumTxEnvelope::<TxEip4844>::decode_2718_exact(encoded).map_err(|error| wrong(&error))?;
            let key = signed
                .signature()
                .recover_from_prehash(&signed.signature_hash())
                .map_err(|error| wrong(&error))?;
            keys.extend_from_slice(key.to_encoded_point(false).as_bytes());
        }
        Ok(PublicKeys(keys))
    }
}

/// One for each transaction, in their order.
pub(super) struct PublicKeys(Vec<u8>);

impl PublicKeys {
    pub(super) fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&self.0)
    }
}

fn payload_of(payload: &Payload<'_>) -> Result<ExecutionPayload, GuestInputError> {
    let extra_data = bytes("extraData", &payload.extra_data)?;
    if extra_data.len() > MOST_EXTRA_DATA_BYTES {
        return Err(bad(format!(
            "its extraData has {} bytes, and may have {MOST_EXTRA_DATA_BYTES}",
            extra_data.len()
        )));
    }
    let withdrawals = payload.withdrawals.iter().map(|withdrawal| -> Result<_, GuestInputError> {
        Ok(Withdrawal {
            index: quantity("a withdrawal's index", &withdrawal.index)?,
            validator_index: quantity("a withdrawal's validatorIndex", &withdrawal.validator_index)?,
            address: Address(fixed("a withdrawal's address", &withdrawal.address)?),
            amount: quantity("a withdrawal's amount", &withdrawal.amount)?,
        })
    });
    Ok(ExecutionPayload {
        parent_hash: fixed("parentHash", &payload.parent_hash)?,
        fee_recipient: Address(fixed("feeRecipient", &payload.fee_recipient)?),
        state_root: fixed("stateRoot", &payload.state_root)?,
        receipts_root: fixed("receiptsRoot", &payload.receipts_root)?,
        logs_bloom: fixed("logsBloom", &payload.logs_bloom)?,
        prev_randao: fixed("prevRandao", &payload.prev_randao)?,
        block_number: quantity("blockNumber", &payload.block_number)?,
        gas_limit: quantity("gasLimit", &payload.gas_limit)?,
        gas_used: quantity("gasUsed", &payload.gas_used)?,
        timestamp: quantity("timestamp", &payload.timestamp)?,
        extra_data,
        base_fee_per_gas: wide_quantity("baseFeePerGas", &payload.base_fee_per_gas)?,
        block_hash: fixed("blockHash", &payload.block_hash)?,
        transactions: all("a transaction", &payload.transactions, bytes)?,
        withdrawals: withdrawals.collect::<Result<_, _>>()?,
        blob_gas_used: quantity("blobGasUsed", &payload.blob_gas_used)?,
        excess_blob_gas: quantity("excessBlobGas", &payload.excess_blob_gas)?,
        block_access_list: bytes("blockAccessList", &payload.block_access_list)?,
        slot_number: quantity("slotNumber", &payload.slot_number)?,
    })
}

/// Those of a type come in one piece, behind its number; types that have none are left out.
fn requests_of(given: &[Cow<'_, str>]) -> Result<Requests, GuestInputError> {
    let mut of_type: [Bytes; REQUEST_BYTES.len()] = Default::default();
    let mut next = 0;
    for request in given {
        let request = bytes("a request", request)?;
        let Some(kind) = request.first().copied() else {
            return Err(bad("one of its requests is empty".to_owned()));
        };
        let index = usize::from(kind);
        let Some(&size) = REQUEST_BYTES.get(index) else {
            return Err(bad(format!(
                "it has requests of type {kind}, which Amsterdam's guest does not know"
            )));
        };
        if index < next {
            return Err(bad("its requests are not in the order of their types".to_owned()));
        }
        next = index + 1;
        let data = request.slice(1..);
        if !data.len().is_multiple_of(size) {
            let bytes = data.len();
            return Err(bad(format!("its requests of type {kind} have {bytes} bytes, and each has {size}")));
        }
        of_type[index] = data;
    }
    let [deposits, withdrawals, consolidations, builder_deposits, builder_exits] = of_type;
    Ok(Requests { deposits, withdrawals, consolidations, builder_deposits, builder_exits })
}

fn bad(why: String) -> GuestInputError {
    GuestInputError::Block(why)
}

fn not_written(what: &str) -> GuestInputError {
    bad(format!("{what} is not written as the engine API has it"))
}

fn bytes(what: &str, text: &str) -> Result<Bytes, GuestInputError> {
    let digits = text.strip_prefix("0x").ok_or_else(|| not_written(what))?;
    hex::decode(digits).map(Bytes::from).map_err(|_| not_written(what))
}

fn fixed<const N: usize>(what: &str, text: &str) -> Result<FixedBytes<N>, GuestInputError> {
    FixedBytes::try_from(bytes(what, text)?.as_ref()).map_err(|_| not_written(what))
}

fn wide_quantity(what: &str, text: &str) -> Result<U256, GuestInputError> {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.is_empty());
    digits.and_then(|digits| U256::from_str_radix(digits, 16).ok()).ok_or_else(|| not_written(what))
}

fn quantity(what: &str, text: &str) -> Result<u64, GuestInputError> {
    u64::try_from(wide_quantity(what, text)?).map_err(|_| not_written(what))
}

fn all<T>(
    what: &str,
    texts: &[Cow<'_, str>],
    read: impl Fn(&str, &str) -> Result<T, GuestInputError>,
) -> Result<Vec<T>, GuestInputError> {
    texts.iter().map(|text| read(what, text)).collect()
}
