//! Sharing: several processes of the prover on one machine, as in a pool with several slots.

use std::thread;
use std::time::Instant;

use super::bench::{Bench, Made, Process, Surroundings, span};
use super::{Check, Outcome, Stop, Verifier};
use crate::message::ProveRequest;
use crate::runner::{Cancel, Launch};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "side-by-side",
    asks: "proves in several processes at once",
    mend: "share no file, port or lock between processes; wait where a device is busy, or give its pool one slot",
    run: side_by_side,
}];

fn side_by_side(bench: &mut Bench<'_>) -> Outcome {
    bench.made(0)?;
    let count = bench.subject.at_once;
    if count < 2 {
        return Err(Stop::untried("one at once was asked for"));
    }
    // The processes kept from earlier checks would be additional ones.
    bench.all_are_gone()?;
    let mut work = Vec::new();
    for number in 0..count {
        let inputs = bench.inputs(number % bench.subject.tasks.len().max(1))?;
        let launch = bench.launch(&bench.subject.command, Surroundings::default())?;
        work.push((launch, bench.prove_request(inputs)?));
    }
    let began = Instant::now();
    let protocol = bench.subject.protocol;
    let prove = |(launch, request): (Launch, ProveRequest)| -> Result<(ProveRequest, Made), Stop> {
        let proved = Process::start(launch, protocol)?.prove(&request, &Cancel::new())?;
        Ok((request, Made::read(proved, began.elapsed())?))
    };
    let done: Vec<Result<(ProveRequest, Made), Stop>> = thread::scope(|scope| {
        let threads: Vec<_> = work.into_iter().map(|one| scope.spawn(move || prove(one))).collect();
        let panicked = || Err(Stop::failed("the kit's own thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
    });
    let took = began.elapsed();
    for made in done {
        let (request, made) = made.map_err(|stop| stop.after(&format!("one of {count} at once")))?;
        if bench.is_accepted && bench.subject.verifier != Verifier::None {
            let request = bench.verify_request(&made.content, request.inputs)?;
            let verified = bench.verifier()?.verify(&request);
            verified
                .map_err(|error| Stop::from(error).after(&format!("the proof of one of {count} at once")))?;
        }
    }
    Ok(format!("{count} at once, in {}", span(took)))
}
