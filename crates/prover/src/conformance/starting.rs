//! Starting: keys are loaded, and the prover ends when its stdin does.

use std::time::Instant;

use super::bench::{Bench, Process, Surroundings, span};
use super::{Check, Outcome, Stop};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "setup",
        asks: "answers `setup`",
        mend: "read one line of JSON from stdin and answer it with one line that has its `id` and `ok`; flush after it",
        run: setup,
    },
    Check {
        name: "ends",
        asks: "ends when its stdin ends",
        mend: "leave the loop at the end of stdin, and end within 2 s; what goes on is killed",
        run: ends,
    },
];

fn setup(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    let began = Instant::now();
    let prover = bench.prover()?;
    let mut facts = vec![format!("in {}", span(began.elapsed()))];
    let Process::Stream { setup, .. } = prover else { return Ok(facts.join(", ")) };
    facts.extend(setup.proof_system.clone());
    facts.extend(setup.security_bits.map(|bits| format!("{bits} bits")));
    facts.extend(setup.verification_key.as_deref().map(|key| format!("key {}", shortened(key))));
    Ok(facts.join(", "))
}

fn ends(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    let session = bench.start(Surroundings::default())?.into_session()?;
    let began = Instant::now();
    let (by_itself, _) = session.end_watched();
    if by_itself {
        return Ok(format!("in {}", span(began.elapsed())));
    }
    Err(Stop::failed(format!("it was killed after {}", span(began.elapsed()))))
}

/// The start of a long value.
pub(super) fn shortened(hex: &str) -> String {
    match hex.get(..12) {
        Some(start) if hex.len() > 16 => format!("{start}…"),
        _ => hex.to_owned(),
    }
}
