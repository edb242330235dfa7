//! The `files` mode: one start for each task.

use std::fs;

use proofyard_prover::runner::{Cancel, ErrorKind, Launch, Payload, ProverError, prove_files, verify_files};
use proofyard_prover::{Input, InputKind, List};

use crate::support::{Place, TOY};

fn toy(place: &Place, options: &[&str]) -> Launch {
    place.launch(&[&[TOY, "--files", "{input}", "{output}"], options].concat())
}

fn failure(place: &Place, launch: &Launch) -> ProverError {
    let error =
        prove_files(launch, Payload::Request, &[], &place.prove_segment(), &Cancel::new()).unwrap_err();
    assert_eq!(place.processes(), [""; 0], "{error}");
    error
}

#[test]
fn a_proof_is_made_and_verified_from_requests_and_from_bare_payloads() {
    for payload in [Payload::Request, Payload::Bare] {
        for index in [None, Some(1)] {
            let (place, cancel) = (Place::new(), Cancel::new());
            let launch = toy(&place, &[]);
            let request = place.prove_request(vec![place.block(index)]);
            let proved = prove_files(&launch, payload, &[], &request, &cancel).unwrap();
            let verify = place.verify_request(&proved.output.path, request.inputs);
            assert_eq!(verify_files(&launch, &verify, &cancel).unwrap().public_values.len(), 64);
            let other = place.verify_request(&proved.output.path, vec![place.block(Some(0))]);
            let refused = verify_files(&launch, &other, &cancel).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Permanent, "{refused}");
        }
    }
}

/// What the program finds in its input file, and the list that it would be.
fn copied(
    place: &Place,
    payload: Payload,
    inputs: Vec<Input>,
) -> Result<(String, Option<List>), ProverError> {
    let launch = place.launch(&["cp", "{input}", "{output}"]);
    let proved = prove_files(&launch, payload, &[], &place.prove_request(inputs), &Cancel::new())?;
    Ok((fs::read_to_string(proved.output.path).unwrap(), proved.ok.list))
}

/// What a program gets that knows nothing of Proofyard.
#[test]
fn a_bare_payload_is_the_element_or_the_list_of_all() {
    let place = Place::new();
    let bare = |inputs: Vec<Input>| copied(&place, Payload::Bare, inputs);
    assert_eq!(bare(vec![place.block(Some(1))]).unwrap(), (r#"{"from":7}"#.into(), None));
    let block = fs::read_to_string(place.path("block")).unwrap();
    assert_eq!(bare(vec![place.block(None)]).unwrap(), (block, None));
    let segments = (r#"[{"from":0},{"from":7}]"#.into(), Some(List { count: 2 }));
    assert_eq!(bare(vec![place.block(Some(0)), place.block(Some(1))]).unwrap(), segments);

    fs::write(place.path("binary"), [0, 255]).unwrap();
    let binary = Input { kind: InputKind::Data, path: place.path("binary"), ..place.block(None) };
    assert_eq!(bare(vec![binary.clone(), binary]).unwrap_err().kind, ErrorKind::BadInput);
    assert_eq!(bare(vec![place.block(Some(2))]).unwrap_err().kind, ErrorKind::BadInput);
}

/// A partitioner that fetches the block itself wants its number, and no newline behind it.
#[test]
fn a_height_stands_for_a_whole_block_and_for_nothing_else() {
    let place = Place::new();
    let height = |inputs: Vec<Input>| copied(&place, Payload::Height, inputs);
    let content = |inputs: Vec<Input>| height(inputs).unwrap().0;
    assert_eq!(content(vec![place.block(None)]), "1");
    assert_eq!(content(vec![place.block(None), place.block(None)]), "[1,1]");
    assert_eq!(content(vec![place.block(Some(1))]), r#"{"from":7}"#);
    let block = fs::read_to_string(place.path("block")).unwrap();
    let proof = Input { kind: InputKind::Proof, ..place.block(None) };
    assert_eq!(content(vec![proof]), block);
    // A joiner is not to tell a list of one from a proof.
    let list = |inputs: Vec<Input>| copied(&place, Payload::List, inputs).unwrap();
    assert_eq!(list(vec![place.block(None)]), (format!("[{block}]"), Some(List { count: 1 })));
    assert_eq!(list(vec![place.block(Some(1))]).0, r#"[{"from":7}]"#);
    assert_eq!(list(vec![place.block(Some(1)), place.block(Some(0))]).0, r#"[{"from":7},{"from":0}]"#);
    assert_eq!(list(vec![]).0, "[]");
    for (number, written) in [(r#""0x0""#, "0"), (r#""0xffffffffffffffff""#, "18446744073709551615")] {
        fs::write(place.path("block"), format!(r#"{{"segments":[],"block":{{"number":{number}}}}}"#))
            .unwrap();
        assert_eq!(content(vec![place.block(None)]), written);
    }
    for bad in
        [r#"{"block":{}}"#, r#"{"block":{"number":"7"}}"#, r#"{"block":{"number":"0x1ffffffffffffffff"}}"#]
    {
        fs::write(place.path("block"), bad).unwrap();
        assert_eq!(height(vec![place.block(None)]).unwrap_err().kind, ErrorKind::BadInput, "{bad}");
    }
}

#[test]
fn asked_fields_are_read_from_the_output() {
    let place = Place::new();
    fs::write(place.path("block"), r#"{"group_id":"7","task_id":3,"data":{}}"#).unwrap();
    let launch = place.launch(&["cp", "{input}", "{output}"]);
    let asked = ["group_id", "task_id", "data"].map(str::to_owned);
    let request = place.prove_request(vec![place.block(None)]);
    let proved = prove_files(&launch, Payload::Bare, &asked, &request, &Cancel::new()).unwrap();
    let fields: Vec<_> = proved.ok.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(fields, ["group_id=7", "task_id=3"]);
}

#[test]
fn each_fault_is_told_apart_and_keeps_what_was_printed() {
    let died = |exit, signal| ErrorKind::Died { exit, signal };
    let cases: [(&[&str], ErrorKind); 5] = [
        (&["--down", "/"], ErrorKind::Unavailable),
        (&["--fail"], died(Some(1), None)),
        (&["--exit-code", "3"], died(Some(3), None)),
        (&["--exit-code", "0"], ErrorKind::BadOutput),
        (&["--die-by-signal"], died(None, Some(6))),
    ];
    for (options, kind) in cases {
        let place = Place::new();
        let error = failure(&place, &toy(&place, options));
        assert_eq!(error.kind, kind, "{options:?}: {error}");
        assert_eq!(error.log[0], "toy prover: proves block-1/segment/1, attempt 1");
    }
    let place = Place::new();
    let error = failure(&place, &place.launch(&["/no/such/program", "{input}", "{output}"]));
    assert_eq!(error.kind, ErrorKind::CouldNotStart);
    let error = failure(&place, &place.shell("echo to stdout; exit 4"));
    assert_eq!(error.log, ["to stdout"]);
}

#[test]
fn limits_hold() {
    let place = Place::new();
    let mut launch = toy(&place, &["--fork-children", "--hang"]);
    launch.limits.time_ms = 700;
    assert_eq!(failure(&place, &launch).kind, ErrorKind::TimedOut { limit_ms: 700 });
    let mut launch = toy(&place, &["--huge-output", "1000000000"]);
    launch.limits.output_bytes = 10_000_000;
    assert_eq!(failure(&place, &launch).kind, ErrorKind::OutputTooLarge { limit_bytes: 10_000_000 });
}

#[test]
fn what_a_program_leaves_behind_after_success_is_killed() {
    let place = Place::new();
    let launch = toy(&place, &["--fork-children"]);
    prove_files(&launch, Payload::Request, &[], &place.prove_segment(), &Cancel::new()).unwrap();
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_verifier_has_the_last_word_in_one_of_three_ways() {
    let place = Place::new();
    fs::write(place.path("out/proof"), "{}").unwrap();
    let verdict = |script: &str| {
        let launch = place.launch(&["sh", "-c", script, "sh", "{output}"]);
        let request = place.verify_request(&place.path("out/proof"), vec![]);
        let verified = verify_files(&launch, &request, &Cancel::new());
        verified.map(|ok| ok.public_values).map_err(|error| error.kind)
    };
    assert_eq!(verdict(r#"echo '{"public_values":"00ff"}' > "$1""#), Ok("00ff".into()));
    assert_eq!(verdict(r#"echo '{"error":"no"}' > "$1""#), Err(ErrorKind::Permanent));
    assert_eq!(
        verdict(r#"echo '{"error":{"kind":"transient","message":"busy"}}' > "$1""#),
        Err(ErrorKind::Transient)
    );
    assert_eq!(
        verdict(r#"echo '{"error":{"kind":"unavailable","message":"down"}}' > "$1""#),
        Err(ErrorKind::Unavailable)
    );
    assert_eq!(verdict("exit 1"), Err(ErrorKind::Permanent));
    assert_eq!(verdict("exit 75"), Err(ErrorKind::Unavailable));
    assert_eq!(verdict("kill -SEGV $$"), Err(ErrorKind::Died { exit: None, signal: Some(11) }));
    assert_eq!(verdict("true"), Err(ErrorKind::BadOutput));
    assert_eq!(verdict(r#"echo '{"public_values":"0"}' > "$1""#), Err(ErrorKind::ProtocolViolation));
    assert_eq!(verdict(r#"echo maybe > "$1""#), Err(ErrorKind::ProtocolViolation));
}
