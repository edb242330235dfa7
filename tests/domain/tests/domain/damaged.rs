//! Items that say what they must not: whoever reads them gets an error that names the item, and nobody panics.

use std::collections::BTreeSet;

use proofyard_core::claim::ClaimRequest;
use proofyard_core::error::Error;
use proofyard_core::port::Key;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{COMMITS, KeyFamily, OutEntry};
use proofyard_core::{Wake, Yard};

use crate::common::driver::{Does, Driver, LEASE_MS, block, good};
use crate::common::{named, now};

const PIPELINE: &str = r#"
[chain]
name = "c"
start_height = 1
window = 4

[stage.one]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.two]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.agree]
strategy = "match"
from = ["one", "two"]
need = 2

[stage.range]
strategy = "sequential"
from = "one"
prover = "p"
pool = "cpu"
size = 2

[prover.p]
command = ["p"]

[pool.cpu]

[sink.main]
stage = "agree"
file = "x"
"#;

/// A yard with an item of every kind: blocks on the chain, stored and orphaned, cuts, tasks that wait, run, failed and are
/// proved, workers, what is handed on.
fn yard() -> Driver {
    let mut driver = Driver::new(PIPELINE);
    driver.worker("w", "cpu");
    driver.blocks(1..=5);
    driver.send(&block(9, "a", "a"));
    driver.send(&block(5, "b", "a"));
    for _ in 0..6 {
        let assignment = driver.claim("w").unwrap();
        driver.perform(&assignment, Does::Proves("aa"));
    }
    let assignment = driver.claim("w").unwrap();
    driver.perform(&assignment, Does::Fails(FailureKind::Transient, "no"));
    driver.claim("w").unwrap();
    driver
}

/// What everybody does with a yard; answers what went wrong.
fn all_that_is_done(driver: &Driver) -> Vec<Error> {
    // Which remembers no pipeline.
    let yard = &Yard::new(driver.yard.port.clone());
    let mut errors = Vec::new();
    let mut tried = |result: Result<(), Error>| errors.extend(result.err());
    tried(now(yard.chains()).map(drop));
    tried(now(yard.status(&named("c"), true)).map(drop));
    for height in 0..=6 {
        tried(now(yard.explain(&named("c"), height)).map(drop));
    }
    tried(now(yard.isolations()).map(drop));
    tried(now(yard.is_finished(&named("c"))).map(drop));
    tried(now(yard.block_times(&named("c"), 1, 5)).map(drop));
    tried(now(yard.committed(&named("c"), &(0..=u64::MAX))).map(drop));
    tried(now(yard.out_log(&named("c"), 0)).map(drop));
    tried(now(yard.record_block(&named("c"), &block(6, "a", "a"))).map(drop));
    tried(now(yard.record_reorg(&named("c"), 5, &block(5, "b", "a").hash)).map(drop));
    tried(now(yard.record_end(&named("c"))));
    tried(now(yard.advance(&Wake::Chain { chain: named("c") })));
    tried(now(yard.heartbeat(&"w".into(), LEASE_MS)).map(drop));
    let claim = ClaimRequest { worker: "w".into(), slot: 0, claim: "another".into() };
    tried(now(yard.claim(&claim)).map(drop));
    tried(now(yard.waiting_tasks("cpu", 100)).map(drop));
    tried(now(yard.record_pipeline(&PIPELINE.replace("window = 4", "window = 3"))).map(drop));
    driver.pass(3_600_000);
    match now(yard.sweep()) {
        Ok(swept) => assert!(swept.errors.iter().all(|(key, _)| !key.partition.is_empty())),
        Err(error) => errors.push(error),
    }
    for wakes in 0.. {
        let Some(wake) = driver.yard.port.next_wake() else { break };
        assert!(wakes < 1_000, "it never ends: {wake:?}");
        if let Err(error) = now(yard.advance(&wake)) {
            errors.push(error);
            break;
        }
    }
    errors
}

/// As a bad disk, another program, or a hand may leave it.
fn unreadable(value: &[u8]) -> Vec<Vec<u8>> {
    let half = value.len() / 2;
    let mut flipped = value.to_vec();
    flipped[half] ^= 0x80;
    let texts = ["", "{", "null", "[]", "7", "\"x\"", "{\"colour\": 1}"];
    let texts = texts.iter().map(|text| text.as_bytes().to_vec());
    texts.chain([value[..half].to_vec(), flipped, vec![0xff; 64], vec![0; 64]]).collect()
}

fn family(key: &Key) -> KeyFamily {
    KeyFamily::of(key).unwrap_or_else(|| panic!("{key} is no key of the layout"))
}

#[test]
fn an_item_that_cannot_be_read_is_named_and_nobody_panics() {
    let whole = yard();
    assert!(all_that_is_done(&whole).is_empty());
    let keys = yard().yard.port.keys();
    let kinds: BTreeSet<KeyFamily> = keys.iter().map(family).collect();
    assert!(kinds.len() >= 17, "{kinds:?}");
    let mut named = BTreeSet::new();
    for key in &keys {
        let value = yard().yard.port.value(key);
        for damaged in unreadable(&value) {
            let driver = yard();
            driver.yard.port.overwrite(key, damaged);
            for error in all_that_is_done(&driver) {
                match error {
                    Error::Damaged { key: said, .. } => {
                        assert_eq!(&said, key);
                        named.insert(family(key));
                    }
                    // Such as a worker that is not there, since its item says nothing.
                    error => assert!(!error.passes(), "{key}: {error}"),
                }
            }
        }
    }
    let unnamed: Vec<_> = kinds.difference(&named).collect();
    assert_eq!(unnamed, [&KeyFamily::Marker], "of a marker nothing is read but its key");
}

/// The same JSON with each of its numbers in turn made one that nobody wrote, and where that is.
fn absurd(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let json: serde_json::Value = serde_json::from_slice(value).expect("an item is JSON");
    let mut places = Vec::new();
    numbers(&json, String::new(), &mut places);
    let mut all = Vec::new();
    for place in places {
        for number in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 53, 0] {
            let mut other = json.clone();
            *other.pointer_mut(&place).expect("a place") = number.into();
            all.push((format!("{place} = {number}"), serde_json::to_vec(&other).expect("JSON")));
        }
    }
    all
}

fn numbers(json: &serde_json::Value, place: String, places: &mut Vec<String>) {
    match json {
        serde_json::Value::Number(_) => places.push(place),
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                numbers(item, format!("{place}/{index}"), places);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                numbers(field, format!("{place}/{name}"), places);
            }
        }
        _ => {}
    }
}

/// A height of 2^64 - 1 overflows in whoever adds to it, and a loop up to it never ends.
#[test]
fn a_number_that_nobody_wrote_harms_nobody() {
    let keys = yard().yard.port.keys();
    let mut tried = 0;
    let mut harmed = BTreeSet::new();
    for key in &keys {
        let value = yard().yard.port.value(key);
        for (what, damaged) in absurd(&value) {
            let driver = yard();
            driver.yard.port.overwrite(key, damaged);
            let driver = std::panic::AssertUnwindSafe(&driver);
            if std::panic::catch_unwind(|| all_that_is_done(&driver)).is_err() {
                harmed.insert(format!("{:?} {what}", family(key)));
            }
            tried += 1;
        }
    }
    assert!(tried > 1_000, "{tried} tried");
    assert!(harmed.is_empty(), "{harmed:#?}");
}

#[test]
fn a_block_of_a_height_that_no_chain_comes_to_is_refused() {
    let driver = yard();
    let keys = driver.yard.port.keys();
    for height in [u64::MAX, 1 << 60, 1 << 53] {
        let refused = now(driver.yard.record_block(&named("c"), &block(height, "a", "a"))).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("height {height} is above")), "{refused}");
    }
    assert_eq!(driver.yard.port.keys(), keys);
}

/// What alarms rest on: that a chain lags is said also where a sink's next entry cannot be read.
#[test]
fn a_sink_that_cannot_be_read_does_not_hide_how_its_chain_stands() {
    let mut driver = yard();
    driver.work("w", good);
    driver.yard.port.overwrite(&OutEntry::key_of(&named("c"), COMMITS, 0), b"{".to_vec());
    let gauges = now(driver.yard.gauges(&named("c"), 100)).expect("how the chain stands");
    let sink = &gauges.sinks[0];
    assert!(sink.behind > 0);
    assert!(matches!(now(driver.yard.sink_lag_ms(&named("c"), sink)), Err(Error::Damaged { .. })));
}
