//! What the parts share: what functions said, and calls that have no client here.

use std::fs;
use std::process::{Command, Stdio};

use proofyard_aws_tests::local::{LocalAws, Request};
use serde_json::Value;

/// What a function said in lines of JSON, the oldest first.
pub fn said(aws: &LocalAws, function: &str) -> Vec<Value> {
    let begin = format!("{}-", name_of(aws, function));
    // It is made with the first log.
    let Ok(logs) = fs::read_dir(aws.state().join("functions")) else { return Vec::new() };
    let logs = logs.map(|log| log.unwrap());
    let its = logs.filter(|log| log.file_name().to_str().unwrap().starts_with(&begin));
    let texts: Vec<String> = its.map(|log| fs::read_to_string(log.path()).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let mut lines: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.sort_by_key(|line| line["timestamp"].as_str().unwrap_or_default().to_owned());
    lines
}

/// Height, and whether it was known, of each block of a chain that the dispatcher recorded, in order.
pub fn recorded(aws: &LocalAws, chain: &str) -> Vec<(u64, bool)> {
    let lines = said(aws, "dispatcher");
    let recorded = lines.iter().filter(|line| line["message"] == "block recorded" && line["chain"] == chain);
    recorded.map(|line| (line["height"].as_u64().unwrap(), line["repeated"].as_bool().unwrap())).collect()
}

pub fn name_of(aws: &LocalAws, function: &str) -> String {
    format!("proofyard-{}-{function}", aws.yard)
}

/// Asks LocalStack's Lambda about a function.
pub fn lambda(aws: &LocalAws, method: &str, function: &str, what: &str, body: &Value) -> Value {
    let path = format!("/2015-03-31/functions/{}/{what}", name_of(aws, function));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Content-Type", "application/json")];
    let (status, answer) =
        Request { method, path: &path, headers: &headers, body: &body }.send(aws.endpoint());
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

/// Runs the command to its end, which must be a good one; answers what it said.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}\n{complained}");
    said.into_owned()
}
