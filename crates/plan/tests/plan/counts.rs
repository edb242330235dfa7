//! The plan makes the calls that AWS gets: those that `tests/aws` counts on the local AWS, and of which docs/aws.md has the
//! units.

use proofyard_plan::{Advance, Latencies, Load, Step, StepUsage};

use super::{ONE_TASK, load, plan};

const DOCS: &str = include_str!("../../../../docs/aws.md");
const HOT_PATH: &str = include_str!("../../../../tests/aws/tests/aws/hot_path.rs");

/// A row of docs/aws.md's table of what a block of one task costs: calls, read units, write units, objects put.
fn documented(step: &str) -> [f64; 4] {
    let row = DOCS.lines().find(|line| line.starts_with(&format!("| {step} |"))).unwrap();
    let cells: Vec<f64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    [cells[0], cells[1], cells[2], cells[3]]
}

#[test]
fn a_block_of_one_task_takes_the_calls_that_the_local_aws_counts() {
    let load = Load { gpus: 1, advance: Advance::Collector, counts_workers: false, ..load() };
    // Blocks come one after another, and nothing else is going on meanwhile.
    let planned = plan(ONE_TASK, &load, 0.0, &Latencies::none());
    let of = |step: Step| planned.steps.iter().find(|usage| usage.step == step).copied().unwrap();
    let counted = |StepUsage { calls, read_units, write_units, object_puts, .. }: StepUsage| {
        [calls, read_units, write_units, object_puts].map(|mean| (mean * 10.0).round() / 10.0)
    };
    for (step, row) in [
        (Step::Ingest, "ingest"),
        (Step::Dispatcher, "dispatcher"),
        (Step::Worker, "worker, each task"),
        (Step::Collector, "collector"),
    ] {
        assert_eq!(counted(of(step)), documented(row), "{row}: calls, read units, write units, objects put");
    }
    // And what the test of the local AWS allows.
    let [dispatcher, worker, collector] =
        [Step::Dispatcher, Step::Worker, Step::Collector].map(|step| of(step).calls.round());
    let most = format!(
        r#"[("posted", 1), ("dispatcher", {dispatcher}), ("worker", {worker}), ("collector", {collector})]"#
    );
    assert!(HOT_PATH.contains(&most), "tests/aws/tests/aws/hot_path.rs has other counts than {most}");
}
