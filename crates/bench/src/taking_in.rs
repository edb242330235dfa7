//! How blocks come into the yard that is measured.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::Pipeline;
use proofyard_core::state::{ArtifactRef, Block};
use proofyard_embedded::block_on;
use proofyard_embedded::machine::Machine;

use crate::load::Load;
use crate::{BenchError, Taken};

/// So many blocks are taken in before all steps are taken: a queue of wakes is bounded.
const BLOCKS_A_TURN: u64 = 1_000;

/// Takes in the blocks that are measured, at the load's pace.
pub(crate) fn take_in(
    machine: &Machine,
    load: &Load,
    (pipeline, payload): (&Pipeline, &ArtifactRef),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Taken>, BenchError> {
    let taken = load.feed(stop, |height| record(machine, height, load.segments, (pipeline, payload)))?;
    block_on(machine.yard().record_end(&pipeline.chain.name))?;
    Ok(taken)
}

/// Blocks that were taken in, opened and listed by a machine that is not started.
pub(crate) struct Listed {
    /// The last of them.
    pub taken: Vec<Taken>,
    pub took: Duration,
}

/// Takes in the blocks that are measured and those that stay open, and lists their tasks: this thread acknowledges, another one
/// takes the steps.
pub(crate) fn take_in_and_list(
    machine: &Machine,
    load: &Load,
    (pipeline, payload): (&Pipeline, &ArtifactRef),
    stop: &dyn Fn() -> bool,
) -> Result<Listed, BenchError> {
    let (began, is_over) = (Instant::now(), AtomicBool::new(false));
    let (first, last) = (load.committed + 1, load.committed + load.blocks + load.open);
    let taken = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                machine.take_queued_steps();
                thread::sleep(Duration::from_micros(100));
            }
        });
        let taken: Result<Vec<Taken>, BenchError> = (first..=last)
            .map(|height| {
                if stop() {
                    return Err(BenchError::Interrupted);
                }
                let came = Instant::now();
                record(machine, height, load.segments, (pipeline, payload))?;
                let acknowledged = Instant::now();
                if height.is_multiple_of(BLOCKS_A_TURN) {
                    machine.take_queued_steps();
                }
                Ok((height + load.blocks > last).then_some(Taken { came, acknowledged }))
            })
            .filter_map(Result::transpose)
            .collect();
        is_over.store(true, Ordering::Release);
        taken
    });
    machine.take_queued_steps();
    let opened = block_on(machine.yard().frontier(&pipeline.chain.name))?.opened;
    if opened <= last && !stop() {
        let reason = format!("{} of {last} blocks were opened", opened - 1);
        return Err(BenchError::Stuck { done: 0, tasks: load.tasks(), quiet_s: 0, reason });
    }
    Ok(Listed { taken: taken?, took: began.elapsed() })
}

/// Records one block; it is acknowledged when this returns.
pub(crate) fn record(
    machine: &Machine,
    height: u64,
    segments: u32,
    (pipeline, payload): (&Pipeline, &ArtifactRef),
) -> Result<(), BenchError> {
    let block = Block {
        height,
        hash: height.to_string().into(),
        parent: (height - 1).to_string().into(),
        timestamp_s: height,
        segments,
        fields: std::collections::BTreeMap::default(),
        payload: payload.clone(),
    };
    block_on(machine.yard().record_block(&pipeline.chain.name, &block))?;
    Ok(())
}
