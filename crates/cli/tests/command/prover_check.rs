//! `proofyard prover check`: what an author of a prover types and reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proofyard_programs::programs;
use serde_json::Value;

use super::support::Done;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn check(arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
    command.args(["prover", "check"]).args(arguments);
    Done::of(command.current_dir(root()).stdin(Stdio::null()).output().unwrap())
}

/// Those that failed, and those that could not be tried.
fn results(done: &Done, result: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(&done.out).unwrap();
    let checks = document["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["result"] == result)
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_miden_segment_prover_conforms() {
    let miden = programs().join("proofyard-miden");
    let miden = miden.to_str().unwrap();
    let done = check(&["--segment", "0", "--json", "--", miden, "segment"]).expect_code(0);
    assert_eq!(results(&done, "failed"), [""; 0], "{}", done.out);
    // A fast machine proves too soon to be interrupted; all else is tried.
    let untried = results(&done, "untried");
    assert!(
        untried.iter().all(|name| ["cancelled", "deadline", "resumes", "winds-up"].contains(&name.as_str())),
        "{untried:?}"
    );
}

/// Wherever the kit is started and keeps its files, a prover that works from a folder of its own finds what it is told.
#[test]
fn paths_are_absolute_also_where_the_folder_is_named_relatively() {
    let folder = tempfile::tempdir().unwrap();
    let toy = programs().join("proofyard-toy-prover");
    let files = ["--protocol", "files", "--", "sh", "-c", "cd / && exec \"$0\" --files \"$1\" \"$2\""];
    let (stream, places) = (["--", "sh", "-c", "cd / && exec \"$0\""], ["{input}", "{output}"]);
    for (kind, places) in [(&stream[..], &[][..]), (&files[..], &places[..])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
        command.args(["prover", "check", "--json", "--keep", "kept"]).args(kind).arg(&toy).args(places);
        let done = Done::of(command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap());
        assert_eq!(results(&done.expect_code(0), "failed"), [""; 0]);
        fs::remove_dir_all(folder.path().join("kept")).unwrap();
    }
}

#[test]
fn a_report_is_read_by_people_and_says_what_to_mend() {
    let done = check(&["--", "proofyard-toy-prover", "--accept", "extended"]).expect_code(1);
    let done = done.expect_error("1 failed").expect_error("it does not conform");
    let done = done
        .expect_output("FAILED  verify-extended")
        .expect_output("with a zero byte at its end was accepted");
    done.expect_output("to mend:  refuse a file that goes on")
        .expect_output("its log:  toy prover: verifies");
    let done = check(&["--", "proofyard-toy-prover"]).expect_code(0).expect_output("it conforms");
    done.expect_output("cannot be tried: it proves in");
}

#[test]
fn provers_written_for_push0_are_checked_too() {
    let prover = ["examples/push0/prover.py"];
    let files = ["-i", "{input}", "-o", "{output}"];
    let blocks = ["--blocks", "examples/blocks/chain.jsonl"];
    let kit = ["--json", "--protocol", "files", "--payload"];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let verifier = [&prover[..], &["verify"], &files, &blocks].concat().join(" ");
    let verify = ["--verify", verifier.as_str()];
    let expect_tried = |done: Done, wanted: &[&str]| {
        let done = done.expect_code(0);
        let passed = results(&done, "passed");
        assert!(wanted.iter().all(|name| passed.iter().any(|passed| passed == name)), "{}", done.out);
    };

    let partition = [&prover[..], &["partition"], &files, &blocks].concat();
    let done = check(&[&kit[..], &["height", "--verify", "none", "--"], &partition].concat());
    expect_tried(done, &["prove", "answer", "prove-other", "inside", "wrong-input", "side-by-side"]);

    // What the partitioner writes is what the step prover reads, and so on.
    let made = |verb: &str, input: &str, name: &str| {
        fs::write(folder.path().join("in"), input).unwrap();
        let mut command = Command::new(root().join(prover[0]));
        command.args([verb, "-i", &path("in"), "-o", &path(name)]);
        command.env("PUSH0_BLOCKS", root().join(blocks[1]));
        Done::of(command.output().unwrap()).expect_code(0);
        fs::read_to_string(folder.path().join(name)).unwrap()
    };
    let verified = [
        "prove",
        "verify",
        "verify-flipped",
        "verify-cut",
        "verify-extended",
        "verify-random",
        "verify-other",
    ];
    for block in ["1", "3"] {
        let steps: Vec<Value> =
            serde_json::from_str(&made("partition", block, &format!("steps-{block}"))).unwrap();
        let task = format!(r#"[{{"kind":"data","path":"steps-{block}","index":0}}]"#);
        fs::write(folder.path().join(format!("step-task-{block}")), task).unwrap();
        let proofs: Vec<Value> = (0..steps.len())
            .map(|step| {
                let name = format!("proof-{block}-{step}");
                made("prove-step", &steps[step].to_string(), &name);
                serde_json::json!({ "kind": "proof", "path": name })
            })
            .collect();
        fs::write(folder.path().join(format!("join-task-{block}")), Value::from(proofs).to_string()).unwrap();
    }
    for (verb, payload, tasks) in [("prove-step", "bare", "step-task"), ("join", "list", "join-task")] {
        let (first, second) = (path(&format!("{tasks}-1")), path(&format!("{tasks}-3")));
        let tasks = ["--task", first.as_str(), "--task", second.as_str(), "--"];
        let done = check(&[&kit[..], &[payload], &verify, &tasks, &prover, &[verb], &files].concat());
        expect_tried(done, &verified);
    }
}

#[test]
fn what_was_written_is_kept_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let (kept, toy) = (kept.to_str().unwrap(), ["--", "proofyard-toy-prover"]);
    check(&[&["--keep", kept], &toy[..]].concat()).expect_code(0);
    let names: Vec<String> =
        fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.ends_with("prove-out")), "{names:?}");
    check(&[&["--keep", kept], &toy[..]].concat()).expect_code(2).expect_error("name a new folder");
}

#[test]
fn bad_usage_is_told() {
    let toy = ["--", "proofyard-toy-prover"];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let one_block = fs::read_to_string(root().join("examples/blocks/chain.jsonl")).unwrap();
    let one_block = path("one.jsonl", &format!("{}\n", one_block.lines().next().unwrap()));
    let (broken, no_list) = (path("broken.jsonl", "{\n"), path("task", "{}"));
    let lost = path("lost", r#"[{"kind":"block","path":"no-such-block"}]"#);
    let cases: [(&[&str], &str); 11] = [
        (&["--payload", "bare"], "--payload is for --protocol files"),
        (&["--protocol", "files"], "does not say where {input} goes"),
        (&["--verify", " "], "--verify names no program"),
        (&["--verify", "[1]"], "--verify is no list of texts"),
        (&["--input", "/no/such/file"], "/no/such/file cannot be read"),
        (&["--input", &broken], "broken.jsonl"),
        (&["--input", &one_block], "1 found"),
        (&["--segment", "4000"], "2 blocks with a segment 4000 are needed"),
        (&["--task", &no_list], "is no list of inputs"),
        (&["--task", &lost], "no-such-block cannot be read"),
        (&["--time-limit-s", "0"], "--time-limit-s"),
    ];
    for (options, said) in cases {
        check(&[options, &toy[..]].concat()).expect_code(2).expect_error(said);
    }
    check(&[]).expect_code(2);
}
