//! What people and reports read of a yard that runs: status, explain, whether it is finished, block times.

mod block_times;
mod explain;
mod explain_cuts;
mod finished;
mod quorums;
mod report;
mod runs;
mod spending;
mod status;

use crate::common::driver::{Does, Driver};
use proofyard_core::record::FailureKind;

const DEMO: &str = include_str!("../pipeline/demo.toml");
const REALTIME: &str = include_str!("../pipeline/realtime.toml");
const ROLLUP: &str = include_str!("../pipeline/rollup.toml");
const FOLDING: &str = include_str!("../pipeline/folding.toml");

/// Each block is proved, three proofs commit as one, and committed blocks are wrapped two by two.
const CUTS: &str = r#"
[chain]
name = "cuts"
start_height = 1
window = 6
commit = "fold"

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.fold]
strategy = "sequential"
from = "prove"
size = 3
prover = "p"
pool = "cpu"

[prover.p]
command = ["p"]

[pool.cpu]
"#;

/// Committed one by one; committed blocks are proved again two by two, for a sink of its own.
const AFTER: &str = r#"
[chain]
name = "after"
start_height = 1
window = 4
commit = "prove"

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.pair]
strategy = "sequential"
from = "prove"
size = 2
prover = "p"
pool = "slow"

[prover.p]
command = ["p"]

[pool.cpu]
[pool.slow]

[sink.pairs]
stage = "pair"
file = "pairs.jsonl"
"#;

/// Fails the tasks of one stage at one height for good, and does the rest.
pub fn fail_at(driver: &mut Driver, workers: [&str; 2], stage: &str, height: u64) {
    for worker in workers.repeat(2) {
        driver.work(worker, |assignment| {
            let task = &assignment.task;
            match task.id().stage == stage && task.height() == height {
                true => Does::Fails(FailureKind::Permanent, "the witness is wrong"),
                false => crate::common::driver::good(assignment),
            }
        });
        driver.pass(700_000);
        for worker in workers {
            crate::common::now(driver.yard.heartbeat(&worker.into(), crate::common::driver::LEASE_MS))
                .expect("a heartbeat");
        }
        driver.sweep();
    }
}
