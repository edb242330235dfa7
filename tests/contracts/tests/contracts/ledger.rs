//! A contract that counts what it is called with, on a chain of its own.

use proofyard_follow_tests::anvil::Anvil;
use serde_json::json;

use crate::evm::{DEPLOYER, deployed, transact, view, word};

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

    pub fn mine(&self, blocks: u64) {
        self.anvil.mine_fast(blocks);
    }
}
