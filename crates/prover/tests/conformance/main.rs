//! The conformance kit, tried on the toy prover: the toy passes, and each of its faults makes the check fail that is meant
//! to find it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use proofyard_prover::conformance::{
    CheckReport, GROUPS, Protocol, ProverUnderTest, Report, Result as Tried, Verifier, check,
};
use proofyard_prover::runner::{GuardCommand, Limits, Payload};
use proofyard_prover::{Input, InputKind};
use tempfile::TempDir;

const TOY: &str = env!("CARGO_BIN_EXE_proofyard-toy-prover");
const AT_ONCE: usize = 4;

/// Two blocks as tasks, for the toy with these options. `{place}` in them is a folder of its own.
fn subject(place: &TempDir, options: &[&str]) -> ProverUnderTest {
    let place = place.path();
    let block = |name: &str, number: u32| {
        let path = place.join(name);
        fs::write(&path, format!(r#"{{"block":{{"number":"0x{number}"}},"segments":[{{"from":0}}]}}"#))
            .unwrap();
        let (kind, stage, public_values, verification_key) = (InputKind::Block, None, None, None);
        vec![Input { kind, path, index: None, stage, task_index: 0, public_values, verification_key }]
    };
    let filled = |option: &&str| option.replace("{place}", place.to_str().unwrap());
    ProverUnderTest {
        command: [TOY.to_owned()].into_iter().chain(options.iter().map(filled)).collect(),
        protocol: Protocol::Stream,
        verifier: Verifier::Same,
        tasks: vec![block("first", 1), block("second", 2)],
        environment: Vec::new(),
        guard: GuardCommand {
            program: env!("CARGO_BIN_EXE_proofyard-guard").into(),
            leading_arguments: vec![],
        },
        limits: Limits { time_ms: 20_000, setup_ms: 20_000, grace_ms: 1_000, ..Limits::default() },
        at_once: 3,
        folder: place.join("folder"),
    }
}

fn report(options: &[&str]) -> Report {
    let place = tempfile::tempdir().unwrap();
    check(&subject(&place, options), &mut |_| {}).unwrap()
}

fn names(report: &Report, result: Tried) -> Vec<&'static str> {
    let wanted = |checked: &&CheckReport| checked.result == result;
    report.checks.iter().filter(wanted).map(|checked| checked.name).collect()
}

/// Options of the toy, and the checks that must fail.
const FAULTS: &[(&[&str], &[&str])] = &[
    (&["--verb", "setup", "--exit-code", "3"], &["setup"]),
    (&["--verb", "setup", "--rubbish"], &["setup"]),
    (&["--stay"], &["ends"]),
    (&["--fail"], &["prove"]),
    (&["--exit-code", "3", "--only", "check/prove"], &["prove"]),
    (&["--die-by-signal", "--only", "check/prove"], &["prove"]),
    (&["--rubbish", "--only", "check/prove"], &["answer"]),
    (&["--fail-again"], &["prove-again"]),
    (&["--fail-at", "check/prove-other"], &["prove-other"]),
    (&["--last-words"], &["stdout"]),
    (&["--litter", "--only", "check/inside"], &["inside"]),
    (&["--die-at", "this is no JSON"], &["no-json"]),
    (&["--die-at", "dance"], &["unknown-verb"]),
    (&["--die-at", "from_a_newer_version"], &["unknown-fields"]),
    (&["--die-at", "check/missing-input"], &["missing-input"]),
    (&["--die-at", "check/wrong-input"], &["wrong-input"]),
    (&["--down", "/", "--only", "check/wrong-input"], &["wrong-input"]),
    (&["--careless"], &["wrong-input"]),
    (&["--sulk-at", "check/wrong-input"], &["lives-on"]),
    (&["--verb", "verify", "--fail"], &["verify"]),
    (&["--false-proof"], &["verify"]),
    (&["--false-proof", "--only", "check/prove-other"], &["verify"]),
    (&["--claim-wrong-values"], &["claim"]),
    (&["--claim-system", "other"], &["claim-system"]),
    (&["--accept", "flipped"], &["verify-flipped"]),
    (&["--accept", "cut"], &["verify-cut"]),
    (&["--accept", "extended"], &["verify-extended"]),
    (&["--accept", "random"], &["verify-random"]),
    (&["--die-at", "verify-random"], &["verify-random"]),
    (&["--accept", "missing"], &["verify-missing"]),
    (&["--accept", "other"], &["verify-other"]),
    (&["--accept", "key"], &["verify-key"]),
    (&["--sulk-at", "verify-key"], &["verify-lives-on"]),
    (&["--work-ms", "400", "--stale-lock", "{place}/lock", "--only", "check/cancelled"], &["cancelled"]),
    (&["--work-ms", "400", "--temporary"], &["cancelled"]),
    (&["--work-ms", "300", "--alone", "{place}/lock", "--only", "check/side-by-side"], &["side-by-side"]),
    (&["--fail-at", "check/side-by-side"], &["side-by-side"]),
    (&["--checkpoint", "job", "--forgets"], &["resumes"]),
    (&["--work-ms", "400", "--cancel", "deaf"], &["winds-up"]),
    (&["--work-ms", "400", "--cancel", "sulks"], &["winds-up"]),
];

#[test]
fn each_fault_makes_the_check_fail_that_is_meant_for_it() {
    let left = Mutex::new(FAULTS.iter());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((options, expected)) = { left.lock().unwrap().next() } {
                    let report = report(options);
                    let failed = names(&report, Tried::Failed);
                    if failed != *expected || report.conforms() {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{options:?}: {failed:?} instead of {expected:?}: {report:#?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every check but one is shown to be able to fail. A prover that outlives its deadline is beyond the toy: the guard
/// kills all that it can start.
#[test]
fn every_check_has_a_fault_that_it_finds() {
    let found: Vec<&str> = FAULTS.iter().flat_map(|(_, failing)| failing.iter().copied()).collect();
    let checks = GROUPS.iter().flat_map(|group| group.checks).map(|check| check.name);
    let never: Vec<&str> = checks.filter(|name| !found.contains(name)).collect();
    assert_eq!(never, ["deadline"]);
}

#[test]
fn the_toy_conforms() {
    let options = ["--work-ms", "400", "--fork-children", "--checkpoint", "job", "--cancel", "well"];
    let report = report(&options);
    assert_eq!(names(&report, Tried::Failed), [""; 0], "{report:#?}");
    assert_eq!(names(&report, Tried::Untried), [""; 0], "{report:#?}");
    let note = |name: &str| &report.checks.iter().find(|checked| checked.name == name).unwrap().note;
    assert_eq!(note("prove-again"), "byte for byte the same");
    assert_eq!(note("resumes"), "resumes from \"job-1\"");
    assert!(note("verify").contains("32 bytes"), "{}", note("verify"));
}

/// What a failed check shows is what its prover said.
#[test]
fn a_failure_shows_the_last_log_lines_and_what_to_mend() {
    let report = report(&["--accept", "extended"]);
    let failed = report.checks.iter().find(|checked| checked.result == Tried::Failed).unwrap();
    assert!(failed.note.contains("with a zero byte at its end was accepted"), "{failed:#?}");
    assert!(failed.log.iter().any(|line| line.starts_with("toy prover: verifies")), "{failed:#?}");
    assert!(!failed.mend.is_empty());
}

#[test]
fn a_program_that_is_no_prover_fails_at_once_and_only_there() {
    for program in ["true", "/no/such/program", "cat"] {
        let place = tempfile::tempdir().unwrap();
        let mut subject = subject(&place, &[]);
        subject.command = vec![program.to_owned()];
        subject.limits.time_ms = 1_000;
        let report = check(&subject, &mut |_| {}).unwrap();
        assert_eq!(names(&report, Tried::Failed), ["setup"], "{program}");
        assert_eq!(names(&report, Tried::Passed), [""; 0], "{program}");
    }
}

#[test]
fn a_files_prover_is_checked_as_far_as_it_goes() {
    for payload in [Payload::Request, Payload::Bare] {
        let place = tempfile::tempdir().unwrap();
        let mut subject = subject(&place, &["--files", "{input}", "{output}", "--work-ms", "300"]);
        subject.protocol = Protocol::Files(payload);
        let report = check(&subject, &mut |_| {}).unwrap();
        // A bare payload says nothing of where it comes from, so the toy proves any.
        let expected: &[&str] = if payload == Payload::Bare { &["wrong-input"] } else { &[] };
        assert_eq!(names(&report, Tried::Failed), expected, "{payload:?}: {report:#?}");
        let untried = names(&report, Tried::Untried);
        let streams = ["setup", "ends", "stdout", "no-json", "unknown-verb", "unknown-fields"];
        assert!(streams.iter().all(|name| untried.contains(name)), "{untried:?}");
        let tried = names(&report, Tried::Passed);
        assert!(
            ["prove", "verify", "verify-flipped", "verify-other", "cancelled", "deadline", "side-by-side"]
                .iter()
                .all(|name| tried.contains(name)),
            "{tried:?}"
        );
    }
}

#[test]
fn another_verifier_is_asked_or_none() {
    let place = tempfile::tempdir().unwrap();
    let mut subject = subject(&place, &[]);
    subject.verifier = Verifier::Command(vec![TOY.to_owned(), "--accept".into(), "cut".into()]);
    let report = check(&subject, &mut |_| {}).unwrap();
    assert_eq!(names(&report, Tried::Failed), ["verify-cut"]);

    subject.verifier = Verifier::None;
    subject.folder = place.path().join("another folder");
    let report = check(&subject, &mut |_| {}).unwrap();
    assert!(report.conforms());
    let verifying = |checked: &&CheckReport| checked.group == "verifying";
    assert!(report.checks.iter().filter(verifying).all(|checked| checked.result == Tried::Untried));
}

#[test]
fn with_one_task_what_needs_another_is_left_out() {
    let place = tempfile::tempdir().unwrap();
    let mut subject = subject(&place, &[]);
    subject.tasks.truncate(1);
    let report = check(&subject, &mut |_| {}).unwrap();
    let untried = names(&report, Tried::Untried);
    assert_eq!(untried, ["prove-other", "verify-other", "cancelled", "deadline", "resumes", "winds-up"]);
    assert!(report.conforms());
}

/// The kit leaves its folder, and nothing that runs.
#[test]
fn nothing_runs_on_after_the_kit() {
    let place = tempfile::tempdir().unwrap();
    let mut subject = subject(&place, &["--fork-children", "--work-ms", "300"]);
    let mark = place.path().to_str().unwrap().to_owned();
    subject.environment.push(("CONFORMANCE_TEST".into(), mark.clone()));
    assert!(check(&subject, &mut |_| {}).unwrap().conforms());
    let wanted = format!("CONFORMANCE_TEST={mark}");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        assert!(!marked, "{} runs on", entry.path().display());
    }
    assert!(Path::new(&subject.folder).exists());
}
