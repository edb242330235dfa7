//! Errors as programs read them: a code, a message, and what lies under it, each part once.

use std::fs;

use serde_json::{Value, json};

use super::support::{Done, Place};

/// What is told with `--json`, which is one document on stderr.
fn told(done: &Done) -> Value {
    assert_eq!(done.out, "", "{done:#?}");
    let document: Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!(document["exit_code"], json!(done.code), "{document}");
    let message = document["error"]["message"].as_str().unwrap();
    for cause in document["error"]["causes"].as_array().unwrap() {
        assert!(!message.contains(cause.as_str().unwrap()), "{document}");
    }
    document
}

fn expect(done: &Done, code: &str, part: &str) -> Value {
    let document = told(done);
    assert_eq!(document["error"]["code"], json!(code), "{document}");
    assert!(document["error"]["message"].as_str().unwrap().contains(part), "{document}");
    document
}

#[test]
fn refusals_have_codes_messages_and_causes() {
    let place = Place::new(2);
    place.run().expect_code(0);
    let refused = |arguments: &[&str], code, part| {
        let done = place.verb(&[arguments, &["--json"]].concat()).expect_code(2);
        expect(&done, code, part)
    };
    refused(&["status", "--chain", "other"], "PY0101", "chain other is not in");
    refused(&["retry", "no task"], "PY0004", "\"no task\" is no task");
    refused(&["retry", "other:b:1:0xab:0/join/0"], "PY0108", "is of chain other, not of demo");
    refused(&["retry", "1"], "PY0005", "nothing is parked at 1");
    refused(&["verify", "7..9"], "PY0005", "the next height to commit is 3");
    refused(&["redo", "3"], "PY0106", "there is no canonical block at height 3");
    refused(&["window", "-1"], "PY0001", "unexpected argument");
    refused(&["explain"], "PY0001", "<HEIGHT>");
    let people = place.verb(&["retry", "no task"]).expect_code(2);
    assert!(people.err.starts_with("error[PY0004]: \"no task\" is no task; "), "{people:#?}");
}

#[test]
fn a_file_that_is_missing_is_told_with_its_cause() {
    let place = Place::new(1);
    let check = |arguments: &[&str]| {
        Done::of(place.command(&[&["check", "missing.toml"], arguments].concat()).output().unwrap())
            .expect_code(2)
    };
    let document = expect(&check(&["--json"]), "PY0006", "missing.toml cannot be read");
    assert_eq!(document["error"]["causes"], json!(["No such file or directory (os error 2)"]));
    assert_eq!(
        check(&[]).err,
        "error[PY0006]: missing.toml cannot be read\n  cause: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_bad_pipeline_has_one_code_and_all_its_mistakes() {
    let place = Place::new(1);
    fs::write(place.path("pipeline.toml"), "[chain]\nname = \"demo\"\nstart_hight = 1\n").unwrap();
    let check = |arguments: &[&str]| {
        Done::of(place.command(&[&["check", "pipeline.toml"], arguments].concat()).output().unwrap())
            .expect_code(2)
    };
    let document = expect(&check(&["--json"]), "PY0301", "pipeline.toml has ");
    let mistakes = document["mistakes"].as_array().unwrap();
    assert!(mistakes.iter().any(|mistake| mistake["line"] == 3), "{document}");
    let people = check(&[]).expect_error("pipeline.toml:3:1: ");
    let last = people.err.lines().last().unwrap();
    assert_eq!(last, format!("error[PY0301]: pipeline.toml has {} mistakes", mistakes.len()));
}

#[test]
fn a_running_yard_tells_the_code_of_what_it_refuses() {
    let place = Place::new(2);
    place.shut_gate();
    let run = place.start_listening();
    let done = place.verb(&["redo", "9", "--json"]).expect_code(2);
    expect(&done, "PY0106", "there is no canonical block at height 9");
    let done = Done::of(
        place
            .command(&["run", "pipeline.toml", "--blocks", "blocks.jsonl", "--json", "--data"])
            .arg(&place.data)
            .output()
            .unwrap(),
    );
    expect(&done.expect_code(2), "PY0504", "another proofyard");
    place.open_gate();
    run.wait().expect_code(0);
}
