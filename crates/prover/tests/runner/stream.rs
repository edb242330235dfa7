//! What a well-behaved `stream` prover and its runner do for each other.

use std::fs;
use std::io::Read;
use std::time::Duration;

use proofyard_prover::runner::{Cancel, ErrorKind, Limits, Session, Update};
use proofyard_prover::{Input, InputKind, List, SetupRequest};

use crate::support::{PATIENCE, Place, wait_for};

#[test]
fn a_proof_is_made_and_verified_by_another_process() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let launch = place.toy(&["--work-ms", "1", "--field", "state=aa"]);
    let (mut prover, mut verifier) = (Session::start(&launch).unwrap(), Session::start(&launch).unwrap());
    let setup = prover.setup(&SetupRequest::default(), &cancel).unwrap();
    assert_eq!(setup.proof_system.as_deref(), Some("toy"));

    let mut updates = vec![];
    let request = place.prove_segment();
    let mut proved = prover.prove(&request, &cancel, &mut |update| updates.push(update)).unwrap();
    assert_eq!(updates, [Update { progress: 0.5, message: Some("works".into()) }]);
    assert_eq!(proved.ok.fields["state"], "aa");
    assert_eq!(proved.ok.trusted_setup, Some(false), "the toy says so at its setup, and not again");
    let mut content = String::new();
    proved.output.file.read_to_string(&mut content).unwrap();
    assert_eq!(content, fs::read_to_string(&proved.output.path).unwrap());
    assert_eq!(proved.output.bytes, content.len() as u64);

    let verify = place.verify_request(&proved.output.path, request.inputs);
    let verified = verifier.verify(&verify, &cancel).unwrap();
    assert_eq!(Some(verified.public_values), proved.ok.public_values);

    // The same proof is not one of the other segment.
    let other = place.verify_request(&proved.output.path, vec![place.block(Some(0))]);
    let refused = verifier.verify(&other, &cancel).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Permanent);
    assert!(refused.log[0].starts_with("toy prover: verifies"), "{:?}", refused.log);
    // A refusal does not end the session.
    verifier.verify(&verify, &cancel).unwrap();
}

#[test]
fn each_request_has_the_limits_of_its_own_stage() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let launch = place.toy(&["--work-ms", "1000"]);
    let mut session = Session::start(&launch).unwrap();
    assert!(session.is_waiting());
    session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();
    session.set_limits(Limits { time_ms: 100, ..launch.limits.clone() });
    let error = session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut { limit_ms: 100 });
    wait_for(PATIENCE, || session.is_waiting(), |alive| !alive);
}

#[test]
fn proofs_are_joined_by_their_public_values() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut session = Session::start(&place.toy(&[])).unwrap();
    let mut inputs = vec![];
    for index in [0, 1] {
        let request = place.prove_request(vec![place.block(Some(index))]);
        let proved = session.prove(&request, &cancel, &mut |_| {}).unwrap();
        let path = place.path(&format!("proof-{index}"));
        fs::rename(proved.output.path, &path).unwrap();
        let (kind, public_values) = (InputKind::Proof, proved.ok.public_values);
        inputs.push(Input { kind, path, public_values, index: None, ..place.block(None) });
    }
    let joined = session.prove(&place.prove_request(inputs.clone()), &cancel, &mut |_| {}).unwrap();
    let verify = place.verify_request(&joined.output.path, inputs.clone());
    assert_eq!(session.verify(&verify, &cancel).unwrap().public_values, joined.ok.public_values.unwrap());
    inputs.reverse();
    let swapped = place.verify_request(&joined.output.path, inputs);
    assert_eq!(session.verify(&swapped, &cancel).unwrap_err().kind, ErrorKind::Permanent);
}

#[test]
fn a_partitioner_writes_a_list_and_an_element_of_it_is_an_input() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut partitioner = Session::start(&place.toy(&["--list", "12"])).unwrap();
    let request = place.prove_request(vec![place.block(None)]);
    let proved = partitioner.prove(&request, &cancel, &mut |_| {}).unwrap();
    assert_eq!(proved.ok.list, Some(List { count: 12 }));
    let path = proved.output.path;
    let element = Input { kind: InputKind::Data, path, index: Some(11), ..place.block(None) };
    assert_eq!(element.read().unwrap(), br#"{"element":11}"#);
}

/// Only the slot's GPUs are seen; a pool without GPUs leaves the variable as the operator has it.
#[test]
fn gpus_are_shown_in_the_environment() {
    let place = Place::new();
    let seen = |gpus: Option<Vec<u32>>| {
        let script = r#"ask; printf '%s' "${CUDA_VISIBLE_DEVICES-unset}" > "$OUT/seen"
                        printf '{"id":"%s","ok":{"proof":"%s/seen"}}\n' "$id" "$OUT"; cat > /dev/null"#;
        let mut launch = place.shell(script);
        launch.gpus = gpus;
        launch.environment.push(("CUDA_VISIBLE_DEVICES".into(), "operator".into()));
        let mut session = Session::start(&launch).unwrap();
        let proved = session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap();
        fs::read_to_string(proved.output.path).unwrap()
    };
    assert_eq!(seen(Some(vec![2, 5])), "2,5");
    assert_eq!(seen(Some(vec![])), "");
    assert_eq!(seen(None), "operator");
}

#[test]
fn a_session_that_is_ended_lets_its_prover_finish() {
    let place = Place::new();
    let mut launch = place.shell(r#"cat > /dev/null; echo done > "$OUT/last""#);
    launch.limits.grace_ms = PATIENCE.as_millis() as u64;
    Session::start(&launch).unwrap().end();
    assert_eq!(fs::read_to_string(place.path("out/last")).unwrap(), "done\n");
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_session_that_is_ended_does_not_wait_for_ever() {
    let place = Place::new();
    let mut launch = place.shell("trap '' TERM; exec sleep 1000");
    launch.limits.grace_ms = 100;
    Session::start(&launch).unwrap().end();
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_dropped_session_leaves_nothing_behind() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut session = Session::start(&place.toy(&["--fork-children"])).unwrap();
    session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();
    wait_for(
        PATIENCE,
        || place.processes(),
        |found| found.iter().filter(|one| one.contains("sleep 1000")).count() >= 4,
    );
    drop(session);
    assert_eq!(place.processes(), [""; 0]);
}

/// A task of 4,096 inputs is more than any pipe holds at once.
#[test]
fn a_large_request_arrives_whole() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let mut session = Session::start(&place.toy(&[])).unwrap();
    let request = place.prove_request(vec![place.block(Some(1)); 4096]);
    let proved = session.prove(&request, &cancel, &mut |_| {}).unwrap();
    let verify = place.verify_request(&proved.output.path, request.inputs);
    session.verify(&verify, &cancel).unwrap();
}

/// The deadline that the prover is given is the one that is enforced.
#[test]
fn the_deadline_is_the_smaller_one() {
    let (place, cancel) = (Place::new(), Cancel::new());
    let script = r#"ask; printf '%s' "$line" > "$OUT/request"; printf '{"id":"%s","ok":{"proof":"%s/request"}}\n' "$id" "$OUT""#;
    let mut launch = place.shell(script);
    launch.limits.time_ms = 50_000;
    let mut session = Session::start(&launch).unwrap();
    session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap();
    let request = fs::read_to_string(place.path("out/request")).unwrap();
    assert!(request.contains(r#""deadline_ms":50000"#), "{request}");
    place.wait_for_no_process(Duration::from_secs(5));
}
