//! Killing: cancelled and late work leaves nothing behind that would hinder the next start.

use std::time::{Duration, Instant};

use super::bench::{Bench, Made, Surroundings, names, span};
use super::{Check, Outcome, Stop};
use crate::message::CancelReason;
use crate::runner::{Cancel, ErrorKind};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "cancelled",
        asks: "leaves nothing behind when it is killed at work, and proves again after it",
        mend: "keep temporary files in output_dir, and no lock or half-written cache that a killed process would leave",
        run: cancelled,
    },
    Check {
        name: "deadline",
        asks: "is gone when its deadline is over",
        mend: "start nothing that is not a child: only those are killed with the prover",
        run: deadline,
    },
];

/// The limits of a running request are checked every 50 ms, so a shorter one may end before it is cancelled.
const LEAST: Duration = Duration::from_millis(200);

/// Half of the time that the proof took.
fn half(made: &Made) -> Result<Duration, Stop> {
    if made.took < LEAST {
        let (took, least) = (span(made.took), span(LEAST));
        return Err(Stop::untried(format!(
            "it proves in {took}, and in less than {least} nothing is interrupted; give it larger inputs"
        )));
    }
    Ok(made.took / 2)
}

fn cancelled(bench: &mut Bench<'_>) -> Outcome {
    let mut after = half(bench.made(0)?)?;
    let temporary = bench.folder("temporary")?;
    let surroundings = || Surroundings { working_dir: None, temporary_dir: Some(temporary.clone()) };
    let inputs = bench.inputs(0)?;
    loop {
        let request = bench.prove_request(inputs.clone())?;
        let mut prover = bench.start(surroundings())?;
        let cancel = Cancel::new();
        cancel.cancel_at(Instant::now() + after, CancelReason::Stopping);
        match prover.prove(&request, &cancel) {
            Err(error) if error.kind == ErrorKind::Cancelled => break,
            Err(error) => return Err(error.into()),
            // The first proof may have taken longer than others do, on a busy machine.
            Ok(_) if after > LEAST / 2 => after /= 2,
            Ok(_) => return Err(Stop::untried("it was done before it was cancelled")),
        }
    }
    bench.all_are_gone()?;
    let left = names(&temporary)?;
    if !left.is_empty() {
        return Err(Stop::failed(format!("killed at work, it left {} in TMPDIR", left.join(", "))));
    }
    let request = bench.prove_request(inputs)?;
    let again =
        bench.start(surroundings()).and_then(|mut prover| Ok(prover.prove(&request, &Cancel::new())?));
    again.map_err(|stop| stop.after("started again after it was killed"))?;
    Ok(format!("killed after {}; it proves again", span(after)))
}

fn deadline(bench: &mut Bench<'_>) -> Outcome {
    let mut after = half(bench.made(0)?)?;
    let inputs = bench.inputs(0)?;
    loop {
        let mut request = bench.prove_request(inputs.clone())?;
        request.deadline_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let mut prover = bench.start(Surroundings::default())?;
        match prover.prove(&request, &Cancel::new()) {
            Err(error) if matches!(error.kind, ErrorKind::TimedOut { .. }) => break,
            Err(error) => return Err(error.into()),
            Ok(_) if after > LEAST / 2 => after /= 2,
            Ok(_) => return Err(Stop::untried("it was done before its deadline")),
        }
    }
    bench.all_are_gone()?;
    Ok(format!("killed after {}", span(after)))
}
