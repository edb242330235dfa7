//! Contracts on anvil, with as much of Ethereum's ABI as these tests speak.

use std::path::Path;
use std::sync::OnceLock;

use proofyard_contracts_tests::{FOLDER, compiled};
use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::http::post;
use proofyard_follow_tests::wait_for;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

/// Anvil's own first account, and its tenth, which deploys.
pub const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Of anvil's second account.
pub const SECOND_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
pub const ACCOUNT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
pub const DEPLOYER: &str = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Argument<'a> {
    /// An integer, an address, a bytes32: what stands in one word, at its right end.
    Word(&'a [u8]),
    Bytes(&'a [u8]),
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Returned(Vec<u8>),
    /// With what it says why: the selector of an error and its arguments.
    Reverted(Vec<u8>),
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub succeeded: bool,
    pub gas_used: u64,
    pub contract: String,
}

/// A chain with one rich account.
pub struct Evm {
    anvil: Anvil,
}

impl Evm {
    pub fn start() -> Self {
        Self { anvil: Anvil::start() }
    }

    /// Its URL, for who sends transactions by itself: each is in a block at once.
    pub fn url_of_automatic(&self) -> String {
        self.anvil.ask("evm_setAutomine", &json!([true]));
        self.anvil.url()
    }

    /// The address of a new contract.
    pub fn deploy(&self, contract: &Value, arguments: &[Argument<'_>]) -> String {
        deployed_code(&self.anvil, contract, &hex::encode(encoded(arguments)))
    }

    pub fn call(&self, to: &str, function: &str, arguments: &[Argument<'_>]) -> Answer {
        call(&self.anvil, to, &calldata(function, arguments))
    }

    pub fn send(&self, to: &str, function: &str, arguments: &[Argument<'_>]) -> Receipt {
        send(&self.anvil, DEPLOYER, json!({ "to": to, "data": calldata(function, arguments) }))
    }
}

/// A new contract of this folder; its address. `arguments` are the constructor's, encoded.
pub fn deployed(anvil: &Anvil, name: &str, arguments: &str) -> String {
    static COMPILED: OnceLock<Value> = OnceLock::new();
    let folder = Path::new(FOLDER);
    deployed_code(anvil, &COMPILED.get_or_init(|| compiled(&[folder]))[name], arguments)
}

fn deployed_code(anvil: &Anvil, contract: &Value, arguments: &str) -> String {
    let bytecode = contract["bytecode"].as_str().expect("a compiled contract");
    let receipt = send(anvil, DEPLOYER, json!({ "data": format!("{bytecode}{arguments}") }));
    assert!(receipt.succeeded, "{receipt:?}");
    receipt.contract
}

/// A call, in a block of its own.
pub fn transact(anvil: &Anvil, from: &str, to: &str, function: &str, arguments: &str) -> Receipt {
    send(anvil, from, json!({ "to": to, "data": format!("{}{arguments}", selector_text(function)) }))
}

fn send(anvil: &Anvil, from: &str, mut transaction: Value) -> Receipt {
    transaction["from"] = json!(from);
    // Given, so that what reverts is sent all the same.
    transaction["gas"] = json!("0x989680");
    let hash = anvil.ask("eth_sendTransaction", &json!([transaction]));
    anvil.ask("evm_mine", &json!([]));
    let receipt = wait_for("it is mined", || receipt(anvil, &hash));
    Receipt {
        succeeded: receipt["status"] == "0x1",
        gas_used: number(&receipt["gasUsed"]),
        contract: receipt["contractAddress"].as_str().unwrap_or_default().to_owned(),
    }
}

pub fn receipt(anvil: &Anvil, hash: &Value) -> Option<Value> {
    Some(anvil.ask("eth_getTransactionReceipt", &json!([hash]))).filter(|receipt| !receipt.is_null())
}

fn call(anvil: &Anvil, to: &str, data: &str) -> Answer {
    let call = json!([{ "from": DEPLOYER, "to": to, "data": data }, "latest"]);
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call});
    let body = post(anvil.at, request.to_string().as_bytes()).expect("anvil answers");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    if let Some(result) = answer.get("result") {
        return Answer::Returned(bytes(result));
    }
    assert_eq!(answer["error"]["code"], 3, "it reverts, and nothing else is wrong: {answer}");
    Answer::Reverted(bytes(&answer["error"]["data"]))
}

/// The first word of a view's answer, as a number.
pub fn view(anvil: &Anvil, to: &str, function: &str, arguments: &str) -> u64 {
    match call(anvil, to, &format!("{}{arguments}", selector_text(function))) {
        Answer::Returned(data) => u64::from_be_bytes(data[24..32].try_into().unwrap()),
        Answer::Reverted(data) => panic!("{function} reverts: {}", hex::encode(data)),
    }
}

/// A quantity as nodes write it.
pub fn number(quantity: &Value) -> u64 {
    u64::from_str_radix(quantity.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// The first four bytes of a call, or of an error.
pub fn selector(signature: &str) -> Vec<u8> {
    Keccak256::digest(signature)[..4].to_vec()
}

pub fn selector_text(signature: &str) -> String {
    format!("0x{}", hex::encode(selector(signature)))
}

/// A number as an argument, in hex.
pub fn word(number: u64) -> String {
    format!("{number:064x}")
}

/// An address as an argument's bytes.
pub fn address(text: &str) -> Vec<u8> {
    bytes(&json!(text))
}

fn calldata(function: &str, arguments: &[Argument<'_>]) -> String {
    format!("0x{}", hex::encode([selector(function), encoded(arguments)].concat()))
}

/// Words first, each the argument or where its bytes are; then the bytes.
fn encoded(arguments: &[Argument<'_>]) -> Vec<u8> {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument {
            Argument::Word(value) => head.extend(padded(value)),
            Argument::Bytes(value) => {
                head.extend(padded(&(arguments.len() * 32 + tail.len()).to_be_bytes()));
                tail.extend(padded(&value.len().to_be_bytes()));
                tail.extend_from_slice(value);
                tail.resize(tail.len().next_multiple_of(32), 0);
            }
        }
    }
    [head, tail].concat()
}

fn padded(value: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - value.len()..].copy_from_slice(value);
    word
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("0x and hex digits").trim_start_matches("0x")).unwrap()
}
