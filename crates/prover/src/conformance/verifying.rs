//! Verifying: another process accepts the good proof, and no other file, input or key.

use std::time::Instant;

use super::bench::{Bench, span};
use super::starting::shortened;
use super::tampering::{Tampering, cut, extended, flipped, random};
use super::{Check, Outcome, Protocol, Stop, Verifier};
use crate::message::{VerifyOk, VerifyRequest};
use crate::runner::ErrorKind;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "verify",
        asks: "accepts its proofs in another process",
        mend: "verify from the files of the request alone: nothing else of the prover's process is there",
        run: verify,
    },
    Check {
        name: "claim",
        asks: "claims the public values that its verifier reads",
        mend: "a proof whose prover claims other values is refused; claim those of the proof, or none",
        run: claim,
    },
    Check {
        name: "claim-system",
        asks: "calls its proofs those of the proof system that its verifier is of",
        mend: "a proof of one system that is called one of another is refused; name the same in `prove` and `verify`",
        run: claim_system,
    },
    Check {
        name: "verify-flipped",
        asks: "refuses a proof with a flipped bit",
        mend: "every byte of the file must count: have one canonical form, and compare or reject what is outside of it",
        run: |bench| refuses_all(bench, flipped),
    },
    Check {
        name: "verify-cut",
        asks: "refuses a proof that is cut off",
        mend: "check the length before anything is read; answer with a permanent error",
        run: |bench| refuses_all(bench, cut),
    },
    Check {
        name: "verify-extended",
        asks: "refuses a proof with something behind it",
        mend: "refuse a file that goes on after the proof",
        run: |bench| refuses_all(bench, extended),
    },
    Check {
        name: "verify-random",
        asks: "refuses random bytes",
        mend: "answer with a permanent error, also where a library panics",
        run: |bench| refuses_all(bench, random),
    },
    Check {
        name: "verify-missing",
        asks: "answers a proof that is not there with an error",
        mend: "answer with an error, and read the next line",
        run: missing,
    },
    Check {
        name: "verify-other",
        asks: "refuses a good proof of other inputs",
        mend: "compute what the inputs say, and compare it with the proof's public values; or any true proof passes",
        run: other,
    },
    Check {
        name: "verify-key",
        asks: "refuses a false verification key",
        mend: "know which keys are accepted, and compare: a true proof of another program is none of this one",
        run: key,
    },
    Check {
        name: "verify-lives-on",
        asks: "accepts the good proof after all these refusals",
        mend: "keep nothing of a proof that was refused",
        run: lives_on,
    },
];

fn verify(bench: &mut Bench<'_>) -> Outcome {
    if bench.subject.verifier == Verifier::None {
        return Err(Stop::untried("it has no verifier"));
    }
    let first = bench.made(0)?.content.clone();
    let (VerifyOk { public_values: values, .. }, took) = accepted(bench, &first, 0)?;
    if let Some(second) = bench.made[1].as_ref().map(|made| made.content.clone()) {
        accepted(bench, &second, 1).map_err(|stop| stop.after("the proof of the second task"))?;
    }
    bench.is_accepted = true;
    Ok(format!("public values {}, {} bytes, in {took}", shortened(&values), values.len() / 2))
}

fn accepted(bench: &mut Bench<'_>, proof: &[u8], task: usize) -> Result<(VerifyOk, String), Stop> {
    let inputs = bench.inputs(task)?;
    let request = bench.verify_request(proof, inputs)?;
    let verifier = bench.verifier()?;
    let began = Instant::now();
    let ok = verifier.verify(&request)?;
    Ok((ok, span(began.elapsed())))
}

fn claim(bench: &mut Bench<'_>) -> Outcome {
    let proof = good(bench)?;
    let (VerifyOk { public_values: read, .. }, _) = accepted(bench, &proof, 0)?;
    match &bench.made(0)?.ok.public_values {
        None => Ok("claims none".into()),
        Some(claimed) if *claimed == read => Ok("the same".into()),
        Some(claimed) => Err(Stop::failed(format!("it claims {claimed}, and its verifier reads {read}"))),
    }
}

fn claim_system(bench: &mut Bench<'_>) -> Outcome {
    let proof = good(bench)?;
    let (read, _) = accepted(bench, &proof, 0)?;
    match (&bench.made(0)?.ok.proof_system, read.proof_system) {
        (None, _) => Ok("calls them nothing".into()),
        (Some(claimed), None) => Ok(format!("{claimed}; its verifier does not say")),
        (Some(claimed), Some(read)) if *claimed == read => Ok(read),
        (Some(claimed), Some(read)) => {
            Err(Stop::failed(format!("it says {claimed}, and its verifier is of {read}")))
        }
    }
}

/// A proof that a verifier accepts.
fn good(bench: &Bench<'_>) -> Result<Vec<u8>, Stop> {
    if bench.subject.verifier == Verifier::None {
        return Err(Stop::untried("it has no verifier"));
    }
    let made = bench.made(0)?;
    if !bench.is_accepted {
        return Err(Stop::untried("its verifier does not accept a good proof"));
    }
    Ok(made.content.clone())
}

fn refuses_all(bench: &mut Bench<'_>, tamper: fn(&[u8]) -> Vec<Tampering>) -> Outcome {
    let proof = good(bench)?;
    let tampered = tamper(&proof);
    for Tampering { what, content } in &tampered {
        let inputs = bench.inputs(0)?;
        let request = bench.verify_request(content, inputs)?;
        refused(bench, &request, &format!("a proof {what}"))?;
    }
    Ok(format!("{} tried", tampered.len()))
}

fn missing(bench: &mut Bench<'_>) -> Outcome {
    good(bench)?;
    let inputs = bench.inputs(0)?;
    let mut request = bench.verify_request(b"", inputs)?;
    request.proof.set_file_name("missing-proof");
    match refused(bench, &request, "a proof that is not there") {
        Err(Refusal { kind: Some(ErrorKind::Transient), .. }) => Ok("a transient error".into()),
        other => {
            other?;
            Ok("a permanent error".into())
        }
    }
}

fn other(bench: &mut Bench<'_>) -> Outcome {
    let proof = good(bench)?;
    let inputs = bench.inputs(1)?;
    let request = bench.verify_request(&proof, inputs)?;
    refused(bench, &request, "a proof of the first task, for the inputs of the second,")?;
    Ok("refused".into())
}

fn key(bench: &mut Bench<'_>) -> Outcome {
    let proof = good(bench)?;
    let Some(key) = bench.made(0)?.ok.verification_key.clone().filter(|key| !key.is_empty()) else {
        let why = match bench.subject.protocol {
            Protocol::Stream => "it names no verification key",
            Protocol::Files(_) => "a files prover cannot name a verification key",
        };
        return Err(Stop::untried(why));
    };
    let inputs = bench.inputs(0)?;
    let false_key: String =
        key.chars().enumerate().map(|(at, digit)| if at == 0 { flip(digit) } else { digit }).collect();
    let mut request = bench.verify_request(&proof, inputs)?;
    request.verification_key = Some(false_key);
    refused(bench, &request, "a proof with a verification key of another program")?;
    Ok("refused".into())
}

fn flip(digit: char) -> char {
    if digit == '0' { '1' } else { '0' }
}

fn lives_on(bench: &mut Bench<'_>) -> Outcome {
    let proof = good(bench)?;
    accepted(bench, &proof, 0)?;
    Ok("accepts it as before".into())
}

/// Why something that must be refused was not, or not in the right way.
struct Refusal {
    kind: Option<ErrorKind>,
    stop: Stop,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        refusal.stop
    }
}

fn refused(bench: &mut Bench<'_>, request: &VerifyRequest, what: &str) -> Result<(), Refusal> {
    let refusal = |kind, why: String, log| Refusal { kind, stop: Stop::Failed { why, log } };
    let verifier = bench.verifier().map_err(|stop| Refusal { kind: None, stop })?;
    match verifier.verify(request) {
        Ok(ok) => {
            let values = shortened(&ok.public_values);
            let why = format!("{what} was accepted, with public values {values}");
            Err(refusal(None, why, verifier.last_log_lines()))
        }
        Err(error) if error.kind == ErrorKind::Permanent => Ok(()),
        Err(error) if error.kind == ErrorKind::Transient => {
            let why = format!(
                "{what} was refused with a transient error ({}); a refusal is permanent",
                error.message
            );
            Err(refusal(Some(error.kind), why, error.log))
        }
        Err(error) => Err(refusal(Some(error.kind), format!("{what}: {}", error.message), error.log)),
    }
}
