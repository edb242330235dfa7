use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::record::{FailureKind, RetrySelection};
use proofyard_core::report::{Report, ReportRequest, Spending};
use proofyard_core::state::{Metered, Task};
use proofyard_core::transaction::read;
use proofyard_core::{Yard, pipeline};

use super::{CUTS, DEMO};
use crate::common::driver::{Does, Driver, PROVE_MS, VERIFY_MS, good};
use crate::common::intercepted_port::InterceptedPort;
use crate::common::now;

const TASK_MS: u64 = PROVE_MS + VERIFY_MS;

/// The same pipeline with more in its pool.
fn with(text: &str, pool: &str) -> String {
    format!("{}\n", text.replace("[pool.cpu]", &format!("[pool.cpu]\n{pool}")))
}

fn report(driver: &Driver) -> Report {
    let request = ReportRequest { from: 0, to: u64::MAX, newest: 1_000, deadline_ms: None };
    now(driver.yard.report(&driver.chain, &request)).expect("a report")
}

fn costs(report: &Report) -> Vec<Option<f64>> {
    report.blocks.iter().map(|block| block.spending.cost_usd).collect()
}

/// What so many milliseconds cost at so many US dollars an hour.
fn usd(usd_per_hour: f64, ms: u64) -> f64 {
    let nanousd = (usd_per_hour * ms as f64 / 0.003_6).round();
    nanousd / 1e9
}

#[test]
fn a_slot_costs_its_part_of_the_workers_price_for_as_long_as_it_works() {
    // 7.20 USD an hour for two slots.
    let mut driver = Driver::new(&with(DEMO, "price_usd_per_hour = 7.2"));
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    // Idle time is in no proof's cost.
    driver.pass(3_600_000 / 10);
    driver.work("w1", good);
    let report = report(&driver);
    let a_block = usd(3.6, 4 * TASK_MS);
    assert_eq!(costs(&report), [Some(a_block); 3]);
    let figures = report.spending;
    assert_eq!((figures.cost_usd_p50, figures.cost_usd_p99), (Some(a_block), Some(a_block)));
    assert_eq!((figures.sum.cost_usd, figures.sum.cost_lacks_attempts), (Some(usd(3.6, 12 * TASK_MS)), 0));
    let [segment, join] = report.provers.as_slice() else { panic!("{:?}", report.provers) };
    assert_eq!(segment.spending.cost_usd_p50, Some(usd(3.6, TASK_MS)));
    assert_eq!(segment.spending.sum.cost_usd, Some(usd(3.6, 9 * TASK_MS)));
    assert_eq!(join.spending.sum.cost_usd, Some(usd(3.6, 3 * TASK_MS)));
}

#[test]
fn a_price_that_is_edited_counts_for_blocks_that_open_from_then_on() {
    let text = with(&DEMO.replace("window = 8", "window = 1"), "price_usd_per_hour = 7.2");
    let mut driver = Driver::new(&text);
    driver.worker("w1", "cpu");
    driver.block(1);
    let claimed = driver.claim("w1").expect("a segment");
    now(driver.yard.record_pipeline(&text.replace("7.2", "14.4"))).expect("edited");
    driver.perform(&claimed, good(&claimed));
    driver.work("w1", good);
    driver.block(2);
    driver.work("w1", good);
    let before = report(&driver);
    assert_eq!(costs(&before), [Some(usd(3.6, 4 * TASK_MS)), Some(usd(7.2, 4 * TASK_MS))]);
    now(driver.yard.record_pipeline(&text.replace("price_usd_per_hour = 7.2", ""))).expect("edited");
    assert_eq!(costs(&report(&driver)), costs(&before), "what was spent stays spent");
}

#[test]
fn what_is_not_known_is_no_figure_and_never_0() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.work("w1", good);
    let report = report(&driver);
    let unknown = Spending { cost_lacks_attempts: 4, energy_lacks_attempts: 4, ..Spending::default() };
    assert_eq!(report.blocks.iter().map(|block| block.spending).collect::<Vec<_>>(), [unknown; 2]);
    let figures = report.spending;
    assert_eq!((figures.cost_usd_p50, figures.energy_j_p99), (None, None));
    assert_eq!((figures.sum.cost_usd, figures.sum.energy_j), (None, None));
    assert_eq!((figures.cost_not_known, figures.sum.cost_lacks_attempts), (2, 8));
    let json = serde_json::to_value(&report.blocks[0]).expect("JSON");
    assert!(json["spending"]["cost_usd"].is_null() && json["spending"]["energy_j"].is_null(), "{json}");
    // A price of 0 is known.
    let mut driver = Driver::new(&with(DEMO, "price_usd_per_hour = 0"));
    driver.worker("w1", "cpu");
    driver.block(1);
    driver.work("w1", good);
    assert_eq!(costs(&self::report(&driver)), [Some(0.0)]);
}

#[test]
fn energy_is_what_was_measured_else_the_given_power() {
    let mut driver = Driver::new(&with(DEMO, "watts = 350"));
    driver.worker("w1", "cpu");
    driver.block(1);
    driver.metered = Some(Metered { gpu_mj: Some(70_000), cpu_mj: Some(5_000) });
    let claimed = driver.claim("w1").expect("a segment");
    driver.perform(&claimed, good(&claimed));
    driver.metered = Some(Metered { gpu_mj: None, cpu_mj: Some(2_000) });
    let claimed = driver.claim("w1").expect("a segment");
    driver.perform(&claimed, good(&claimed));
    driver.metered = Some(Metered::default());
    driver.work("w1", good);
    let spending = report(&driver).blocks[0].spending;
    let given_j = (2 * 350 * TASK_MS) as f64 / 1_000.0;
    assert_eq!((spending.measured_attempts, spending.given_attempts), (2, 2));
    assert_eq!((spending.measured_gpu_j, spending.measured_cpu_j), (Some(70.0), Some(7.0)));
    assert_eq!((spending.given_j, spending.energy_j), (Some(given_j), Some(77.0 + given_j)));
    assert_eq!((spending.energy_lacks_attempts, spending.cost_lacks_attempts), (0, 4));
}

/// A chain of one task a block.
fn one(pool: &str, stage: &str) -> String {
    format!(
        "[chain]\nname = \"one\"\nstart_height = 1\nwindow = 4\n[stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\n\
         prover = \"p\"\npool = \"cpu\"\n{stage}\n[prover.p]\ncommand = [\"p\"]\n[pool.cpu]\nprice_usd_per_hour = 3.6\n{pool}\n"
    )
}

#[test]
fn failed_and_released_attempts_count_and_an_operators_retry_forgets_none() {
    let mut driver = Driver::new(&one("watts = 100", "max_attempts = 1"));
    driver.worker("w1", "cpu");
    driver.block(1);
    let claimed = driver.claim("w1").expect("the task");
    driver.pass(1_000);
    let released = (claimed.slot, claimed.claim.clone());
    now(driver.yard.record_release(&"w1".into(), released.0, &released.1, claimed.task.id()))
        .expect("released");
    // Its answer was lost, and it is released again.
    now(driver.yard.record_release(&"w1".into(), released.0, &released.1, claimed.task.id()))
        .expect("released");
    let failing = driver.claim("w1").expect("the task");
    driver.metered = Some(Metered { gpu_mj: Some(9_000), cpu_mj: None });
    driver.perform(&failing, Does::Fails(FailureKind::Transient, "busy"));
    driver.metered = None;
    now(driver.yard.retry(&RetrySelection::AllOf { chain: driver.chain.clone() })).expect("retried");
    driver.settle();
    driver.work("w1", good);
    let spending = report(&driver).blocks[0].spending;
    // A prover that fails takes its time, and no verifier is asked.
    let all_ms = 1_000 + PROVE_MS + TASK_MS;
    assert_eq!((spending.cost_usd, spending.cost_lacks_attempts), (Some(usd(3.6, all_ms)), 0));
    assert_eq!((spending.measured_gpu_j, spending.measured_attempts), (Some(9.0), 1));
    assert_eq!(spending.given_j, Some((all_ms - PROVE_MS) as f64 / 10.0));
}

#[test]
fn a_lost_attempt_counts_up_to_its_workers_last_heartbeat_and_is_lacking_where_none_was_seen() {
    let mut driver = Driver::new(&one("", ""));
    let register = |driver: &Driver, id: &str| {
        let registration = WorkerRegistration {
            worker: id.into(),
            pool: "cpu".into(),
            slots: 64,
            alone: false,
            lease_ms: 30_000,
            isolation: None,
        };
        now(driver.yard.register_worker(&registration)).expect("registering");
        driver.sweep();
    };
    register(&driver, "lost");
    driver.block(1);
    driver.claim("lost").expect("the task");
    driver.pass(7_000);
    now(driver.yard.heartbeat(&"lost".into(), 30_000)).expect("a heartbeat");
    driver.sweep();
    driver.pass(100_000);
    driver.sweep();
    // One that nothing was heard of after it began: its time is not known.
    register(&driver, "silent");
    driver.pass(10);
    driver.claim("silent").expect("the task");
    driver.pass(100_000);
    driver.sweep();
    driver.worker("w1", "cpu");
    driver.work("w1", good);
    let report = report(&driver);
    let spending = report.blocks[0].spending;
    assert_eq!((report.blocks[0].attempts, report.blocks[0].losses), (3, 2));
    assert_eq!((spending.cost_usd, spending.cost_lacks_attempts), (Some(usd(3.6, 7_000 + TASK_MS)), 1));
    assert_eq!((report.spending.cost_usd_p50, report.spending.cost_not_known), (None, 1));
    assert_eq!(report.spending.sum.cost_usd, spending.cost_usd, "sums have what is known");
    let gauges = now(driver.yard.gauges(&driver.chain, 100)).expect("gauges");
    assert_eq!(gauges.passed.committed, 1);
    assert_eq!(gauges.passed.costs_usd, [0.0; 0], "a metric of too little would pass for all of it");
}

#[test]
fn a_late_result_of_a_lost_attempt_is_not_counted_again() {
    let mut driver = Driver::new(&one("", ""));
    driver.worker("w1", "cpu");
    driver.block(1);
    let claimed = driver.claim("w1").expect("the task");
    driver.pass(5_000);
    now(driver.yard.heartbeat(&"w1".into(), 30_000)).expect("a heartbeat");
    driver.sweep();
    now(driver.yard.expire_worker(&"w1".into(), true)).expect("expired");
    driver.pass(60_000);
    driver.perform(&claimed, good(&claimed));
    let spending = report(&driver).blocks[0].spending;
    assert_eq!((spending.cost_usd, spending.cost_lacks_attempts), (Some(usd(3.6, 5_000)), 0));
}

/// The second copy of a straggler wins; the first one is not needed any more.
fn hedged(off_ms: Option<i64>) -> Task {
    let mut driver = Driver::new(&one("", "hedge_ms = 1000\ntime_limit_ms = 60000"));
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.block(1);
    let straggler = driver.claim("w1").expect("the task");
    driver.pass(1_500);
    driver.sweep();
    match off_ms {
        None => _ = driver.work("w2", good),
        Some(off_ms) => {
            let yard = Yard::new(InterceptedPort::with_clock_skew(&driver.yard.port, off_ms));
            let request = ClaimRequest { worker: "w2".into(), slot: 0, claim: "second".into() };
            let Ok(ClaimOutcome::Claimed(task)) = now(yard.claim(&request)) else { panic!("a second copy") };
            let assignment = now(yard.assignment(&request, *task)).expect("inputs");
            now(yard.record_result(&crate::results::report(&assignment))).expect("recorded");
        }
    }
    now(read(&driver.yard.port, &straggler.task.id().task_key())).expect("read").expect("the task")
}

#[test]
fn a_copy_that_is_not_needed_counts_up_to_then_where_both_are_of_one_clock() {
    let usage = hedged(None).usage();
    assert_eq!((usage.priced, usage.nanousd), (2, 1_000 * (1_500 + 2 * TASK_MS)));
    // On a host of its own with another clock the copy's time is not known, and is lacking.
    let usage = hedged(Some(-3_600_000)).usage();
    assert_eq!(usage.priced, 1);
}

#[test]
fn a_block_of_a_cut_has_its_equal_part_of_what_the_cut_cost() {
    let mut driver = Driver::new(&with(CUTS, "price_usd_per_hour = 3.6"));
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    driver.metered = Some(Metered { gpu_mj: Some(50_000), cpu_mj: None });
    let claimed = driver.claim("w1").expect("a block's task");
    driver.perform(&claimed, good(&claimed));
    driver.metered = None;
    driver.work("w1", good);
    let report = report(&driver);
    // 320 µUSD of its own, and a third of as much.
    assert_eq!(costs(&report), [Some(0.000_426_666); 3]);
    // Together they have each attempt once, and nothing is lost by dividing.
    let sum = report.spending.sum;
    assert_eq!((sum.cost_usd, sum.cost_lacks_attempts), (Some(0.001_28), 0));
    assert_eq!((sum.measured_attempts, sum.given_attempts, sum.energy_lacks_attempts), (1, 0, 3));
    assert_eq!(sum.energy_j, Some(50.0));
    // Two of the cut's blocks have two thirds of it.
    let request = ReportRequest { from: 2, to: u64::MAX, newest: 1_000, deadline_ms: None };
    let part = now(driver.yard.report(&driver.chain, &request)).expect("a report").spending;
    assert_eq!((part.sum.cost_usd, part.sum.cost_lacks_attempts), (Some(0.000_853_333), 0));
    assert_eq!(
        part.sum.measured_attempts + part.sum.energy_lacks_attempts,
        3,
        "two of blocks, one of the cut"
    );
    assert_eq!(part.cost_usd_p99, Some(0.000_426_666));
    let times = now(driver.yard.block_times(&driver.chain, 1, 3)).expect("times");
    assert_eq!(times.iter().map(|block| block.spending.cost_usd).collect::<Vec<_>>(), costs(&report));
    let gauges = now(driver.yard.gauges(&driver.chain, 100)).expect("gauges");
    assert_eq!((gauges.passed.costs_usd, gauges.passed.energies_j), (vec![0.000_426_666; 3], vec![]));
}

#[test]
fn a_price_may_have_a_fraction() {
    let price = |text: &str| {
        let text = with(DEMO, &format!("price_usd_per_hour = {text}"));
        pipeline::parse(&text).expect("a good pipeline").pipeline.pools["cpu"].price_microusd_per_hour
    };
    let read = ["2", "2.5", "0.000001", "1e-3", "1000000.0", "3.067", "0.1"].map(price);
    let right = [2_000_000, 2_500_000, 1, 1_000, 1_000_000_000_000, 3_067_000, 100_000];
    assert_eq!(read, right.map(Some));
}
