//! Sinks of yards on the local AWS that hold keys, told as the function tells them: contracts on anvil, beacon nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod acting;
mod beacon;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../crates/notify/tests/notify/beacon_node.rs"]
mod beacon_node;
mod contracts;
mod deployed;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../tests/contracts/tests/contracts/evm.rs"]
mod evm;
mod functions;
mod kms;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../tests/contracts/tests/contracts/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../crates/notify/tests/notify/server.rs"]
mod server;
mod yard;
