//! What dispatching costs on this machine, beside the disk's own sync at the same pace in the same run:
//!
//! ```text
//! cargo build --release -p proofyard-prover
//! cargo run --release -p proofyard-embedded --example dispatch_bench -- [DIR] [TASKS_A_SECOND] [SECONDS]
//! ```
//!
//! Blocks of one task each come at a steady rate; the prover does nothing. Overhead is all that a task waits for
//! except prover and verifier: from the block's acknowledgement to the claim, and the slot's time around the prover.

use std::collections::HashMap;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofyard_core::state::{Block, NamedScope};
use proofyard_embedded::block_on;
use proofyard_embedded::machine::{GuardCommand, Machine};
use proofyard_worker::isolation::Isolation;

const PIPELINE: &str = r#"
[chain]
name = "bench"
start_height = 1
window = 1000000

[stage.task]
strategy = "match"
from = "block"
prover = "nothing"
pool = "cpu"

[prover.nothing]
command = ["proofyard-toy-prover"]

[pool.cpu]
slots = 2
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let rate: u32 = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let seconds: u32 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let dir = tempfile::tempdir_in(&parent)?;
    println!("{rate} tasks/s for {seconds} s in {}", parent.display());
    row("disk: fdatasync of 4 KiB, before", syncs(dir.path(), rate)?);
    let Times { acks, waits, slots, overheads } = dispatch(dir.path(), rate, seconds)?;
    row("disk: fdatasync of 4 KiB, after", syncs(dir.path(), rate)?);
    row("durable acknowledgement of a block", acks);
    row("from there until its task is claimed", waits);
    row("the claimed task's slot, without provers", slots);
    row("overhead of a task: both", overheads);
    Ok(())
}

struct Times {
    acks: Vec<Duration>,
    /// Zero if the task was claimed before its block's acknowledgement returned.
    waits: Vec<Duration>,
    slots: Vec<Duration>,
    overheads: Vec<Duration>,
}

fn dispatch(dir: &Path, rate: u32, seconds: u32) -> Result<Times, Box<dyn Error>> {
    let mut machine = Machine::open(&dir.join("yard"), true, |error| eprintln!("{error}"))?;
    let pipeline = block_on(machine.yard().record_pipeline(PIPELINE))?;
    machine.start(std::slice::from_ref(&pipeline), &guard()?, Isolation::nothing(), dir)?;
    let payload = machine.artifacts().put_bytes(br#"{"block":{}}"#)?;
    let (mut sent, mut acks) = (HashMap::new(), Vec::new());
    let (started, pause) = (Instant::now(), Duration::from_secs(1) / rate);
    let mut parent = "0".to_owned();
    for height in 1..=u64::from(rate * seconds) {
        let due = started + pause * u32::try_from(height)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (hash, timestamp_s) = (height.to_string(), height * 12);
        let (segments, fields) = (1, Default::default());
        let block = Block {
            height,
            hash: hash.clone(),
            parent,
            timestamp_s,
            segments,
            fields,
            payload: payload.clone(),
        };
        let asked = Instant::now();
        block_on(machine.yard().record_block("bench", &block))?;
        acks.push(asked.elapsed());
        sent.insert(hash.clone(), Instant::now());
        parent = hash;
    }
    block_on(machine.yard().record_end("bench"))?;
    let last = u64::from(rate * seconds);
    while block_on(machine.yard().frontier("bench"))?.height <= last {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut waits, mut slots, mut overheads) = (Vec::new(), Vec::new(), Vec::new());
    for sample in machine.overheads().samples() {
        let Some(NamedScope::Block { hash, .. }) = sample.task.scope.named() else {
            return Err("a task of no block".into());
        };
        let acknowledged = sent.get(hash).ok_or("a task of no block")?;
        let waited = sample.claimed.saturating_duration_since(*acknowledged);
        waits.push(waited);
        slots.push(sample.working);
        overheads.push(waited + sample.working);
    }
    machine.stop()?;
    Ok(Times { acks, waits, slots, overheads })
}

/// The guard and the toy prover stand beside this example's folder.
fn guard() -> Result<GuardCommand, Box<dyn Error>> {
    let here = std::env::current_exe()?;
    let program = here.ancestors().nth(2).ok_or("no target folder")?.join("proofyard-guard");
    Ok(GuardCommand { program, leading_arguments: Vec::new() })
}

/// At that pace, since a disk, as a processor, is slower when it has just rested.
fn syncs(dir: &Path, rate: u32) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        std::thread::sleep(Duration::from_secs(1) / rate);
        let since = Instant::now();
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        times.push(since.elapsed());
    }
    Ok(times)
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let ms = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0);
    println!("{what:40} P50 {:8.3} ms  P99 {:8.3} ms  ({} samples)", ms(at(50)), ms(at(99)), times.len());
}
