//! Proving: a proof, the same again, another one; nothing else on stdout, and nothing outside of the output folder.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::bench::{Bench, Made, Surroundings, names, span};
use super::starting::shortened;
use super::{Check, Outcome, Stop, Verifier};
use crate::message::Input;
use crate::runner::{Cancel, ErrorKind};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "prove",
        asks: "proves a task",
        mend: "see what it says; try the same input by hand, or give it more time",
        run: prove,
    },
    Check {
        name: "answer",
        asks: "answers in the form of the protocol",
        mend: "docs/prover-protocol.md says what `ok` holds: lower-case hex without 0x, the path of a file in output_dir",
        run: answer,
    },
    Check {
        name: "prove-again",
        asks: "proves the same task again",
        mend: "a task may be tried again, also in the same process: keep nothing of an attempt but loaded keys",
        run: prove_again,
    },
    Check {
        name: "prove-other",
        asks: "proves another task in the same process",
        mend: "take everything from the request; keep nothing of the task before",
        run: prove_other,
    },
    Check {
        name: "stdout",
        asks: "writes nothing to stdout but answers",
        mend: "log to stderr; what libraries print to stdout must be sent there too",
        run: stdout,
    },
    Check {
        name: "inside",
        asks: "writes nothing outside of `output_dir`",
        mend: "write all files, temporary ones too, into the request's output_dir, and leave the inputs as they are",
        run: inside,
    },
];

fn prove(bench: &mut Bench<'_>) -> Outcome {
    let inputs = bench.inputs(0)?;
    match made(bench, inputs) {
        Ok(made) => {
            let note = format!("{} bytes in {}", made.content.len(), span(made.took));
            bench.made[0] = Some(made);
            Ok(note)
        }
        // It did answer; the next check reports how.
        Err((Some(kind), stop)) if is_of_form(kind) => {
            bench.ill_formed = Some(stop);
            Ok("it answers".into())
        }
        Err((_, stop)) => Err(stop),
    }
}

fn is_of_form(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ProtocolViolation | ErrorKind::BadOutput | ErrorKind::OutputTooLarge { .. })
}

/// Proves with the kept process.
fn made(bench: &mut Bench<'_>, inputs: Vec<Input>) -> Result<Made, (Option<ErrorKind>, Stop)> {
    let without_kind = |stop: Stop| (None, stop);
    let request = bench.prove_request(inputs).map_err(without_kind)?;
    let prover = bench.prover().map_err(without_kind)?;
    let began = Instant::now();
    let proved = prover.prove(&request, &Cancel::new()).map_err(|error| (Some(error.kind), error.into()))?;
    let took = began.elapsed();
    let sent_checkpoint = prover.has_sent_checkpoint();
    bench.sends_checkpoints |= sent_checkpoint;
    Made::read(proved, took).map_err(|error| without_kind(error.into()))
}

fn answer(bench: &mut Bench<'_>) -> Outcome {
    if let Some(stop) = bench.ill_formed.take() {
        return Err(stop);
    }
    let ok = &bench.made(0)?.ok;
    let mut facts = Vec::new();
    facts.extend(ok.proof_system.clone());
    facts.extend(ok.verification_key.as_deref().map(|key| format!("key {}", shortened(key))));
    facts.extend(ok.public_values.as_deref().map(|values| format!("claims {}", shortened(values))));
    facts.extend(ok.cycles.map(|cycles| format!("{cycles} cycles")));
    facts.extend(ok.list.map(|list| format!("a list of {}", list.count)));
    Ok(if facts.is_empty() { "nothing but the file".into() } else { facts.join(", ") })
}

fn prove_again(bench: &mut Bench<'_>) -> Outcome {
    let first = bench.made(0)?.content.clone();
    let inputs = bench.inputs(0)?;
    let mut request = bench.prove_request(inputs)?;
    request.attempt = 2;
    let proved = bench.prover()?.prove(&request, &Cancel::new())?;
    let again = Made::read(proved, Default::default())?;
    Ok(if again.content == first { "byte for byte the same" } else { "differs: it is not deterministic" }
        .into())
}

fn prove_other(bench: &mut Bench<'_>) -> Outcome {
    bench.made(0)?;
    let inputs = bench.inputs(1)?;
    let made = made(bench, inputs).map_err(|(_, stop)| stop)?;
    let note = format!("{} bytes in {}", made.content.len(), span(made.took));
    bench.made[1] = Some(made);
    Ok(note)
}

fn stdout(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    bench.made(0)?;
    let inputs = bench.inputs(0)?;
    let request = bench.prove_request(inputs)?;
    let mut prover = bench.start(Surroundings::default())?;
    prover.prove(&request, &Cancel::new())?;
    let (_, lines) = prover.into_session()?.end_watched();
    match lines.first() {
        None => Ok("answers only".into()),
        Some(line) => {
            Err(Stop::failed(format!("after its last answer it wrote {} more: {line:?}", lines.len())))
        }
    }
}

/// Proves in a working folder of its own, with copies of the inputs.
fn inside(bench: &mut Bench<'_>) -> Outcome {
    bench.made(0)?;
    let folder = bench.folder("place")?;
    let [work, temporary, copies] = ["work", "temporary", "inputs"].map(|name| folder.join(name));
    for folder in [&work, &copies] {
        fs::create_dir(folder)?;
    }
    let inputs = copied(&bench.inputs(0)?, &copies)?;
    let before = contents(&inputs)?;
    let surroundings =
        || Surroundings { working_dir: Some(work.clone()), temporary_dir: Some(temporary.clone()) };
    let request = bench.prove_request(inputs.clone())?;
    let elsewhere = |stop: Stop| match stop {
        Stop::Failed { why, .. } => Stop::untried(format!("it fails in another working folder: {why}")),
        other => other,
    };
    let proved = bench
        .start(surroundings())
        .and_then(|mut prover| Ok(prover.prove(&request, &Cancel::new())?))
        .map_err(elsewhere)?;
    if bench.subject.verifier != Verifier::None {
        let made = Made::read(proved, Default::default())?;
        let request = bench.verify_request(&made.content, inputs.clone())?;
        let mut verifier = bench.start_verifier(surroundings()).map_err(elsewhere)?;
        // Another check asks whether it accepts the proof.
        let _ = verifier.verify(&request);
    }
    for (place, what) in [(&work, "its working folder"), (&temporary, "TMPDIR")] {
        let left = names(place)?;
        if !left.is_empty() {
            return Err(Stop::failed(format!("it left {} in {what}", left.join(", "))));
        }
    }
    if names(&copies)?.len() != inputs.len() || contents(&inputs)? != before {
        return Err(Stop::failed("it changed the inputs, or wrote beside them"));
    }
    Ok("working folder, TMPDIR and inputs are as they were".into())
}

fn copied(inputs: &[Input], folder: &Path) -> Result<Vec<Input>, Stop> {
    let mut copies = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let path = folder.join(index.to_string());
        fs::copy(&input.path, &path)?;
        copies.push(Input { path, ..input.clone() });
    }
    Ok(copies)
}

fn contents(inputs: &[Input]) -> Result<Vec<Vec<u8>>, Stop> {
    let read = |input: &Input| fs::read(&input.path).map_err(Stop::from);
    inputs.iter().map(read).collect()
}
