//! Two chains of a yard have a pool of one name: workers prove in one, a stage with an action makes calls in the other.

use proofyard_core::port::Key;
use proofyard_core::state::{ChainName, PoolTasks};

use crate::common::driver::{Driver, good};
use crate::common::{named, now};

const CALLING: &str = r#"
[chain]
name = "calls"
start_height = 1
window = 4

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.record]
strategy = "match"
from = "prove"
action = "contract"
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
rpc = ["http://127.0.0.1:8545"]
chain_id = 1
key_from = "KEY"
function = "submit(uint256 height)"
arguments = ["{to}"]

[prover.p]
command = ["p"]

[pool.cpu]

[sink.out]
stage = "prove"
file = "x"
"#;

const PROVING: &str = r#"
[chain]
name = "proves"
start_height = 1
window = 4

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "record"

[prover.p]
command = ["p"]

[pool.record]
slots = 7

[sink.out]
file = "x"
"#;

/// A block of each chain waits in the pool `record`.
fn yard() -> Driver {
    let mut driver = Driver::new(CALLING);
    driver.worker("w", "cpu");
    driver.worker("v", "record");
    driver.blocks(1..=1);
    assert_eq!(driver.work("w", good), 1);
    now(driver.yard.record_pipeline(PROVING)).unwrap();
    driver.chain = named("proves");
    driver.blocks(1..=1);
    driver
}

/// The chains whose tasks a worker of the pool gets.
fn chains_of_claims(driver: &mut Driver) -> Vec<ChainName> {
    let mut chains = Vec::new();
    while let Some(assignment) = driver.claim("v") {
        chains.push(assignment.task.id().chain());
    }
    chains.sort();
    chains
}

#[test]
fn workers_take_no_calls_and_who_makes_calls_takes_nothing_else() {
    let mut driver = yard().taking(PoolTasks::Proofs);
    assert_eq!(now(driver.yard.waiting_tasks("record", 9)).unwrap(), 1);
    assert_eq!(now(driver.yard.waiting_calls("record", 9)).unwrap(), 1);
    assert_eq!(now(driver.yard.pool("record")).unwrap().unwrap().slots, 7);
    assert_eq!(chains_of_claims(&mut driver), ["proves"]);
    let mut driver = driver.taking(PoolTasks::Calls);
    assert_eq!(now(driver.yard.waiting_tasks("record", 9)).unwrap(), 1);
    assert_eq!(chains_of_claims(&mut driver), ["calls"]);
}

#[test]
fn a_pool_of_calls_alone_is_none_for_workers() {
    let driver = Driver::new(CALLING).taking(PoolTasks::Proofs);
    assert!(now(driver.yard.pool("record")).unwrap().is_none());
    assert!(now(driver.yard.is_pool_of_action("record")).unwrap());
}

#[test]
fn one_machine_does_both() {
    let mut driver = yard();
    assert_eq!(now(driver.yard.waiting_tasks("record", 9)).unwrap(), 2);
    assert_eq!(chains_of_claims(&mut driver), ["calls", "proves"]);
}

/// Of what was stored before pools said so, the pipeline says it.
#[test]
fn of_an_older_row_the_chains_pipeline_says_whose_tasks_they_are() {
    let mut driver = yard();
    for chain in ["calls", "proves"] {
        let key = Key::new("R#record".to_owned(), chain.to_owned());
        let older = serde_json::json!({ "pool": "record", "chain": chain }).to_string();
        driver.yard.port.overwrite(&key, older.into_bytes());
    }
    assert_eq!(now(driver.yard.waiting_calls("record", 9)).unwrap(), 1);
    assert_eq!(now(driver.yard.waiting_tasks("record", 9)).unwrap(), 2);
    driver = driver.taking(PoolTasks::Proofs);
    assert_eq!(now(driver.yard.waiting_tasks("record", 9)).unwrap(), 1);
    assert_eq!(chains_of_claims(&mut driver), ["proves"]);
}
