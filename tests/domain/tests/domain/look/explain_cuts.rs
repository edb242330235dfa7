use proofyard_core::explain::Case;
use proofyard_core::record::FailureKind;

use super::explain::says;
use super::{CUTS, FOLDING, fail_at};
use crate::common::driver::{Does, Driver, good};

#[test]
fn no_cut_has_closed_yet() {
    let driver = Driver::new(FOLDING);
    driver.blocks(100..=102);
    driver.pass(20_000);
    says(
        &driver,
        101,
        Case::WaitsForCut,
        &[
            "no cut of stage fold has closed over it yet; it has 3 of 8 blocks",
            "the next cut starts at height 100",
            "1 min of waiting close it",
            "5 more blocks on the chain",
            "its longest wait ending, in 40 s",
        ],
    );
}

#[test]
fn a_closed_cut_is_looked_into() {
    let mut driver = Driver::new(FOLDING);
    driver.worker("w1", "cpu");
    driver.blocks(100..=107);
    driver.claim("w1").expect("the fold");
    says(
        &driver,
        103,
        Case::Working,
        &["it is in the cut 100..107, closed by size", "stage fold: 0 of 1 task accepted", "worker w1 runs"],
    );
}

#[test]
fn a_cut_waits_for_the_stages_of_its_blocks() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=3);
    says(&driver, 2, Case::Working, &["stage prove has 1 of 1 task left"]);
    fail_at(&mut driver, ["w1", "w2"], "prove", 3);
    says(
        &driver,
        1,
        Case::Parked,
        &[
            "stage fold waits for stage prove of block 3",
            "block 3: 1 task of stage prove is parked",
            "`proofyard retry 3`",
        ],
    );
}

#[test]
fn a_cut_behind_the_frontier_and_a_committed_one() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=6);
    fail_at(&mut driver, ["w1", "w2"], "fold", 1);
    says(
        &driver,
        5,
        Case::BehindFrontier,
        &["Block 5 of chain cuts", "it is in the cut 4..6", "Block 1 of chain cuts", "stage fold is parked"],
    );
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    driver.work("w1", good);
    says(&driver, 2, Case::Committed, &["in the cut 1..3, closed by size", "of stage fold: 1000 bytes"]);
}

#[test]
fn a_cut_that_backs_off() {
    let mut driver = Driver::new(FOLDING);
    driver.worker("w1", "cpu");
    driver.blocks(100..=107);
    driver.work("w1", |_| Does::Fails(FailureKind::Transient, "busy"));
    says(&driver, 100, Case::Working, &["1 backing off", "busy"]);
}
