//! Contracts on anvil, with as much of Ethereum's ABI as these tests speak.

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::http::post;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

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

/// A chain with one rich account, which makes a block for each transaction.
pub struct Evm {
    anvil: Anvil,
    account: String,
}

impl Evm {
    pub fn start() -> Self {
        let anvil = Anvil::start();
        let account = anvil.ask("eth_accounts", &json!([]))[0].as_str().unwrap().to_owned();
        Self { anvil, account }
    }

    /// The address of a new contract.
    pub fn deploy(&self, contract: &Value, arguments: &[Argument<'_>]) -> String {
        let bytecode = contract["bytecode"].as_str().expect("a compiled contract");
        let receipt =
            self.transact(json!({"data": format!("{bytecode}{}", hex::encode(encoded(arguments)))}));
        assert!(receipt.succeeded, "{receipt:?}");
        receipt.contract
    }

    pub fn call(&self, to: &str, function: &str, arguments: &[Argument<'_>]) -> Answer {
        let call = json!([{"from": self.account, "to": to, "data": calldata(function, arguments)}, "latest"]);
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call});
        let body = post(self.anvil.at, request.to_string().as_bytes()).expect("anvil answers");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if let Some(result) = answer.get("result") {
            return Answer::Returned(bytes(result));
        }
        assert_eq!(answer["error"]["code"], 3, "it reverts, and nothing else is wrong: {answer}");
        Answer::Reverted(bytes(&answer["error"]["data"]))
    }

    pub fn send(&self, to: &str, function: &str, arguments: &[Argument<'_>]) -> Receipt {
        self.transact(json!({"to": to, "data": calldata(function, arguments)}))
    }

    fn transact(&self, mut transaction: Value) -> Receipt {
        transaction["from"] = json!(self.account);
        // Given, so that what reverts is sent all the same.
        transaction["gas"] = json!("0x989680");
        let hash = self.anvil.ask("eth_sendTransaction", &json!([transaction]));
        self.anvil.mine(1);
        let receipt = self.anvil.ask("eth_getTransactionReceipt", &json!([hash]));
        Receipt {
            succeeded: receipt["status"] == "0x1",
            gas_used: u64::from_str_radix(&receipt["gasUsed"].as_str().unwrap()[2..], 16).unwrap(),
            contract: receipt["contractAddress"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// The first four bytes of a call, or of an error.
pub fn selector(signature: &str) -> Vec<u8> {
    Keccak256::digest(signature)[..4].to_vec()
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
            Argument::Word(value) => head.extend(word(value)),
            Argument::Bytes(value) => {
                head.extend(word(&(arguments.len() * 32 + tail.len()).to_be_bytes()));
                tail.extend(word(&value.len().to_be_bytes()));
                tail.extend_from_slice(value);
                tail.resize(tail.len().next_multiple_of(32), 0);
            }
        }
    }
    [head, tail].concat()
}

fn word(value: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - value.len()..].copy_from_slice(value);
    word
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("0x and hex digits").trim_start_matches("0x")).unwrap()
}
