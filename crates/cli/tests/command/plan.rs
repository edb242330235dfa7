//! `proofyard plan`: what somebody who sizes a fleet types and reads.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::Done;

const PIPELINE: &str = r#"
[chain]
name = "c"
start_height = 1
window = 8
real_time = true

[stage.segment]
strategy = "split"
from = "block"
prover = "zkvm"
pool = "gpu"

[stage.join]
strategy = "match"
from = "segment"
prover = "zkvm"
pool = "gpu"

[prover.zkvm]
command = ["prover"]

[pool.gpu]
slots = 8
gpus_per_slot = 1
"#;

fn plan(arguments: &[&str], file: &str) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("pipeline.toml"), PIPELINE).unwrap();
    fs::write(at("given"), file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
    command.args(["plan", "pipeline.toml"]).args(arguments).current_dir(folder.path());
    Done::of(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_fleet_is_planned_without_renting_one() {
    let arguments = ["--prove-s", "4", "--segments", "4", "--blocks", "20", "--gpus", "1,64", "--json"];
    let done = plan(&arguments, "").expect_code(0);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    let predictions = document["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 4, "for workers that advance, and for the collector");
    for prediction in predictions {
        let is_small = prediction["load"]["gpus"] == 1;
        assert_eq!(prediction["blocks"]["lag_grows"], is_small, "{prediction}");
        let orchestration = &prediction["orchestration"];
        let ranks = ["p50_s", "p90_s", "p99_s", "max_s"].map(|rank| orchestration[rank].as_f64().unwrap());
        assert!(ranks.is_sorted() && ranks[0] > 0.05 && ranks[3] < 30.0, "{prediction}");
        assert!(prediction["usd_a_month"]["dynamodb"].as_f64().unwrap() > 0.0, "{prediction}");
    }
    assert!(document["latencies"]["fifo_to_function"]["source"].as_str().unwrap().starts_with("published"));
    assert_eq!(plan(&arguments, "").out, done.out, "a seed determines everything");
}

#[test]
fn a_person_reads_tables_with_what_to_beware_of() {
    let told = plan(&["--prove-s", "4", "--segments", "4", "--blocks", "20", "--gpus", "1,64"], "")
        .expect_code(0)
        .out;
    for text in
        ["orchestration P50 s", "USD a month", "the lag grows", "far more than this load needs", "assumed"]
    {
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    let measured = "[stage.segment]\nmeasured_s = [3.0, 3.5]\n";
    plan(&["--provers", "given"], measured).expect_code(2).expect_error("prover zkvm in stage join");
    plan(&["--provers", "given"], "[stage.segment]\n").expect_code(2).expect_error("PY0012");
    plan(&["--prove-s", "1", "--latencies", "given"], "[dynamo]\np50_ms = 1.0\n")
        .expect_code(2)
        .expect_error("dynamo");
    plan(&["--prove-s", "1", "--gpus", "0"], "").expect_code(2).expect_error("from 1 to 100,000 GPUs");
    plan(&["--provers", "nowhere"], "").expect_code(2).expect_error("nowhere cannot be read");
    plan(&[], "").expect_code(2).expect_error("--prove-s");
}
