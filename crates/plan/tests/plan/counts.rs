//! The plan makes the calls that AWS gets: those that `tests/aws` counts on the local AWS, and of which docs/aws.md has the
//! units.

use proofyard_plan::{Advance, Latencies, Load, Step, StepUsage};

use super::{ONE_TASK, load, plan};

const DOCS: &str = include_str!("../../../../docs/aws.md");
const HOT_PATH: &str = include_str!("../../../../tests/aws/tests/aws/hot_path.rs");

/// A row of docs/aws.md's table of what a block of one task costs: calls, read units, write units, objects put.
fn documented(step: &str) -> [f64; 4] {
    let rows = DOCS.lines().filter(|line| line.starts_with(&format!("| {step} |")));
    let cells = |row: &str| row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect::<Vec<f64>>();
    let cells = rows.map(cells).find(|cells| cells.len() >= 4).unwrap();
    [cells[0], cells[1], cells[2], cells[3]]
}

#[test]
fn a_block_of_one_task_takes_the_calls_that_the_local_aws_counts() {
    // The first ones differ a little, as their functions and workers do.
    let load = Load { gpus: 1, blocks: 100, advance: Advance::Collector, counts_workers: false, ..load() };
    // Blocks come one after another, and nothing else is going on meanwhile.
    let planned = plan(ONE_TASK, &load, 0.0, &Latencies::none());
    let of = |step: Step| planned.steps.iter().find(|usage| usage.step == step).copied().unwrap();
    let counted = |StepUsage { calls, read_units, write_units, object_puts, .. }: StepUsage| {
        [calls, read_units, write_units, object_puts].map(f64::round)
    };
    for (step, row) in
        [(Step::Ingest, "ingest"), (Step::Dispatcher, "dispatcher"), (Step::Collector, "collector")]
    {
        assert_eq!(counted(of(step)), documented(row), "{row}: calls, read units, write units, objects put");
    }
    // The test of the local AWS fetches no block, and counts one unit an item: here a worker's task has more than 1 KB.
    let [calls, read_units, write_units, object_puts] = documented("worker, each task");
    assert_eq!(counted(of(Step::Worker)), [calls + 1.0, read_units, write_units + 2.0, object_puts]);
    // And what the test of the local AWS allows.
    let [dispatcher, collector] = [Step::Dispatcher, Step::Collector].map(|step| of(step).calls.round());
    let worker = calls;
    let most = format!(
        r#"[("posted", 1), ("dispatcher", {dispatcher}), ("worker", {worker}), ("collector", {collector})]"#
    );
    assert!(HOT_PATH.contains(&most), "tests/aws/tests/aws/hot_path.rs has other counts than {most}");
}
