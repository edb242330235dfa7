//! Each way a `stream` prover can fail has its own error kind, carries the last log lines, and leaves no process behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_prover::runner::{Cancel, ErrorKind, Launch, ProverError, Session};
use proofyard_prover::{CancelReason, SetupRequest};

use crate::support::{PATIENCE, Place, wait_for};

fn prove(place: &Place, launch: &Launch) -> Result<(), ProverError> {
    let mut session = Session::start(launch)?;
    session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).map(|_| ())
}

/// The error of one attempt, after which no process is left.
fn failure(place: &Place, launch: &Launch) -> ProverError {
    let error = prove(place, launch).unwrap_err();
    assert_eq!(place.processes(), [""; 0], "{error}");
    assert!(error.to_string().contains(&launch.command[0]), "{error}");
    error
}

#[test]
fn each_toy_fault_maps_to_its_error_kind() {
    let died = |exit, signal| ErrorKind::Died { exit, signal };
    let cases: [(&[&str], ErrorKind); 7] = [
        (&["--fail"], ErrorKind::Transient),
        (&["--fail-at", "block-1/", "--permanent"], ErrorKind::Permanent),
        (&["--down", "/"], ErrorKind::Unavailable),
        (&["--exit-code", "3"], died(Some(3), None)),
        (&["--exit-code", "0"], died(Some(0), None)),
        (&["--die-by-signal"], died(None, Some(6))),
        (&["--rubbish", "--hang"], ErrorKind::ProtocolViolation),
    ];
    for (options, kind) in cases {
        let place = Place::new();
        let error = failure(&place, &place.toy(options));
        assert_eq!(error.kind, kind, "{options:?}: {error}");
        let log = ["toy prover: proves block-1/segment/1, attempt 1", "toy prover: a fault is due"];
        assert_eq!(error.log, log, "{options:?}");
    }
}

#[test]
fn a_reported_error_leaves_the_session_usable_and_others_do_not() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let state = place.text("state");
    let mut session = Session::start(&place.toy(&["--fail", "--times", "2", "--state", &state])).unwrap();
    for _ in 0..2 {
        let error = session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
        assert_eq!(error.log.len(), 2, "only this request's lines: {:?}", error.log);
    }
    session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();

    let mut session = Session::start(&place.toy(&["--exit-code", "1"])).unwrap();
    assert!(session.is_usable());
    session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err();
    assert!(!session.is_usable());
    let again = session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Died { exit: None, signal: None });
}

#[test]
fn a_fault_that_happens_once_is_gone_in_the_next_process() {
    let place = Place::new();
    let state = place.text("state");
    let launch = place.toy(&["--die-by-signal", "--times", "1", "--state", &state]);
    failure(&place, &launch);
    prove(&place, &launch).unwrap();
}

/// Claimed public values are ignored and a false proof is rejected: only the verifier's answer counts.
#[test]
fn lies_are_found_by_the_verifier() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut verifier = Session::start(&place.toy(&[])).unwrap();
    let mut proved_by = |option: &str| {
        let mut liar = Session::start(&place.toy(&[option])).unwrap();
        let proved = liar.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();
        let verify = place.verify_request(&proved.output.path, place.prove_segment().inputs);
        (proved.ok.public_values, verifier.verify(&verify, &cancel))
    };
    let (claimed, verified) = proved_by("--claim-wrong-values");
    assert_ne!(claimed, Some(verified.unwrap().public_values));
    let (_, verified) = proved_by("--false-proof");
    assert_eq!(verified.unwrap_err().kind, ErrorKind::Permanent);
}

/// The state stores 8,192 bytes of public values and 4,096 of key; more violates the protocol.
#[test]
fn public_values_and_keys_have_size_limits() {
    let key = "ab".repeat(4097);
    for (options, told) in [
        (["--huge-values", "8193"], "its public_values has 8193 bytes; 8192 are allowed"),
        (["--proof-key", &key], "its verification_key has 4097 bytes; 4096 are allowed"),
    ] {
        let place = Place::new();
        let error = failure(&place, &place.toy(&options));
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::ProtocolViolation, told));
    }
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut setting_up = Session::start(&place.toy(&["--key", &key])).unwrap();
    let refused = setting_up.setup(&SetupRequest::default(), &cancel).unwrap_err();
    assert!(refused.message.contains("verification_key has 4097 bytes"), "{refused}");
    let proved =
        Session::start(&place.toy(&[])).unwrap().prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();
    let request = place.verify_request(&proved.output.path, place.prove_segment().inputs);
    let verified = |bytes: &str| {
        Session::start(&place.toy(&["--huge-values", bytes])).unwrap().verify(&request, &cancel)
    };
    assert!(verified("8192").is_ok());
    assert!(verified("8193").unwrap_err().message.contains("public_values has 8193 bytes"));
}

#[test]
fn the_time_limit_kills_the_prover_and_its_children() {
    let place = Place::new();
    let mut launch = place.toy(&["--fork-children", "--hang"]);
    launch.limits.time_ms = 700;
    let error = failure(&place, &launch);
    assert_eq!(error.kind, ErrorKind::TimedOut { limit_ms: 700 });
    assert!(error.log.contains(&"toy prover: has left children".into()), "{:?}", error.log);
}

#[test]
fn setup_has_its_own_time_limit() {
    let place = Place::new();
    let mut launch = place.toy(&["--hang", "--verb", "setup"]);
    launch.limits.setup_ms = 200;
    let mut session = Session::start(&launch).unwrap();
    let error = session.setup(&SetupRequest::default(), &Cancel::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut { limit_ms: 200 });
    assert_eq!(place.processes(), [""; 0]);
}

/// The time limit fires even if the prover does not read its input or floods its output with progress.
#[test]
fn the_time_limit_holds_whatever_the_prover_does_with_its_pipes() {
    let place = Place::new();
    let flood = r#"ask; while :; do echo '{"id":"'$id'","progress":0.1}'; echo log >&2; done"#;
    for script in ["exec sleep 1000", "exec <&-; sleep 1000", flood] {
        let mut launch = place.shell(script);
        launch.limits.time_ms = 500;
        let mut session = Session::start(&launch).unwrap();
        let large = place.prove_request(vec![place.block(Some(1)); 10_000]);
        let error = session.prove(&large, &Cancel::new(), &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut { limit_ms: 500 }, "{script}");
        assert_eq!(place.processes(), [""; 0], "{script}");
    }
}

#[test]
fn a_line_without_end_fails_at_the_line_limit() {
    let place = Place::new();
    let mut launch = place.shell("tr '\\0' x < /dev/zero");
    launch.limits.time_ms = 600_000;
    let error = failure(&place, &launch);
    assert_eq!(error.kind, ErrorKind::ProtocolViolation, "{error}");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
}

#[test]
fn a_cancelled_call_ends_at_once_and_kills() {
    let place = Place::new();
    let cancel = Cancel::new();
    let mut session = Session::start(&place.toy(&["--hang", "--fork-children"])).unwrap();
    let started = Instant::now();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(Duration::from_secs(30), || place.processes().len(), |count| *count >= 5);
            cancel.cancel(CancelReason::Stopping);
        });
        session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err()
    });
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(50), "it did not wait for the time limit");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_call_that_is_to_be_cancelled_at_a_time_runs_until_then() {
    let place = Place::new();
    let cancel = Cancel::new();
    let (soon, later) = (Duration::from_millis(700), Duration::from_secs(1_000));
    let mut session = Session::start(&place.toy(&["--hang"])).unwrap();
    let started = Instant::now();
    cancel.cancel_at(started + soon, CancelReason::Stopping);
    cancel.cancel_at(started + later, CancelReason::Lost);
    let error = session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!((soon..Duration::from_secs(50)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_gigabyte_of_output_is_stopped_early() {
    let place = Place::new();
    let mut launch = place.toy(&["--huge-output", "1000000000"]);
    launch.limits.output_bytes = 10_000_000;
    let error = failure(&place, &launch);
    assert_eq!(error.kind, ErrorKind::OutputTooLarge { limit_bytes: 10_000_000 });
    let written = fs::metadata(place.path("out/huge")).unwrap().len();
    assert!(written < 1_000_000_000, "{written} bytes were written");
}

/// The limit also holds for output that is written between two size checks.
#[test]
fn output_is_measured_after_the_answer_too() {
    let place = Place::new();
    let script = r#"ask; echo {} > "$OUT/p"; head -c 5000 /dev/zero > "$OUT/more"
                    printf '{"id":"%s","ok":{"proof":"%s/p"}}\n' "$id" "$OUT"; cat > /dev/null"#;
    let mut launch = place.shell(script);
    launch.limits.output_bytes = 4000;
    assert_eq!(failure(&place, &launch).kind, ErrorKind::OutputTooLarge { limit_bytes: 4000 });
}

#[test]
fn a_file_limit_is_kept_by_the_kernel() {
    let place = Place::new();
    let mut launch = place.toy(&["--huge-output", "1000000000"]);
    launch.limits.file_bytes = Some(1_000_000);
    assert_eq!(failure(&place, &launch).kind, ErrorKind::OutputTooLarge { limit_bytes: 1_000_000 });
    assert_eq!(fs::metadata(place.path("out/huge")).unwrap().len(), 1_000_000);
}

#[test]
fn memory_is_limited_over_all_processes() {
    let place = Place::new();
    let mut launch = place.toy(&["--memory", "300000000", "--work-ms", "50000"]);
    launch.limits.memory_bytes = Some(100_000_000);
    let error = failure(&place, &launch);
    assert_eq!(error.kind, ErrorKind::MemoryExceeded { limit_bytes: 100_000_000 });
}

#[test]
fn a_program_that_cannot_start_is_not_reported_as_died() {
    let place = Place::new();
    fs::write(place.path("text"), "not a program").unwrap();
    for program in ["/no/such/program", "no-such-program", &place.text("text")] {
        let error = failure(&place, &place.launch(&[program]));
        assert_eq!(error.kind, ErrorKind::CouldNotStart, "{error}");
        assert!(error.log[0].contains(program), "{:?}", error.log);
    }
    let mut launch = place.toy(&[]);
    launch.guard.program = "/no/such/guard".into();
    assert_eq!(failure(&place, &launch).kind, ErrorKind::CouldNotStart);
}

#[test]
fn answers_that_break_the_protocol_are_violations() {
    let answers = [
        r#"{"id":"2","ok":{"proof":"/x"}}"#,
        r#"{"id":null,"error":{"kind":"permanent","message":"what?"}}"#,
        r#"{"id":"ID"}"#,
        r#"{"id":"ID","ok":{},"error":{"kind":"permanent","message":""}}"#,
        r#"{"id":"ID","ok":{"proof":7}}"#,
        r#"{"id":"ID","error":{"kind":"sad","message":""}}"#,
        r#"{"id":"ID","ok":{"proof":"PROOF","public_values":"xyz"}}"#,
        r#"{"id":"ID","ok":{"proof":"PROOF","verification_key":"ABCD"}}"#,
        r#"{"id":"ID","ok":{"proof":"PROOF","proof_system":"my own\u001b[2J"}}"#,
        &format!(r#"{{"id":"ID","ok":{{"proof":"PROOF","fields":{{"f":"{}"}}}}}}"#, "x".repeat(1024)),
        &format!(r#"{{"id":"ID","message":"{}"}}"#, "x".repeat(3000)),
        "[]",
        "",
        "\\xff",
    ];
    for answer in answers {
        let place = Place::new();
        fs::write(place.path("out/proof"), "{}").unwrap();
        fs::write(place.path("answer"), format!("{answer}\n").replace("PROOF", &place.text("out/proof")))
            .unwrap();
        let mut launch = place.shell(r#"ask; sed "s/ID/$id/" "$ANSWER"; cat > /dev/null"#);
        launch.environment.push(("ANSWER".into(), place.text("answer")));
        launch.limits.line_bytes = 2000;
        assert_eq!(failure(&place, &launch).kind, ErrorKind::ProtocolViolation, "{answer}");
    }
}

/// A line that another process has written could be taken for the answer to the next request.
#[test]
fn a_line_that_nobody_asked_for_ends_the_session() {
    let guessed = r#"{"id":"1","ok":{"proof":"PROOF"}}"#;
    let ok = r#"printf '{"id":"%s","ok":{"proof":"%s/proof"}}\n' "$id" "$OUT""#;
    let say = format!("echo '{guessed}'");
    let early = format!("{say}; ask; {ok}; cat > /dev/null");
    let instead = format!("ask; {say}; {ok}; cat > /dev/null");
    for script in [early, instead] {
        let place = Place::new();
        fs::write(place.path("out/proof"), "{}").unwrap();
        let mut session = Session::start(&place.shell(&script)).unwrap();
        thread::sleep(Duration::from_millis(200));
        let error = session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ProtocolViolation, "{script}: {error}");
        assert!(!session.is_usable());
        assert_eq!(place.processes(), [""; 0], "{script}");
    }
    // An unsolicited line after an answer is detected with that answer, or before the next request.
    for pause in ["true", "sleep 0.3"] {
        let place = Place::new();
        fs::write(place.path("out/proof"), "{}").unwrap();
        let after = format!("ask; {ok}; {pause}; {say}; ask; {ok}; cat > /dev/null");
        let mut session = Session::start(&place.shell(&after)).unwrap();
        let _ = session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {});
        wait_for(PATIENCE, || session.is_waiting(), |waiting| !waiting);
        session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err();
    }
}

/// Request ids are unique and unguessable, so no answer can pass for that to another request.
#[test]
fn no_two_requests_have_one_id_and_none_can_be_guessed() {
    let place = Place::new();
    let script = r#"for i in 1 2 3; do ask; echo "$id" >> "$OUT/ids"
                    printf '{"id":"%s","ok":{"proof":"%s/ids"}}\n' "$id" "$OUT"; done; cat > /dev/null"#;
    let mut session = Session::start(&place.shell(script)).unwrap();
    for _ in 0..3 {
        session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap();
    }
    let ids = fs::read_to_string(place.path("out/ids")).unwrap();
    let ids: std::collections::BTreeSet<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 3);
    assert!(
        ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{ids:?}"
    );
}

#[test]
fn only_a_regular_file_inside_the_folder_is_an_output() {
    let place = Place::new();
    fs::write(place.path("secret"), "secret").unwrap();
    symlink(place.path("secret"), place.path("out/link")).unwrap();
    fs::write(place.path("out/list"), "[1,2]").unwrap();
    let cases = [
        (place.text("out/missing"), ""),
        (place.text("secret"), ""),
        (place.text("out/../secret"), ""),
        (place.text("out/link"), ""),
        (place.text("out"), ""),
        ("proof".into(), ""),
        (place.text("out/list"), r#","list":{"count":3}"#),
    ];
    for (path, more) in cases {
        let script =
            format!(r#"ask; echo '{{"id":"'$id'","ok":{{"proof":"{path}"{more}}}}}'; cat > /dev/null"#);
        let error = failure(&place, &place.shell(&script));
        assert_eq!(error.kind, ErrorKind::BadOutput, "{path}: {error}");
    }
}

#[test]
fn a_prover_that_ends_in_the_middle_of_a_line_has_died() {
    let place = Place::new();
    let launch = place.shell(r#"read -r line; echo last words >&2; printf '{"id":"1","o'; exit 5"#);
    let error = failure(&place, &launch);
    assert_eq!(error.kind, ErrorKind::Died { exit: Some(5), signal: None });
    assert_eq!(error.log, ["last words"]);
}

/// What a prover says is shown to an operator, so it must not reach the terminal as it is.
#[test]
fn messages_are_made_readable_and_bounded() {
    let place = Place::new();
    let long = "x".repeat(10_000);
    let script = format!(
        r#"ask; printf '%s\n' '{{"id":"'$id'","error":{{"kind":"transient","message":"\u001b[2Jtwo\nlines {long}"}}}}'"#
    );
    let error = failure(&place, &place.shell(&script));
    assert!(error.message.starts_with("\u{fffd}[2Jtwo lines xxx"), "{error}");
    assert!(error.message.len() <= 2048 && error.message.ends_with('…'), "{}", error.message.len());
}

#[test]
fn only_the_last_log_lines_are_kept() {
    let place = Place::new();
    let mut launch =
        place.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i >&2; done; exit 1");
    launch.limits.log_lines = 3;
    assert_eq!(failure(&place, &launch).log, ["line 19998", "line 19999", "line 20000"]);
}
