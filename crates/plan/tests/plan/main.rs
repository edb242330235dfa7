#![allow(clippy::unwrap_used, clippy::panic)]
//! Plans whose figures are known, and that the plan does what AWS does.

mod counts;
mod times;

use proofyard_core::pipeline::parse;
use proofyard_plan::{Advance, Latencies, Load, Prediction, Provers, predict};

/// Each block is one task, and its proof commits it: the pipeline of `tests/aws`.
const ONE_TASK: &str = r#"
[chain]
name = "c"
start_height = 1
window = 8

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[prover.p]
command = ["prover"]

[pool.cpu]
slots = 1

[sink.file]
file = "out.jsonl"
"#;

/// Each block is cut into segments, which are joined.
const SEGMENTS: &str = r#"
[chain]
name = "c"
start_height = 1
window = 8
real_time = true

[stage.segment]
strategy = "split"
from = "block"
prover = "p"
pool = "gpu"

[stage.join]
strategy = "match"
from = "segment"
prover = "p"
pool = "gpu"

[prover.p]
command = ["prover"]

[pool.gpu]
slots = 8
gpus_per_slot = 1
"#;

fn load() -> Load {
    Load {
        block_s: 12.0,
        segments: 4,
        blocks: 20,
        gpus: 8,
        advance: Advance::Worker,
        seed: 1,
        counts_workers: true,
    }
}

fn plan(text: &str, load: &Load, prove_s: f64, latencies: &Latencies) -> Prediction {
    let pipeline = parse(text).unwrap().pipeline;
    predict(text, &pipeline, load, &Provers::all(prove_s).unwrap(), latencies).unwrap()
}
