//! How long a yard that was killed with 10,000 open tasks takes from its next start to its first claim.
//!
//! `cargo run --release -p proofyard-faults --example restart_time`

#![allow(clippy::unwrap_used, reason = "a measurement, not a product")]

use std::fs;
use std::time::{Duration, Instant};

use proofyard_faults::{BlocksFile, Place, State, ToyPipeline, processes, program, wait_for};
use rusqlite::{Connection, OpenFlags};

const OPEN_TASKS: i64 = 10_000;
const RESTARTS: usize = 20;

/// Each block is cut into 2,500 tasks, whose provers never answer.
const PIPELINE: &str = r#"
[chain]
name = "faults"
start_height = 1
window = 4

[stage.partition]
strategy = "match"
from = "block"
output = "data"
prover = "partition"
pool = "partition"

[stage.segment]
strategy = "split"
from = "partition"
prover = "segment"
pool = "segment"
max_losses = 10000

[stage.join]
strategy = "match"
from = "segment"
prover = "segment"
pool = "segment"

[prover.partition]
command = ["TOY", "--list", "2500"]

[prover.segment]
command = ["TOY", "--hang"]

[pool.partition]
slots = 1

[pool.segment]
slots = 2

[sink.blocks]
file = "blocks.jsonl"
"#;

fn main() {
    let place = Place::new(ToyPipeline::default(), &BlocksFile::Chain.lines()[..4]);
    let toy = program("proofyard-toy-prover");
    fs::write(place.path("pipeline.toml"), PIPELINE.replace("TOY", toy.to_str().unwrap())).unwrap();
    let mut yard = place.start();
    let listed = "SELECT count(*) FROM items WHERE partition = 'R#segment#faults#0'";
    wait_for("the tasks", || (count(&place, listed)? + 2 >= OPEN_TASKS).then_some(()));
    yard.kill();
    processes::wait_for_none(place.mark());
    let state = State::read(&place.data_dir()).unwrap();
    println!("{} tasks are open", state.markers.len());
    let mut times: Vec<_> = (0..RESTARTS).map(|_| restart(&place)).collect();
    times.sort_unstable();
    let (first, median, last) = (times[0], times[RESTARTS / 2], times[RESTARTS - 1]);
    println!(
        "from start to first claim, {RESTARTS} restarts: least {first:?}, median {median:?}, most {last:?}"
    );
}

/// From the process's start to the first slot that its own worker has filled; killed again then.
fn restart(place: &Place) -> Duration {
    let started = Instant::now();
    let mut yard = place.start();
    let held = format!(
        "SELECT count(*) FROM items WHERE partition LIKE 'W#local-segment-{}-%' AND sort LIKE 'slot#%'",
        yard.pid()
    );
    wait_for("a claim", || (count(place, &held)? > 0).then_some(()));
    let took = started.elapsed();
    yard.kill();
    processes::wait_for_none(place.mark());
    took
}

/// None while there is nothing to look at.
fn count(place: &Place, query: &str) -> Option<i64> {
    let database = place.data_dir().join("state.db");
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.query_row(query, [], |row| row.get(0)).ok()
}
