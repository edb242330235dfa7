//! What the pipeline says of the service, and everything that may be wrong with it.

use serde_json::{Value, json};

use crate::server::Server;
use crate::services::openvm_edge::Edge;
use crate::yard::{Attempt, Prover, failed, proof};

#[track_caller]
fn refused(arguments: &Value, words: &[&str]) {
    let answer = Prover::start().setup(arguments);
    for words in words {
        failed(&answer, "permanent", words);
    }
}

#[test]
fn mistakes_are_told_together() {
    refused(&json!({}), &["`endpoint` is missing", "`protocol` is missing"]);
    refused(
        &json!({"protocol": "openvm-edge", "endpoint": "prover:3000", "version": -1, "proof_type": "snark",
            "colour": "red", "token_from": "NOT_SET_HERE", "input": 7}),
        &[
            "`endpoint` must be an address that begins with http:// or https://",
            "`program` is missing",
            "`version` must be a whole number",
            "`proof_type` is \"snark\", but must be one of stark, evm",
            "`colour` is unknown; known are endpoint, input, ",
            "NOT_SET_HERE, which `token_from` names, is not set here",
            "`input` must be a text",
        ],
    );
    refused(
        &json!({"protocol": "carrier-pigeon", "endpoint": "http://x"}),
        &["`protocol` is \"carrier-pigeon\", but must be one of openvm-edge, bonsai, ere, sp1-cluster, zisk"],
    );
    refused(
        &json!({"protocol": "bonsai", "endpoint": "http://x", "image_id": "77"}),
        &["must be 64 hex digits"],
    );
    refused(
        &json!({"protocol": "ere", "endpoint": "http://user:word@x", "token": "secret"}),
        &["without a user", "a token does not belong in the pipeline"],
    );
}

#[test]
fn a_service_of_another_protocol_is_told() {
    let server = Server::start(Edge::new());
    refused(&json!({"protocol": "ere", "endpoint": server.endpoint}), &["is it an ere-server?"]);
    let other = Server::start(crate::services::ere::Ere::new());
    refused(
        &json!({"protocol": "openvm-edge", "endpoint": other.endpoint, "program": "reth"}),
        &["does the service speak this protocol?"],
    );
}

#[test]
fn what_has_no_certificate_of_an_authority_is_not_reached() {
    let server = Server::start(Edge::new());
    let endpoint = server.endpoint.replace("http://", "https://");
    let answer =
        Prover::start().setup(&json!({"protocol": "openvm-edge", "endpoint": endpoint, "program": "reth"}));
    // A machine without authorities says so.
    let kind = answer["error"]["kind"].as_str().unwrap();
    assert!(["unavailable", "transient"].contains(&kind), "{answer}");
}

#[test]
fn several_inputs_go_as_a_list_where_that_is_asked_for() {
    let server = Server::start(Edge::new());
    let mut arguments = json!({"protocol": "openvm-edge", "endpoint": server.endpoint, "program": "reth",
        "version": 2, "poll_ms": 10, "input": "list"});
    let attempt = Attempt { more_inputs: 1, ..Attempt::default() };
    let made = proof(&Prover::ready(&arguments).prove(&attempt));
    let hex = hex::encode("a block");
    assert_eq!(String::from_utf8(made).unwrap(), format!("a proof of [\"0x{hex}\",\"0x{hex}\"]"));
    arguments["input"] = json!("file");
    failed(
        &Prover::ready(&arguments).prove(&attempt),
        "permanent",
        "`input = \"list\"` sends a JSON list of all",
    );
}

#[test]
fn without_a_setup_nothing_is_done() {
    failed(&Prover::start().prove(&Attempt::default()), "permanent", "no setup");
}
