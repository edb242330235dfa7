//! Killing: cancelled and late work leaves nothing behind that would hinder the next start.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::bench::{Bench, Made, Surroundings, confirmed, names, span};
use super::starting::shortened;
use super::{Check, Outcome, Stop};
use crate::message::CancelReason;
use crate::runner::{Cancel, ErrorKind, Listener};

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
    Check {
        name: "resumes",
        asks: "killed after its first checkpoint and started again, proves with what it had kept",
        mend: "`resume` is a hint: find the job that it names, or begin anew where it is gone",
        run: resumes,
    },
    Check {
        name: "winds-up",
        asks: "cancelled at work, answers within the grace period, and proves again afterwards",
        mend: "answer the request soon after `cancel`, with whatever, and wait for the next one; or do not say `cancel` in setup",
        run: winds_up,
    },
];

/// The limits of a running request are checked every 50 ms, so a shorter one may end before it is cancelled.
const LEAST: Duration = Duration::from_millis(200);

const NO_CHECKPOINT: &str = "it sends no checkpoint";

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
        let mut prover = bench.start(surroundings())?.killed_when_cancelled();
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

/// Takes the first checkpoint and has the prover killed at it.
struct KillsAtCheckpoint<'a> {
    cancel: &'a Cancel,
    kept: Option<String>,
}

impl Listener for KillsAtCheckpoint<'_> {
    fn checkpoint(&mut self, text: String) -> Receiver<()> {
        self.kept.get_or_insert(text);
        self.cancel.cancel(CancelReason::Stopping);
        confirmed()
    }
}

fn resumes(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    bench.made(0)?;
    if !bench.sends_checkpoints {
        return Err(Stop::untried(NO_CHECKPOINT));
    }
    let inputs = bench.inputs(0)?;
    let mut request = bench.prove_request(inputs.clone())?;
    let cancel = Cancel::new();
    let mut listener = KillsAtCheckpoint { cancel: &cancel, kept: None };
    let mut session = bench.start(Surroundings::default())?.killed_when_cancelled().into_session()?;
    let ended = session.prove_heard(&request, &cancel, &mut listener);
    let Some(kept) = listener.kept else {
        ended?;
        return Err(Stop::untried(NO_CHECKPOINT));
    };
    let again = bench.prove_request(inputs)?;
    (request.attempt, request.output_dir, request.resume) = (2, again.output_dir, Some(kept.clone()));
    let resumed = bench
        .start(Surroundings::default())
        .and_then(|mut prover| Ok(prover.prove(&request, &Cancel::new())?));
    resumed.map_err(|stop| stop.after("started again with what it had kept"))?;
    Ok(format!("resumes from {:?}", shortened(&kept)))
}

fn winds_up(bench: &mut Bench<'_>) -> Outcome {
    bench.needs_stream()?;
    let after = half(bench.made(0)?)?;
    let inputs = bench.inputs(0)?;
    let request = bench.prove_request(inputs.clone())?;
    let mut prover = bench.start(Surroundings::default())?;
    if !prover.hears_cancels() {
        return Err(Stop::untried("its setup does not say that it hears of cancels"));
    }
    let (cancel, began) = (Cancel::new(), Instant::now());
    cancel.cancel_at(began + after, CancelReason::Unwanted);
    match prover.prove(&request, &cancel) {
        Err(error) if error.kind == ErrorKind::Cancelled => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(Stop::untried("it was done before it was cancelled")),
    }
    let took = began.elapsed().saturating_sub(after);
    if !prover.is_usable() {
        let grace = span(Duration::from_millis(bench.subject.limits.grace_ms));
        return Err(Stop::failed(format!("it did not answer within {grace} of a cancel")));
    }
    let request = bench.prove_request(inputs)?;
    prover
        .prove(&request, &Cancel::new())
        .map_err(|error| Stop::from(error).after("asked again after a cancel"))?;
    Ok(format!("answers {} after a cancel, and proves again", span(took)))
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
