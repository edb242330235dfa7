//! What an operator does to a yard that does not run: after work was parked, between runs.

use std::fs;

use super::support::{Place, tasks};

#[test]
fn parked_work_is_explained_and_retried_once_its_prover_is_mended() {
    let place = Place::new(4);
    place.write_pipeline("max_attempts = 1");
    place.break_prover(":b:3:");
    let done = place.run().expect_code(1);
    let done = done.expect_error("proofyard explain 3 --data").expect_error("proofyard retry --data");
    done.expect_error("the toy was told to fail").expect_error("2 blocks committed");
    let status = place.status();
    let parked = tasks(&status, "parked");
    assert!(parked > 0, "{status:#}");
    assert_eq!(place.explain(3)["case"], "parked");
    place.verb(&["explain", "3"]).expect_code(0).expect_output("toy prover: a fault is due");
    place.verb(&["status"]).expect_code(0).expect_output("the toy was told to fail");
    // A second run finds the same, and does not hang.
    place.run().expect_code(1);
    place.mend_prover();
    place.verb(&["retry", "2"]).expect_code(2).expect_error("nothing is parked at 2");
    let task = status["parked"][0]["task"].as_str().unwrap().to_owned();
    place.verb(&["retry", &task]).expect_code(0).expect_output("1 task tried again");
    place.verb(&["retry", "3"]).code.unwrap();
    place.verb(&["retry"]).expect_code(0).expect_output("nothing is parked");
    place.run().expect_code(0).expect_output("4 blocks committed");
}

#[test]
fn a_finished_yard_is_seen_at_a_glance_and_run_again_for_nothing() {
    let place = Place::new(3);
    place.run().expect_code(0);
    place.verb(&["status"]).expect_code(0).expect_output("heights 1 to 3").expect_output("not running");
    place.verb(&["explain", "2"]).expect_code(0).expect_output("committed");
    place.run().expect_code(0).expect_output("3 blocks committed, 0 missed; this run: 0 blocks, 0 proofs");
    assert_eq!(fs::read_to_string(place.path("out.jsonl")).unwrap().lines().count(), 3);
}

#[test]
fn a_paused_yard_stays_paused_over_a_restart() {
    let place = Place::new(3);
    place.run().expect_code(0);
    place.verb(&["pause"]).expect_code(0);
    place.verb(&["redo", "2"]).expect_code(0);
    let mut run = place.start_listening();
    assert_eq!(tasks(&place.status(), "running"), 0);
    assert!(!run.is_over());
    place.verb(&["resume"]).expect_code(0);
    run.wait().expect_code(0);
}

#[test]
fn every_commit_is_told_in_json() {
    let place = Place::new(5);
    let mut command =
        place.command(&["--json", "run", "pipeline.toml", "--blocks", "blocks.jsonl", "--data"]);
    let output = command.arg(&place.data).output().unwrap();
    let events: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let committed: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "committed")
        .map(|event| event["entry"]["from"].as_u64().unwrap())
        .collect();
    assert_eq!(committed, [1, 2, 3, 4, 5]);
    let last = events.last().unwrap();
    assert_eq!((last["event"].as_str(), last["blocks_committed"].as_u64()), (Some("finished"), Some(5)));
}
