//! What an operator does to a yard that runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::support::{Done, Place, tasks, until};

#[test]
fn a_pause_lets_running_work_end_and_starts_none() {
    let place = Place::new(8);
    place.shut_gate();
    let mut run = place.start_listening();
    until("both slots are taken", || tasks(&place.status(), "running") == 2);
    place.verb(&["pause"]).expect_code(0).expect_output("paused");
    place.open_gate();
    until("running work has ended", || tasks(&place.status(), "running") == 0);
    // Both slots are idle, and so they stay, though there is work for them.
    for _ in 0..10 {
        let status = place.status();
        assert_eq!((tasks(&status, "running"), tasks(&status, "accepted")), (0, 2), "{status:#}");
        assert!(tasks(&status, "waiting") > 0, "{status:#}");
        assert_eq!(status["paused"], true);
    }
    assert_eq!(place.explain(1)["case"], "paused");
    assert!(!run.is_over());
    place.verb(&["resume"]).expect_code(0);
    run.wait().expect_code(0).expect_output("8 blocks committed, 0 missed");
}

#[test]
fn a_wider_window_opens_what_waited_beyond_it() {
    let place = Place::new(8);
    place.shut_gate();
    let run = place.start_listening();
    until("all blocks are there", || place.status()["ended"] == true);
    assert_eq!(place.explain(8)["case"], "beyond_window");
    place.verb(&["explain", "8"]).expect_code(0).expect_output("window");
    place.verb(&["window", "8"]).expect_code(0);
    until("height 8 is open", || place.explain(8)["case"] == "working");
    assert_eq!(place.status()["window"], 8);
    place.verb(&["window", "0"]).expect_code(2).expect_error("at least 1");
    place.open_gate();
    run.wait().expect_code(0);
}

#[test]
fn a_redo_proves_again_while_the_yard_runs() {
    let place = Place::new(6);
    place.run().expect_code(0);
    // Paused, so that the run has something to wait for.
    place.verb(&["pause"]).expect_code(0);
    place.verb(&["redo", "5"]).expect_code(0);
    let run = place.start_listening();
    until("the file is read again", || place.status()["ended"] == true);
    place.verb(&["redo", "2"]).expect_code(0);
    assert_eq!(place.status()["frontier"], 2);
    place.verb(&["resume"]).expect_code(0);
    run.wait().expect_code(0).expect_output("this run: 5 blocks");
    place.verb(&["verify"]).expect_code(0).expect_output("6 of 6 committed proofs verified");
    let handed_on = fs::read_to_string(place.path("out.jsonl")).unwrap();
    let kinds: Vec<_> = handed_on
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|entry| format!("{} {}", entry["kind"].as_str().unwrap(), entry["from"]))
        .collect();
    let proofs = |heights: std::ops::RangeInclusive<u64>| heights.map(|height| format!("proof {height}"));
    let mut expected: Vec<String> = proofs(1..=6).collect();
    expected.extend(["retract 5".to_owned(), "retract 2".to_owned()]);
    expected.extend(proofs(2..=6));
    assert_eq!(kinds, expected);
}

#[test]
fn one_directory_has_one_yard_and_its_socket_is_its_owners() {
    let place = Place::new(2);
    place.shut_gate();
    let run = place.start_listening();
    place.run().expect_code(2).expect_error("another proofyard (pid");
    let mode = fs::metadata(place.data.join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.open_gate();
    run.wait().expect_code(0);
    assert!(!place.data.join("socket").exists());
}

#[test]
fn a_yard_deep_in_the_file_system_is_reached_too() {
    let mut place = Place::new(2);
    place.data = place.path(&"deep/".repeat(40)).join("yard");
    place.shut_gate();
    let run = place.start_listening();
    place.verb(&["pause"]).expect_code(0);
    assert_eq!(place.status()["paused"], true);
    place.verb(&["resume"]).expect_code(0);
    place.open_gate();
    run.wait().expect_code(0);
}

#[test]
fn rubbish_on_the_socket_is_answered_and_harms_nobody() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    let place = Place::new(2);
    place.shut_gate();
    let run = place.start_listening();
    let mut stream = UnixStream::connect(place.data.join("socket")).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        answers.next().unwrap().unwrap()
    };
    assert!(ask("rubbish\n").starts_with(r#"{"refused":"#));
    assert!(ask("{\"operation\":\"pause\",\"chain\":\"other\"}\n").starts_with(r#"{"refused":"#));
    assert_eq!(
        ask("{\"operation\":\"pause\",\"chain\":\"demo\"}\n"),
        r#"{"ok":{"done":"paused","chain":"demo"}}"#
    );
    let resumed = ask("{\"operation\":\"resume\",\"chain\":\"demo\"}\n");
    assert!(
        resumed.starts_with(r#"{"ok":{"done":"resumed","chain":"demo","pause":true,"halts":[]"#),
        "{resumed}"
    );
    assert!(ask(&"x".repeat(70_000)).contains("at most 65536 bytes"));
    place.open_gate();
    run.wait().expect_code(0);
}

#[test]
fn a_signal_stops_in_order_and_the_next_run_goes_on() {
    let place = Place::new(4);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        place.shut_gate();
        let run = place.start_listening();
        until("a task is taken", || tasks(&place.status(), "running") > 0);
        run.signal(signal);
        run.wait().expect_code(code).expect_error("To go on: proofyard run pipeline.toml");
        let status = place.status();
        // Given back, so that the next run need not wait for a lease.
        assert_eq!((tasks(&status, "running"), status["running"].as_bool()), (0, Some(false)), "{status:#}");
        place.open_gate();
    }
    place.run().expect_code(0).expect_output("4 blocks committed");
}

#[test]
fn what_a_killed_yard_leaves_stands_in_nobodys_way() {
    let place = Place::new(4);
    place.shut_gate();
    let run = place.start_listening();
    until("a task is taken", || tasks(&place.status(), "running") > 0);
    run.signal(Signal::KILL);
    run.wait();
    assert!(place.data.join("socket").exists());
    assert_eq!(place.status()["running"], false);
    place.verb(&["pause"]).expect_code(0);
    place.verb(&["resume"]).expect_code(0);
    place.open_gate();
    place.run().expect_code(0).expect_output("4 blocks committed");
}

#[test]
fn blocks_come_one_a_slot() {
    let place = Place::new(3);
    let mut command =
        place.command(&["run", "pipeline.toml", "--blocks", "blocks.jsonl", "--slot-ms", "400"]);
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Done::of(command.arg("--data").arg(&place.data).output().unwrap()).expect_code(0);
    let report = place.json(&["report"]).remove(0);
    let recorded =
        report["blocks"].as_array().unwrap().iter().map(|block| block["acknowledged_ms"].as_u64().unwrap());
    let recorded: Vec<u64> = recorded.collect();
    assert_eq!(recorded.len(), 3);
    for (slot, recorded_ms) in recorded.into_iter().enumerate() {
        assert!(
            recorded_ms >= started_ms + 400 * slot as u64,
            "slot {slot}: {recorded_ms}, from {started_ms}"
        );
    }
    let both = place.verb(&["run", "pipeline.toml", "--slot-ms", "400", "--aws", "yard"]);
    both.expect_code(2).expect_error("--slot-ms");
}
