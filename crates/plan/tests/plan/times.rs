//! Times that follow from what was put in.

use proofyard_plan::{Advance, Latencies, Load};

use super::{ONE_TASK, SEGMENTS, load, plan};

#[test]
fn without_latencies_orchestration_takes_no_time() {
    for (text, advance) in
        [(SEGMENTS, Advance::Worker), (ONE_TASK, Advance::Worker), (ONE_TASK, Advance::Collector)]
    {
        let planned = plan(text, &Load { advance, ..load() }, 2.0, &Latencies::none());
        assert_eq!((planned.blocks.committed, planned.blocks.lag_blocks), (20, 0));
        assert_eq!((planned.orchestration.p50_s, planned.orchestration.max_s), (0.0, 0.0), "{planned:?}");
        let stages = if text == SEGMENTS { 2.0 } else { 1.0 };
        assert_eq!((planned.latency.max_s, planned.proving.p50_s), (2.0 * stages, 2.0 * stages));
    }
}

#[test]
fn a_fleet_that_is_too_small_falls_behind_and_one_that_is_larger_does_not() {
    let one = plan(ONE_TASK, &Load { gpus: 1, ..load() }, 30.0, &Latencies::default());
    assert!(one.blocks.lag_grows && one.blocks.lag_blocks >= 10, "{:?}", one.blocks);
    assert!((one.gpus_needed - 2.5).abs() < 0.001 && one.busy_share() > 0.95, "{one:?}");
    assert!(one.waiting_for_machines.p99_s + one.waiting_for_blocks.p99_s > 60.0, "{one:?}");
    assert!(one.orchestration.p99_s < 30.0, "waiting is no orchestration: {:?}", one.orchestration);
    let four = plan(ONE_TASK, &Load { gpus: 4, ..load() }, 30.0, &Latencies::default());
    assert!(!four.blocks.lag_grows && four.blocks.committed == 20, "{:?}", four.blocks);
}

/// Only DynamoDB takes time, always the same; so a block's orchestration is a number of rounds times that.
#[test]
fn orchestration_is_rounds_times_latency() {
    let at = |ms: f64| {
        let mut latencies = Latencies::none();
        for call in [
            &mut latencies.dynamodb_get,
            &mut latencies.dynamodb_batch_get,
            &mut latencies.dynamodb_query,
            &mut latencies.dynamodb_put,
            &mut latencies.dynamodb_transact,
        ] {
            (call.p50_ms, call.p99_ms) = (ms, ms);
        }
        plan(ONE_TASK, &Load { gpus: 1, counts_workers: false, ..load() }, 2.0, &latencies)
            .orchestration
            .p50_s
    };
    let (ten, twenty) = (at(10.0), at(20.0));
    let rounds = ten / 0.01;
    assert!((rounds - rounds.round()).abs() < 1e-6 && rounds > 10.0, "{rounds} rounds");
    assert!((twenty - ten - rounds * 0.01).abs() < 1e-6, "{ten} s, then {twenty} s");
}

#[test]
fn a_seed_determines_everything() {
    let told = |seed| {
        let planned = plan(SEGMENTS, &Load { seed, ..load() }, 2.0, &Latencies::default());
        serde_json::to_string(&planned).unwrap()
    };
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn machines_that_are_taken_back_lose_no_block() {
    let mut latencies = Latencies::default();
    latencies.spot_reclaims_an_hour.value = 20.0;
    let planned = plan(SEGMENTS, &Load { gpus: 32, blocks: 60, ..load() }, 4.0, &latencies);
    assert_eq!(planned.blocks.committed, 60, "{planned:?}");
}

#[test]
fn cuts_and_quorums_are_planned_too() {
    for example in ["rollup", "pairs", "realtime", "push0"] {
        let file = format!("{}/../../examples/{example}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).unwrap();
        let planned = plan(&text, &Load { gpus: 16, blocks: 24, ..load() }, 1.0, &Latencies::default());
        assert!(planned.blocks.committed >= 16, "{example}: {planned:?}");
    }
}
