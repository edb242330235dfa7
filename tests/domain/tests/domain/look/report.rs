use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::record::FailureKind;
use proofyard_core::report::{
    DeadlineIs, GoalName, MissCase, ProverFigures, Report, ReportRequest, TrustedSetup, Verdict,
};
use proofyard_core::work::Assignment;

use super::{CUTS, DEMO, REALTIME};
use crate::common::driver::{Does, Driver, PROVE_MS, START_MS, Says, VERIFY_MS, block, good};
use crate::common::now;

const TASK_MS: u64 = PROVE_MS + VERIFY_MS;
/// Three segments and their join, one after the other.
const BLOCK_MS: u64 = 4 * TASK_MS;
/// The first height of the real-time pipeline, and when it gives a block up.
const FIRST: u64 = 21_000_000;
const DEADLINE_MS: u64 = 12_000;

fn all() -> ReportRequest {
    ReportRequest { from: 0, to: u64::MAX, newest: 1_000, deadline_ms: None }
}

fn report(driver: &Driver, request: &ReportRequest) -> Report {
    now(driver.yard.report(&driver.chain, request)).expect("a report")
}

fn verdict(report: &Report, name: GoalName) -> Verdict {
    report.goals.iter().find(|goal| goal.goal == name).expect("the goal").verdict
}

/// Blocks that came at once and are proved one after the other.
fn demo(blocks: u64) -> Driver {
    let mut driver = Driver::new(DEMO);
    driver.says = Says {
        proof_system: Some("stark".into()),
        security_bits: Some(96),
        trusted_setup: Some(false),
        ..Says::default()
    };
    driver.worker("w1", "cpu");
    driver.blocks(1..=blocks);
    driver.work("w1", good);
    driver
}

#[test]
fn latency_is_from_the_acknowledgement_to_the_accepted_proof() {
    let driver = demo(8);
    let report = report(&driver, &all());
    assert_eq!(
        (report.from, report.to, report.blocks_committed, report.blocks_missed),
        (Some(1), Some(8), 8, 0)
    );
    let latencies: Vec<_> = report.blocks.iter().map(|block| block.latency_ms).collect();
    assert_eq!(latencies, (1..=8).map(|block| Some(block * BLOCK_MS)).collect::<Vec<_>>());
    let latency = report.latency;
    assert_eq!((latency.p50_ms, latency.p90_ms), (Some(4 * BLOCK_MS), Some(8 * BLOCK_MS)));
    assert_eq!((latency.p99_ms, latency.max_ms), (Some(8 * BLOCK_MS), Some(8 * BLOCK_MS)));
    assert_eq!((report.deadline_ms, report.deadline_is), (10_000, DeadlineIs::Goal));
    // 7 x 1,280 ms is within 10 s, and 8 x is not.
    assert_eq!((latency.within_deadline, latency.within_deadline_share), (7, Some(7.0 / 8.0)));
    assert_eq!(verdict(&report, GoalName::LatencyP99), Verdict::NotMet);
    assert_eq!(verdict(&report, GoalName::BlocksUnder10S), Verdict::Met);
    assert_eq!(
        (report.first_acknowledged_ms, report.last_proved_ms),
        (Some(START_MS), Some(START_MS + 8 * BLOCK_MS))
    );
    assert_eq!(report.waiting.blocks, 0);
}

/// On AWS a block is acknowledged once it is in its queue, and recorded when a function comes to it.
#[test]
fn what_a_block_waited_in_a_queue_is_in_its_latency() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.pass(60_000);
    let acknowledged_ms = START_MS + 5_000;
    let recorded =
        now(driver.yard.record_acknowledged_block(&driver.chain, &block(1, "a", "a"), Some(acknowledged_ms)));
    recorded.expect("a block");
    driver.settle();
    let status = now(driver.yard.status(&driver.chain, false)).expect("a status");
    assert_eq!((status.tip.map(|tip| tip.age_ms), status.lag_ms), (Some(55_000), 55_000));
    driver.work("w1", good);
    let report = report(&driver, &all());
    assert_eq!(report.first_acknowledged_ms, Some(acknowledged_ms));
    assert_eq!(report.blocks[0].latency_ms, Some(55_000 + BLOCK_MS));
    let gauges = now(driver.yard.gauges(&driver.chain, 100)).expect("gauges");
    assert_eq!(gauges.passed.latencies_ms, [55_000 + BLOCK_MS]);
}

#[test]
fn a_range_the_newest_and_another_deadline_may_be_asked_for() {
    let driver = demo(8);
    // Exactly at the deadline is in time.
    let request = ReportRequest { from: 3, to: 6, newest: 3, deadline_ms: Some(5 * BLOCK_MS) };
    let report = report(&driver, &request);
    let heights: Vec<_> = report.blocks.iter().map(|block| block.height).collect();
    assert_eq!((heights, report.heights_left_out), (vec![4, 5, 6], 1));
    assert_eq!((report.latency.within_deadline, report.deadline_is), (2, DeadlineIs::Asked));
    assert_eq!(report.timeline.iter().map(|row| row.from).collect::<Vec<_>>(), [6, 5, 4], "newest first");
}

#[test]
fn nothing_is_said_of_an_empty_chain_and_waiting_blocks_are_told() {
    let driver = Driver::new(DEMO);
    driver.blocks(1..=3);
    driver.pass(10_000);
    driver.block(4);
    driver.pass(1);
    let report = report(&driver, &all());
    assert_eq!(
        (report.from, report.latency.p50_ms, report.latency.within_deadline_share),
        (None, None, None)
    );
    assert!(report.goals.iter().all(|goal| goal.verdict == Verdict::CannotBeSaid), "{:?}", report.goals);
    assert_eq!((report.waiting.blocks, report.waiting.over_deadline), (4, 3));
}

#[test]
fn provers_are_told_by_stage_with_what_they_state() {
    let mut driver = demo(2);
    driver.says = Says {
        proof_system: Some("stark".into()),
        security_bits: Some(120),
        trusted_setup: None,
        ..Says::default()
    };
    driver.blocks(3..=3);
    let task = driver.claim("w1").expect("a segment");
    driver.perform(&task, Does::Fails(FailureKind::Transient, "busy"));
    driver.pass(700_000);
    now(driver.yard.heartbeat(&"w1".into(), 600_000)).expect("a heartbeat");
    driver.sweep();
    driver.work("w1", good);
    let report = report(&driver, &all());
    let [segment, join] = report.provers.as_slice() else { panic!("{:?}", report.provers) };
    assert_eq!((segment.stage.as_str(), segment.prover.as_str()), ("segment", "miden-segment"));
    assert_eq!((segment.commits, join.commits), (false, true));
    assert_eq!((segment.tasks, segment.accepted, segment.attempts), (9, 9, 10));
    assert_eq!((segment.failures, segment.losses), (1, 0));
    assert_eq!((segment.on_time, segment.on_time_share), (6, Some(6.0 / 9.0)), "the third block's came late");
    assert_eq!((segment.prove_p50_ms, segment.prove_p99_ms), (Some(PROVE_MS), Some(PROVE_MS)));
    assert_eq!((join.tasks, join.bytes_p50, join.bytes_max), (3, Some(1_000), Some(1_000)));
    assert_eq!((join.proof_system.as_deref(), join.security_bits_min), (Some("stark"), Some(96)));
    assert_eq!(join.trusted_setup, TrustedSetup::Unstated, "one of its proofs says nothing");
    assert_eq!((report.proofs.proofs, report.proofs.bytes_max), (3, Some(1_000)));
    assert_eq!((report.proofs.security_bits_min, report.proofs.security_unstated), (Some(96), 0));
    assert_eq!(verdict(&report, GoalName::SecurityAtFirst), Verdict::NotMet);
    let tried = &report.timeline[0].tasks;
    assert_eq!(
        tried.iter().flat_map(|task| &task.failed).map(|failed| &failed.message).collect::<Vec<_>>(),
        ["busy"]
    );
}

#[test]
fn a_task_is_followed_in_time() {
    let driver = demo(1);
    let report = report(&driver, &all());
    let [row] = report.timeline.as_slice() else { panic!("{:?}", report.timeline) };
    let stages: Vec<_> = row.tasks.iter().map(|task| task.stage.as_str()).collect();
    assert_eq!(stages, ["segment", "segment", "segment", "join"], "as they were claimed");
    let join = &row.tasks[3];
    let claimed_ms = START_MS + 3 * TASK_MS;
    assert_eq!((join.claimed_ms, join.started_ms), (Some(claimed_ms), Some(claimed_ms)));
    assert_eq!((join.prove_ms, join.verify_ms), (Some(PROVE_MS), Some(VERIFY_MS)));
    assert_eq!((join.accepted_ms, row.proved_ms), (Some(claimed_ms + TASK_MS), Some(claimed_ms + TASK_MS)));
    assert_eq!((join.worker.as_deref(), join.attempts, join.bytes), (Some("w1"), 1, Some(1_000)));
}

#[test]
fn blocks_of_a_cut_have_the_latency_of_its_proof() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.block(1);
    driver.pass(1_000);
    driver.blocks(2..=4);
    driver.work("w1", good);
    let report = report(&driver, &all());
    let proved_ms = report.blocks[0].proved_ms.expect("proved");
    let latencies: Vec<_> = report.blocks.iter().map(|block| (block.cut_from, block.latency_ms)).collect();
    let [first, later] =
        [START_MS, START_MS + 1_000].map(|acknowledged_ms| Some(proved_ms - acknowledged_ms));
    assert_eq!(
        latencies,
        [(Some(1), first), (Some(1), later), (Some(1), later)],
        "the fourth is in no cut yet"
    );
    assert_eq!((report.proofs.proofs, report.blocks[0].proof_bytes, report.blocks[0].tasks), (1, 1_000, 2));
    let fold = report.provers.iter().find(|row| row.stage == "fold").expect("the fold");
    assert_eq!(
        (fold.tasks, fold.accepted, fold.commits),
        (1, 1, true),
        "once, and not for each of its blocks"
    );
    let rows: Vec<_> = report.timeline.iter().map(|row| (row.from, row.to, row.cut_by.is_some())).collect();
    assert_eq!(rows, [(1, 3, true), (3, 3, false), (2, 2, false), (1, 1, false)]);
    assert_eq!(report.timeline[0].acknowledged_ms, START_MS, "since its first block came");
}

/// A real-time yard whose first block came; what happens until its deadline, and after it, is the test's.
fn missed(until: impl Fn(&mut Driver), after: impl Fn(&mut Driver)) -> Report {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.worker("w2", "gpu");
    driver.block(FIRST);
    until(&mut driver);
    driver.pass((START_MS + DEADLINE_MS).saturating_sub(now_ms(&driver)));
    driver.sweep();
    after(&mut driver);
    let report = report(&driver, &all());
    assert_eq!((report.blocks_committed, report.blocks_missed, report.misses.len()), (0, 1, 1));
    assert_eq!(
        (report.misses[0].height, report.misses[0].deadline_at_ms),
        (FIRST, Some(START_MS + DEADLINE_MS))
    );
    report
}

fn now_ms(driver: &Driver) -> u64 {
    proofyard_core::Port::now_ms(&driver.yard.port)
}

fn is_told(report: &Report, case: MissCase, parts: &[&str]) {
    let miss = &report.misses[0];
    assert_eq!(miss.case, case, "{miss:?}");
    assert!(!miss.cause.contains('\n'), "{miss:?}");
    for part in parts {
        assert!(miss.cause.contains(part), "{part:?} is not told: {}", miss.cause);
    }
}

/// Claims the task of a stage; the others that came before it are proved, or left running.
fn claim_of(driver: &mut Driver, stage: &str, worker: &str) -> Assignment {
    loop {
        let task = driver.claim(worker).expect("a task");
        if task.task.id().stage == stage {
            return task;
        }
    }
}

#[test]
fn a_miss_counts_in_every_percentile_and_share() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(FIRST);
    driver.work("w1", good);
    driver.block(FIRST + 1);
    driver.pass(DEADLINE_MS);
    driver.sweep();
    let report = report(&driver, &all());
    assert_eq!((report.deadline_ms, report.deadline_is), (DEADLINE_MS, DeadlineIs::Pipeline));
    let latency = report.latency;
    assert_eq!((latency.p50_ms, latency.p99_ms), (Some(2 * TASK_MS), None), "two of three agreed");
    assert_eq!((latency.max_ms, latency.within_deadline_share), (Some(2 * TASK_MS), Some(0.5)));
    assert_eq!(verdict(&report, GoalName::LatencyP99), Verdict::NotMet);
    assert_eq!(verdict(&report, GoalName::BlocksProved), Verdict::NotMet);
    assert_eq!(report.proofs.proofs, 2, "those that agreed");
    let counts = |row: &ProverFigures| (row.tasks, row.cancelled, row.accepted, row.on_time);
    let mut rows: Vec<_> = report.provers.iter().map(counts).collect();
    rows.sort_unstable();
    // Two that agreed and the one that was cancelled; the missed block's count as not proved.
    assert_eq!(rows, [(1, 1, 0, 0), (2, 0, 1, 1), (2, 0, 1, 1)]);
}

#[test]
fn a_miss_for_want_of_workers_says_so() {
    let report = missed(|_| {}, |_| {});
    let parts = [
        "stage agree needs 2 of 3 and had 0",
        "no worker of pool gpu claimed it by the deadline",
        "; unproved too: ",
    ];
    is_told(&report, MissCase::Unclaimed, &parts);
}

#[test]
fn a_claim_after_the_deadline_is_none() {
    let claims = |driver: &mut Driver| {
        driver.pass(DEADLINE_MS + 1);
        driver.claim("w1").expect("a task of a block that nobody has given up yet");
    };
    is_told(
        &missed(claims, |_| {}),
        MissCase::Unclaimed,
        &["no worker of pool gpu claimed it by the deadline"],
    );
}

#[test]
fn a_miss_after_failures_quotes_the_last() {
    let fails = |driver: &mut Driver| {
        let task = claim_of(driver, "sp1", "w1");
        driver.perform(&task, Does::Fails(FailureKind::Transient, "out of\nGPU memory"));
    };
    let report = missed(fails, |_| {});
    is_told(&report, MissCase::Failed, &["stage sp1: 1 failed attempt, the last: out of GPU memory (on w1)"]);
    assert_eq!(report.misses[0].last_error.as_deref(), Some("out of\nGPU memory"));
    assert_eq!(
        (report.misses[0].stage.as_deref(), report.misses[0].worker.as_deref()),
        (Some("sp1"), Some("w1"))
    );
}

#[test]
fn a_miss_while_proving_says_since_when() {
    let claims = |driver: &mut Driver| {
        driver.pass(4_500);
        claim_of(driver, "zisk", "w1");
    };
    is_told(
        &missed(claims, |_| {}),
        MissCase::Proving,
        &["w1 was still proving it, since 4.50 s after the block came"],
    );
}

#[test]
fn a_miss_with_an_attempt_that_was_let_go_says_when_it_began() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(FIRST);
    driver.pass(4_500);
    let running = driver.claim("w1").expect("a task");
    driver.pass(DEADLINE_MS);
    driver.sweep();
    // As a worker does that is told to drop it.
    now(driver.yard.record_release(&"w1".into(), running.slot, &running.claim, running.task.id()))
        .expect("released");
    let parts = ["claimed 4.50 s after the block came, and not proved by the deadline; let go of since"];
    is_told(&report(&driver, &all()), MissCase::Proving, &parts);
}

#[test]
fn a_miss_with_a_late_proof_says_how_late() {
    let mut late = None;
    let mut driver = Driver::new(REALTIME);
    for worker in ["w1", "w2"] {
        driver.worker(worker, "gpu");
    }
    driver.block(FIRST);
    while let Some(task) = driver.claim("w1") {
        late = Some(task);
    }
    driver.pass(DEADLINE_MS);
    driver.sweep();
    driver.pass(500);
    driver.perform(&late.expect("a task"), Does::Proves("0a"));
    let report = report(&driver, &all());
    // Those that never came are worse than the one that came late.
    is_told(&report, MissCase::Proving, &["was still proving it", "needs 2 of 3 and had 1"]);
    assert_eq!(report.provers.iter().map(|row| (row.accepted, row.on_time)).max(), Some((1, 0)));
}

#[test]
fn a_miss_with_a_parked_task_says_why_it_parked() {
    let parks = |driver: &mut Driver| {
        for worker in ["w1", "w2"] {
            driver.work(worker, |task| match task.task.id().stage.as_str() {
                "zisk" => Does::Proves("0a"),
                _ => Does::Fails(FailureKind::Permanent, "the witness is wrong"),
            });
        }
        driver.pass(6_000);
        driver.sweep();
        for worker in ["w1", "w2"] {
            driver.work(worker, |_| Does::Fails(FailureKind::Permanent, "the witness is wrong"));
        }
    };
    let parts = ["parked (two workers say that it can never work", "the witness is wrong", "had 1"];
    is_told(&missed(parks, |_| {}), MissCase::Parked, &parts);
}

#[test]
fn a_miss_after_a_lost_worker_says_so() {
    let mut driver = Driver::new(REALTIME);
    let registration = WorkerRegistration {
        worker: "spot".into(),
        pool: "gpu".into(),
        slots: 64,
        alone: false,
        lease_ms: 3_000,
        isolation: None,
    };
    now(driver.yard.register_worker(&registration)).expect("registering");
    driver.block(FIRST);
    driver.claim("spot").expect("a task");
    driver.pass(3_100);
    driver.sweep();
    driver.pass(DEADLINE_MS);
    driver.sweep();
    is_told(
        &report(&driver, &all()),
        MissCase::Lost,
        &["1 lost worker, the last: its worker was lost (on spot)"],
    );
}

#[test]
fn a_miss_for_want_of_agreement_says_so() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(FIRST);
    let values = ["0a", "0b"];
    for value in values {
        let task = driver.claim("w1").expect("a task");
        driver.perform(&task, Does::Proves(value));
    }
    now(driver.yard.resume(&driver.chain)).expect("resumed");
    driver.pass(DEADLINE_MS);
    driver.sweep();
    let report = report(&driver, &all());
    is_told(&report, MissCase::Disagreement, &["stage agree needs 2 of 3 and had 2", "did not agree"]);
}

#[test]
fn a_chain_that_stood_still_misses_nothing_for_that() {
    let driver = Driver::new(REALTIME);
    now(driver.yard.pause(&driver.chain)).expect("paused");
    driver.block(FIRST);
    driver.pass(DEADLINE_MS);
    now(driver.yard.resume(&driver.chain)).expect("resumed");
    driver.sweep();
    assert_eq!(report(&driver, &all()).misses, []);
    driver.pass(DEADLINE_MS);
    driver.sweep();
    let report = report(&driver, &all());
    assert_eq!(report.misses[0].deadline_at_ms, Some(START_MS + 2 * DEADLINE_MS));
    assert_eq!((report.timeline.len(), report.timeline[0].missed), (1, true));
}

#[test]
fn a_miss_for_nothing_but_a_late_proof_says_how_late() {
    let text = "[chain]\nname = \"one\"\nstart_height = 1\nwindow = 4\ntick_ms = 100\nlate = \"miss\"\ndeadline_ms = 1000\n\
                [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\"\n\
                [prover.p]\ncommand = [\"p\"]\n[pool.cpu]\n";
    let mut driver = Driver::new(text);
    driver.worker("w1", "cpu");
    driver.block(1);
    let task = driver.claim("w1").expect("the task");
    driver.pass(1_000);
    driver.sweep();
    driver.perform(&task, Does::Proves("0a"));
    let report = report(&driver, &all());
    is_told(&report, MissCase::Late, &["stage prove: its proof was accepted 320 ms after the deadline"]);
    assert_eq!((report.blocks[0].latency_ms, report.proofs.proofs), (None, 0), "it commits nothing any more");
}
