//! The threads that advance: those that take the steps that wakes ask for, and the sweeper, which visits what is due.

use std::thread;
use std::time::{Duration, Instant};

use proofyard_worker::WorkerHome;

use super::shared::Shared;
use crate::block_on;

/// How often the sweeper sweeps; items that are not due yet cost it nothing.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How long one sweep may take; the next one continues where it stopped.
const SWEEP_FOR_MS: u64 = 1_000;
/// A sweep rests so many times as long as it took: with many open blocks most of what is due is quiet, and those who work need
/// the processors and the writer.
const SWEEP_RESTS: u32 = 3;

/// How many threads take steps. Steps of different scopes run in parallel; more threads than processors would only cause
/// conflicts.
pub(super) fn advancers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Takes the steps that wakes ask for, until the machine stops.
pub(super) fn advance(shared: &Shared) {
    while let Some(wake) = shared.wakes.wait_for_step() {
        shared.take_steps(&wake);
    }
}

/// Visits what is due, until the machine stops.
pub(super) fn sweep(shared: &Shared) {
    let mut rest = SWEEP_EVERY;
    while shared.pause(rest) {
        let began = Instant::now();
        match block_on(shared.yard.sweep_within(SWEEP_FOR_MS)) {
            Ok(swept) => {
                for (key, error) in &swept.errors {
                    shared.log_error(&format!("visit to {key}"), error);
                }
            }
            Err(error) => shared.log_error("sweep", &error),
        }
        rest = SWEEP_EVERY.max(began.elapsed() * SWEEP_RESTS);
    }
}
