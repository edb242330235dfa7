//! `proofyard bench`: what somebody who measures a machine types and reads.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::Done;

fn bench(arguments: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
    command.arg("bench").args(arguments).arg("--dir").arg(folder.path());
    let done = Done::of(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    done
}

fn documents(done: &Done) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Figures depend on the machine; that each task was done once, and that they can be times, does not.
fn expect_measured(document: &Value, tasks: u64) {
    let measured = &document["measured"];
    assert_eq!(measured["tasks"], tasks, "{document}");
    for times in ["acknowledgement", "waiting", "around_provers", "overhead"] {
        let at = |what: &str| measured[times][what].as_f64().unwrap();
        let ranks = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(at);
        assert!(
            ranks.is_sorted() && ranks[0] >= 0.0 && measured[times]["samples"] != 0,
            "{times}: {document}"
        );
    }
    assert!(measured["tasks_a_second"].as_f64().unwrap() > 0.0, "{document}");
    assert!(measured["busy"].as_f64().unwrap() <= 1.01, "{document}");
    assert!(document["fdatasync"]["p50_ms"].as_f64().unwrap() > 0.0, "{document}");
}

#[test]
fn each_task_of_a_load_is_done_once_and_measured() {
    let open = bench(&["--rate", "50", "--tasks", "40", "--runs", "2", "--json"]).expect_code(0);
    let runs = documents(&open);
    assert_eq!(runs.len(), 2);
    runs.iter().for_each(|run| expect_measured(run, 40));
    let closed = ["--rate", "0", "--tasks", "20", "--runs", "1", "--workers", "1,4", "--segments", "3"];
    let closed = bench(&[closed.as_slice(), &["--prove-ms", "5", "--json"]].concat()).expect_code(0);
    let runs = documents(&closed);
    assert_eq!(runs.iter().map(|run| run["workers"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(4)]);
    runs.iter().for_each(|run| expect_measured(run, 20));
}

#[test]
fn a_person_reads_a_table_and_an_impossible_load_is_refused() {
    let table = bench(&["--rate", "0", "--tasks", "10", "--runs", "1"]).expect_code(0).out;
    for row in ["the disk's fdatasync", "acknowledging a block", "overhead of a task", "CPU a task"] {
        assert!(table.contains(row), "{table}");
    }
    bench(&["--workers", "0"]).expect_code(2).expect_error("0 is not in 1..=1024");
    bench(&["--rate", "9000"]).expect_code(2).expect_error("9000 is not in 0..=5000");
}
