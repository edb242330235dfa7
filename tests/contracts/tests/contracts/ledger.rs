//! Contracts on anvil, and what tests ask of them.

use std::path::Path;
use std::sync::OnceLock;

use proofyard_contracts_tests::{FOLDER, compiled};
use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::wait_for;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

/// Anvil's own first account, and its tenth, which deploys.
pub const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub const ACCOUNT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
pub const DEPLOYER: &str = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";

/// A chain with a contract that counts.
pub struct Ledger {
    pub anvil: Anvil,
    pub address: String,
}

impl Ledger {
    /// Blocks are made at once for each transaction.
    pub fn start() -> Self {
        let anvil = Anvil::start();
        anvil.ask("evm_setAutomine", &json!([true]));
        let address = deployed(&anvil, "Ledger", "");
        Self { anvil, address }
    }

    /// Blocks are made when the test says so.
    pub fn start_by_hand() -> Self {
        let ledger = Self::start();
        ledger.anvil.ask("evm_setAutomine", &json!([false]));
        ledger
    }

    /// How often a height was submitted.
    pub fn times(&self, height: u64) -> u64 {
        view(&self.anvil, &self.address, "times(uint256)", &word(height))
    }

    pub fn calls(&self) -> u64 {
        view(&self.anvil, &self.address, "calls()", "")
    }

    /// As its owner, which is anybody.
    pub fn tell(&self, function: &str, argument: u64) {
        transact(&self.anvil, DEPLOYER, &self.address, function, &word(argument));
    }

    pub fn selector(&self, function: &str) -> String {
        selector(function)
    }

    pub fn mine(&self, blocks: u64) {
        self.anvil.mine_fast(blocks);
    }
}

/// A new contract's address; `arguments` are the constructor's, encoded.
pub fn deployed(anvil: &Anvil, name: &str, arguments: &str) -> String {
    static COMPILED: OnceLock<Value> = OnceLock::new();
    let folder = Path::new(FOLDER);
    let contracts = COMPILED.get_or_init(|| compiled(&[folder]));
    let code = format!("{}{arguments}", contracts[name]["bytecode"].as_str().unwrap());
    let transaction = json!([{ "from": DEPLOYER, "data": code, "gas": "0x500000" }]);
    let hash = anvil.ask("eth_sendTransaction", &transaction);
    anvil.ask("evm_mine", &json!([]));
    let receipt = wait_for("it is deployed", || {
        Some(anvil.ask("eth_getTransactionReceipt", &json!([hash]))).filter(|receipt| !receipt.is_null())
    });
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().to_owned()
}

pub fn transact(anvil: &Anvil, from: &str, to: &str, function: &str, arguments: &str) {
    let data = format!("{}{arguments}", selector(function));
    let hash = anvil.ask("eth_sendTransaction", &json!([{ "from": from, "to": to, "data": data }]));
    anvil.ask("evm_mine", &json!([]));
    wait_for("it is mined", || {
        Some(anvil.ask("eth_getTransactionReceipt", &json!([hash]))).filter(|receipt| !receipt.is_null())
    });
}

/// The first word of a view's answer, as a number.
pub fn view(anvil: &Anvil, to: &str, function: &str, arguments: &str) -> u64 {
    let data = format!("{}{arguments}", selector(function));
    let answer = anvil.ask("eth_call", &json!([{ "to": to, "data": data }, "latest"]));
    let first = answer.as_str().unwrap()[2..66].trim_start_matches('0').to_owned();
    u64::from_str_radix(if first.is_empty() { "0" } else { &first }, 16).unwrap()
}

fn selector(function: &str) -> String {
    let hash = Keccak256::digest(function);
    format!("0x{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
}

pub fn word(number: u64) -> String {
    format!("{number:064x}")
}
