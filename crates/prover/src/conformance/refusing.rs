//! Refusing: bad requests are answered with an error, and the prover stays alive.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Bench;
use super::{Check, Outcome, Protocol, Stop};
use crate::message::{InputKind, Response};
use crate::runner::{Cancel, ErrorKind, Payload};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "no-json",
        asks: "answers a line that is no JSON with an error",
        mend: "answer {\"id\":null,\"error\":{\"kind\":\"permanent\",\"message\":\"...\"}} and read the next line",
        run: no_json,
    },
    Check {
        name: "unknown-verb",
        asks: "answers a verb that it does not know with an error",
        mend: "answer with an error that has the request's id, and read the next line",
        run: unknown_verb,
    },
    Check {
        name: "unknown-fields",
        asks: "ignores fields that it does not know",
        mend: "ignore them, at the top and in inputs: a newer Proofyard may send more than this one",
        run: unknown_fields,
    },
    Check {
        name: "missing-input",
        asks: "answers a task whose input is not there with an error",
        mend: "answer with an error, and read the next line",
        run: missing_input,
    },
    Check {
        name: "wrong-input",
        asks: "answers a task whose input is something else with an error",
        mend: "check inputs before anything is proved; answer with a permanent error, also where a library panics",
        run: wrong_input,
    },
    Check {
        name: "lives-on",
        asks: "proves again after all these bad requests",
        mend: "drop all that was kept of a request that failed",
        run: lives_on,
    },
];

/// How long a prover that dies of a bad request may take to end after its answer.
const DYING_WITHIN: Duration = Duration::from_millis(100);

const NO_BLOCK: &str = r#"{"block":{"number":"0x20000000000001"},"segments":[]}"#;

fn no_json(bench: &mut Bench<'_>) -> Outcome {
    let (answer, log) = put(bench, b"this is no JSON")?;
    refused(bench, &answer, None, log)
}

fn unknown_verb(bench: &mut Bench<'_>) -> Outcome {
    let (answer, log) = put(bench, br#"{"id":"unknown-verb","verb":"dance"}"#)?;
    refused(bench, &answer, Some("unknown-verb"), log)
}

fn unknown_fields(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    bench.made(0)?;
    let inputs = bench.inputs(0)?;
    let request = bench.prove_request(inputs)?;
    let mut line = serde_json::to_value(&request).map_err(|error| Stop::untried(error.to_string()))?;
    line["id"] = json!("unknown-fields");
    line["verb"] = json!("prove");
    line["from_a_newer_version"] = json!({ "surprise": [1, null] });
    for input in line["inputs"].as_array_mut().into_iter().flatten() {
        input["from_a_newer_version"] = json!(true);
    }
    let (answer, log) = put(bench, line.to_string().as_bytes())?;
    match (answer.id.as_deref(), answer.ok.as_ref().and_then(|ok| ok.get("proof")), answer.error) {
        (Some("unknown-fields"), Some(Value::String(_)), None) => Ok("proves all the same".into()),
        (_, _, Some(error)) => Err(Stop::Failed { why: format!("it answered a {error}"), log }),
        (id, ..) => Err(Stop::Failed { why: format!("it answered {id:?} without a proof"), log }),
    }
}

fn missing_input(bench: &mut Bench<'_>) -> Outcome {
    if writes_inputs(bench) {
        return Err(Stop::untried("a bare payload is written by Proofyard, which misses the input itself"));
    }
    let path = bench.folder("inputs")?.join("missing-input");
    let mut inputs = bench.inputs(0)?;
    inputs.iter_mut().for_each(|input| input.path.clone_from(&path));
    refuses_to_prove(bench, inputs)
}

fn wrong_input(bench: &mut Bench<'_>) -> Outcome {
    let path = bench.folder("inputs")?.join("wrong-input");
    let mut inputs = bench.inputs(0)?;
    let is_block = inputs.first().is_some_and(|input| input.kind == InputKind::Block);
    let content = match bench.subject.protocol {
        // A block from which Proofyard can read a height, though a higher one than there may be.
        Protocol::Files(Payload::Height) if is_block => NO_BLOCK,
        // Members of a list must be JSON, or Proofyard would not write it.
        Protocol::Files(Payload::List) => "\"this is neither a block nor a proof\"",
        _ if writes_inputs(bench) && inputs.len() != 1 => "\"this is neither a block nor a proof\"",
        _ => "this is neither a block nor a proof\n",
    };
    fs::write(&path, content)?;
    for input in &mut inputs {
        input.path.clone_from(&path);
        if writes_inputs(bench) {
            input.index = None;
        }
    }
    refuses_to_prove(bench, inputs)
}

/// Whether the program gets the inputs' contents instead of their paths.
fn writes_inputs(bench: &Bench<'_>) -> bool {
    matches!(bench.subject.protocol, Protocol::Files(Payload::Bare | Payload::Height | Payload::List))
}

fn lives_on(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    bench.made(0)?;
    let inputs = bench.inputs(0)?;
    let request = bench.prove_request(inputs)?;
    bench.prover()?.prove(&request, &Cancel::new())?;
    Ok("proves as before".into())
}

fn put(bench: &mut Bench<'_>, line: &[u8]) -> Result<(Response, Vec<String>), Stop> {
    let prover = bench.prover()?;
    let answer = prover.session()?.put(line, &Cancel::new())?;
    Ok((answer, prover.last_log_lines()))
}

fn refused(bench: &mut Bench<'_>, answer: &Response, id: Option<&str>, log: Vec<String>) -> Outcome {
    let failed = |why: String| Err(Stop::Failed { why, log });
    match &answer.error {
        None => failed("it did not answer with an error".into()),
        Some(_) if answer.id.as_deref() != id => {
            failed(format!("its error has the id {:?} instead of {id:?}", answer.id))
        }
        Some(error) => still_there(bench).map(|()| format!("a {} error", error.kind)),
    }
}

fn refuses_to_prove(bench: &mut Bench<'_>, inputs: Vec<crate::message::Input>) -> Outcome {
    let request = bench.prove_request(inputs)?;
    let is_stream = bench.is_stream();
    let prover = bench.prover()?;
    let Err(error) = prover.prove(&request, &Cancel::new()) else {
        let (why, log) = ("it proved something all the same".to_owned(), prover.last_log_lines());
        return Err(Stop::Failed { why, log });
    };
    match error.kind {
        ErrorKind::Permanent => still_there(bench).map(|()| "a permanent error".into()),
        ErrorKind::Transient => still_there(bench).map(|()| "a transient error".into()),
        ErrorKind::Unavailable => {
            let why = "it says that it is unavailable: the task would be tried again for a day, and nothing changes";
            Err(Stop::Failed { why: why.to_owned(), log: error.log })
        }
        ErrorKind::Died { exit: Some(code), .. } if !is_stream => Ok(format!("exit code {code}")),
        _ => Err(error.into()),
    }
}

/// Fails if the prover has answered and then ended.
fn still_there(bench: &mut Bench<'_>) -> Result<(), Stop> {
    if !bench.is_stream() {
        return Ok(());
    }
    thread::sleep(DYING_WITHIN);
    let prover = bench.prover()?;
    if prover.session()?.is_waiting() {
        return Ok(());
    }
    let log = prover.last_log_lines();
    // So that the next check does not fail for the same reason.
    bench.end_prover();
    Err(Stop::Failed { why: "it answered, and then it ended".into(), log })
}
