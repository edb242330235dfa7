//! Cuts that close by fields of blocks, under the node's own names: what is not there is told, and never counted as 0.

use std::collections::BTreeMap;

use proofyard_core::explain::Case;
use proofyard_core::pipeline::{Header, parse};
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::Block;
use proofyard_core::status::Finished;

use crate::common::driver::{Driver, block, good};
use crate::common::now;

/// Committed by cuts; a rule is added.
fn committing(rule: &str) -> String {
    format!(
        r#"
        [chain]
        name = "ranges"
        start_height = 1
        window = 16
        commit = "range"
        [stage.range]
        strategy = "sequential"
        from = "block"
        size = 16
        {rule}
        prover = "p"
        pool = "cpu"
        [prover.p]
        command = ["p"]
        [pool.cpu]
        "#
    )
}

const BY_GAS: &str = "budget = { field = \"gasUsed\", max = 100 }";

fn with(height: u64, fields: &[(&str, &str)]) -> Block {
    let fields: BTreeMap<_, _> =
        fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Block { fields, ..block(height, "a", "a") }
}

fn explained(driver: &Driver, height: u64) -> (Case, String) {
    let told = now(driver.yard.explain(&driver.chain, height)).expect("an answer");
    (told.case, told.to_string())
}

fn finished(driver: &Driver) -> Finished {
    now(driver.yard.is_finished(&driver.chain)).expect("an answer")
}

fn cuts(driver: &Driver) -> Vec<(u64, u64)> {
    let entries = now(driver.yard.committed(&driver.chain, &(0..=u64::MAX))).expect("entries");
    entries.iter().map(|entry| (entry.from, entry.to)).collect()
}

#[test]
fn budgets_read_numbers_as_nodes_write_them() {
    let mut driver = Driver::new(&committing(BY_GAS));
    driver.worker("w1", "cpu");
    // In hex, in decimal, and of more bits than any budget has.
    for (height, gas) in (1..).zip(["0x28", "60", "0x1", "0x2a", &format!("0x{}", "f".repeat(64)), "0x5"]) {
        driver.send(&with(height, &[("gasUsed", gas)]));
    }
    driver.end();
    driver.work("w1", good);
    assert_eq!(cuts(&driver), [(1, 2), (3, 4), (5, 5), (6, 6)]);
}

#[test]
fn a_block_without_the_field_keeps_its_cut_open_and_is_named() {
    for (rule, value, what) in [
        (BY_GAS, None, "block 3 has no `gasUsed`"),
        (BY_GAS, Some(("gasUsed", "many")), "block 3 has \"many\" as its `gasUsed`, which is no number"),
        ("cut_on = \"l1BatchNumber\"", None, "block 3 has no `l1BatchNumber`"),
        (&format!("{BY_GAS}\nmax_wait_ms = 5"), None, "block 3 has no `gasUsed`"),
    ] {
        let mut driver = Driver::new(&committing(rule));
        driver.worker("w1", "cpu");
        for height in [1, 2, 4] {
            if height == 4 {
                driver.send(&with(3, value.as_slice()));
            }
            driver.send(&with(height, &[("gasUsed", "0x1"), ("l1BatchNumber", "0x7")]));
        }
        driver.end();
        driver.pass(60_000);
        driver.sweep();
        driver.work("w1", good);
        assert_eq!(cuts(&driver), [], "{rule}");
        let (case, told) = explained(&driver, 4);
        assert_eq!(case, Case::Blocked);
        assert!(told.contains(&format!("no cut of stage range can close: {what}")), "{told}");
        let Finished::Stuck { reason, .. } = finished(&driver) else { panic!("it is stuck: {rule}") };
        assert_eq!(reason, format!("no cut of stage range can close: {what}"));
    }
}

/// A field that was not asked for when a block came is taken from the same block, told once more.
#[test]
fn a_repeat_brings_a_field_that_was_not_kept() {
    let mut driver = Driver::new(&committing(BY_GAS));
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.end();
    driver.sweep();
    assert!(matches!(finished(&driver), Finished::Stuck { .. }));
    for height in 1..=2 {
        assert_eq!(driver.send(&with(height, &[("gasUsed", "0x3c")])), BlockOutcome::Repeated);
    }
    // What is known of a block does not change.
    driver.send(&with(1, &[("gasUsed", "0x0")]));
    driver.work("w1", good);
    assert_eq!(cuts(&driver), [(1, 1), (2, 2)]);
    assert_eq!(finished(&driver), Finished::Yes);
}

#[test]
fn a_cut_after_the_commit_that_cannot_close_is_told_of_committed_blocks() {
    let text = committing("cut_on = \"batch\"").replace("commit = \"range\"", "commit = \"each\"")
        + "\n[stage.each]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\"\n";
    let mut driver = Driver::new(&text);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.end();
    driver.work("w1", good);
    let (case, told) = explained(&driver, 1);
    assert_eq!(case, Case::Committed);
    assert!(told.contains("no cut of stage range can close: block 1 has no `batch`"), "{told}");
    assert!(matches!(finished(&driver), Finished::Stuck { .. }));
}

/// A run that is told to leave the end open ends where only more blocks could move it.
#[test]
fn so_far_a_short_cut_waits_for_more_blocks() {
    let so_far = |driver: &Driver| now(driver.yard.is_finished_so_far(&driver.chain)).expect("an answer");
    let mut driver = Driver::new(&committing("").replace("size = 16", "size = 3"));
    driver.worker("w1", "cpu");
    driver.blocks(1..=5);
    assert_eq!(so_far(&driver), Finished::No, "the first cut is worked on");
    driver.work("w1", good);
    assert_eq!((so_far(&driver), finished(&driver)), (Finished::Yes, Finished::No));
    driver.blocks(6..=7);
    driver.work("w1", good);
    assert_eq!((so_far(&driver), cuts(&driver)), (Finished::Yes, vec![(1, 3), (4, 6)]));
    driver.end();
    driver.work("w1", good);
    assert_eq!((finished(&driver), cuts(&driver).last()), (Finished::Yes, Some(&(7, 7))));
}

/// It came under a pipeline that did not split blocks.
#[test]
fn a_block_without_segments_that_is_split_is_told() {
    let text = include_str!("pipeline/demo.toml");
    let driver = Driver::new(text);
    driver.send(&Block { segments: 0, ..block(1, "a", "a") });
    let (case, told) = explained(&driver, 1);
    assert_eq!(case, Case::Blocked);
    assert!(told.contains("its block names no segments"), "{told}");
}

#[test]
fn how_headers_are_hashed_is_a_key_of_the_chain() {
    let read = |text: &str| parse(text).expect("a pipeline");
    let plain = committing("");
    assert_eq!(read(&plain).pipeline.chain.header, Header::Ethereum);
    let trusted = read(&plain.replace("window = 16", "window = 16\nheader = \"trusted\""));
    assert_eq!(trusted.pipeline.chain.header, Header::Trusted);
    let warnings: Vec<_> = trusted.warnings.iter().map(|warning| warning.display("p").to_string()).collect();
    assert!(warnings[0].contains("the hashes of blocks are not checked"), "{warnings:?}");
    let wrong = parse(&plain.replace("window = 16", "window = 16\nheader = \"keccak\"")).unwrap_err();
    assert!(wrong[0].display("p").to_string().contains("\"ethereum\" or \"trusted\""));
}

#[test]
fn names_that_no_node_uses_are_warned_of() {
    let told = |rule: &str| {
        let checked = parse(&committing(rule)).expect("a pipeline");
        checked.warnings.iter().map(|warning| warning.display("p").to_string()).collect::<Vec<_>>()
    };
    for (rule, meant) in [
        ("budget = { field = \"gas_used\", max = 1 }", "gasUsed"),
        ("cut_on = \"extradata\"", "extraData"),
        ("cut_on = \"transaction\"", "transactions"),
    ] {
        let told = told(rule);
        assert!(told[0].contains(&format!("did you mean \"{meant}\"?")), "{told:?}");
    }
    assert_eq!(told(BY_GAS), [""; 0]);
    assert_eq!(told("cut_on = \"l1BatchNumber\""), [""; 0]);
}
