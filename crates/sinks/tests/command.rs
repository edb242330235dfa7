//! What a command sink makes of how its program ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on is over")]

use std::fs;
use std::path::Path;

use proofyard_core::state::{OutEntry, OutKind};
use proofyard_programs::programs;
use proofyard_prover::confinement::Confinement;
use proofyard_prover::runner::{Cancel, GuardCommand, Launch, Limits};
use proofyard_sinks::{Destination, EntryMessage, Message, Outcome, Program};

/// What is told to this shell script.
fn tell(script: &str, time_ms: u64) -> Outcome {
    tell_in(Path::new("/"), script, time_ms)
}

fn tell_in(folder: &Path, script: &str, time_ms: u64) -> Outcome {
    let launch = Launch {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        environment: Vec::new(),
        gpus: None,
        working_dir: Some(folder.to_owned()),
        guard: GuardCommand { program: programs().join("proofyard-guard"), leading_arguments: Vec::new() },
        confinement: Confinement::default(),
        limits: Limits { time_ms, ..Limits::default() },
    };
    Program { launch, cancel: Cancel::default(), target: None }.tell(&message())
}

fn message() -> Message {
    Message::Entry(EntryMessage {
        key: "c/commits/7".to_owned(),
        entry: OutEntry {
            chain: "c".parse().unwrap(),
            log: "commits".to_owned(),
            sequence: 7,
            at_ms: 1,
            kind: OutKind::Retract { from: 3, to: 4 },
        },
        proof_files: Vec::new(),
        result_files: Default::default(),
        block_file: None,
    })
}

fn later(script: &str, time_ms: u64) -> (String, Option<u64>) {
    match tell(script, time_ms) {
        Outcome::Later(trouble) => (trouble.reason, trouble.wait_ms),
        other => panic!("{other:?}"),
    }
}

const PATIENT_MS: u64 = 60_000;

#[test]
fn a_program_gets_the_message_as_one_line_and_its_end_with_0_is_that_it_has_it() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tell_in(folder.path(), "cat > told", PATIENT_MS), Outcome::Done);
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    assert_eq!(told.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Message>(&told).unwrap(), message());
}

#[test]
fn a_program_says_that_it_is_not_the_time_and_how_long_to_wait() {
    assert_eq!(
        later("echo the wallet is empty; exit 75", PATIENT_MS),
        ("the wallet is empty".to_owned(), None)
    );
    let said = later(r#"echo '{"wait_ms": 30000, "reason": "a block first"}'; exit 75"#, PATIENT_MS);
    assert_eq!(said, ("a block first".to_owned(), Some(30_000)));
    let (_, wait_ms) = later(r#"echo '{"wait_ms": 30000}'; exit 75"#, PATIENT_MS);
    assert_eq!(wait_ms, Some(30_000));
}

/// It may have a fault that the next try has not.
#[test]
fn any_other_end_is_tried_again_as_the_program_says() {
    let (reason, wait_ms) = later("echo no key; exit 1", PATIENT_MS);
    assert!(reason.contains("no key") && wait_ms.is_none(), "{reason}");
    let (reason, wait_ms) = later(r#"echo '{"wait_ms": 9000, "reason": "no key"}'; exit 3"#, PATIENT_MS);
    assert!(reason.contains("no key"), "{reason}");
    assert_eq!(wait_ms, Some(9_000));
    let (reason, _) = later("kill -9 $$", PATIENT_MS);
    assert!(reason.contains("signal 9") || reason.contains("SIGKILL"), "{reason}");
}

#[test]
fn a_message_that_is_refused_for_good_says_why() {
    let refused = tell("echo it is of another chain; exit 65", PATIENT_MS);
    assert_eq!(refused, Outcome::Refused("it is of another chain".to_owned()));
}

#[test]
fn a_program_that_hangs_is_ended_and_tried_again() {
    let (reason, wait_ms) = later("sleep 600", 300);
    assert!(reason.contains("300 ms") && wait_ms.is_none(), "{reason}");
}
