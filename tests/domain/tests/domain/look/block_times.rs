use proofyard_core::record::FailureKind;
use proofyard_core::status::BlockTimes;

use super::{CUTS, DEMO, REALTIME};
use crate::common::driver::{Does, Driver, PROVE_MS, START_MS, VERIFY_MS, good};
use crate::common::now;

fn times(driver: &Driver) -> Vec<BlockTimes> {
    now(driver.yard.block_times(&driver.chain, 0, u64::MAX)).expect("times")
}

#[test]
fn a_block_is_followed_from_its_arrival_to_its_commit() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.pass(1_000);
    driver.blocks(2..=2);
    driver.pass(1_000);
    driver.work("w1", good);
    let [first, second] = times(&driver).try_into().expect("two blocks");
    assert_eq!((first.height, first.hash.as_str(), second.height), (1, "a1", 2));
    assert_eq!((first.acknowledged_ms, second.acknowledged_ms), (START_MS, START_MS + 1_000));
    assert_eq!(first.opened_ms, Some(START_MS));
    assert_eq!(first.first_claimed_ms, Some(START_MS + 2_000));
    let task_ms = PROVE_MS + VERIFY_MS;
    assert_eq!(first.proved_ms, Some(START_MS + 2_000 + 4 * task_ms), "three segments and their join");
    assert_eq!(first.committed_ms, first.proved_ms);
    assert_eq!((first.tasks, first.attempts, first.failures, first.losses), (4, 4, 0, 0));
    assert_eq!((first.prove_ms, first.verify_ms), (4 * PROVE_MS, 4 * VERIFY_MS));
    assert_eq!(first.proof_bytes, 1_000, "of the join alone");
    assert!(!first.missed);
}

#[test]
fn failures_count_and_blocks_in_work_have_what_they_have() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=9);
    let task = driver.claim("w1").expect("a task");
    driver.perform(&task, Does::Fails(FailureKind::Transient, "busy"));
    let times = times(&driver);
    assert_eq!(times.len(), 9);
    assert_eq!((times[0].tasks, times[0].attempts, times[0].failures), (3, 1, 1));
    assert_eq!((times[0].first_claimed_ms, times[0].committed_ms), (None, None));
    assert_eq!((times[8].opened_ms, times[8].tasks), (None, 0), "beyond the window");
}

#[test]
fn a_cut_counts_for_each_of_its_blocks() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.blocks(1..=4);
    driver.work("w1", good);
    let times = times(&driver);
    for block in &times[..3] {
        assert_eq!((block.tasks, block.proof_bytes), (2, 1_000));
        assert!(block.proved_ms.is_some() && block.committed_ms.is_some());
    }
    assert_eq!((times[3].tasks, times[3].proved_ms), (1, None));
}

/// Metrics sum over blocks.
#[test]
fn how_often_a_cuts_tasks_were_tried_counts_once() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    let of_cut = loop {
        let claimed = driver.claim("w1").expect("a task");
        if claimed.task.id().scope.to_string().contains(":c:") {
            break claimed;
        }
        driver.perform(&claimed, good(&claimed));
    };
    driver.perform(&of_cut, Does::Fails(FailureKind::Transient, "busy"));
    driver.pass(5_000);
    driver.sweep();
    driver.worker("w2", "cpu");
    driver.work("w2", good);
    let counts: Vec<_> = times(&driver).iter().map(|block| (block.attempts, block.failures)).collect();
    assert_eq!(counts, [(1, 0), (1, 0), (3, 1)]);
    let gauges = now(driver.yard.gauges(&driver.chain, 100)).expect("gauges");
    assert_eq!((gauges.passed.committed, gauges.passed.failures), (3, 1));
}

/// The stage that commits has another name by the time they are looked at.
#[test]
fn proofs_of_blocks_count_as_their_own_pipeline_has_it() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.work("w1", good);
    let renamed = DEMO.replace("[stage.join]", "[stage.whole]").replace("[prover.join]", "[prover.whole]");
    assert_ne!(renamed, DEMO);
    now(driver.yard.record_pipeline(&renamed)).expect("an edit");
    driver.settle();
    assert_eq!(times(&driver)[0].proof_bytes, 1_000);
}

#[test]
fn a_quorum_counts_the_proofs_that_agreed_and_a_late_block_is_missed() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(21_000_000);
    driver.work("w1", good);
    driver.block(21_000_001);
    driver.pass(12_000);
    driver.sweep();
    let [committed, missed] = times(&driver).try_into().expect("two blocks");
    assert_eq!((committed.proof_bytes, committed.missed), (2_000, false));
    assert_eq!((missed.missed, missed.committed_ms), (true, None));
}
