//! The power goes at every moment that the outside can see, and what it saw is still true; a full disk is waited out.

use std::collections::BTreeSet;

use proofyard_core::state::OutEntry;
use proofyard_faults::{BlocksFile, Ended, Place, ToyPipeline, Witness, final_chain, processes, wait_for};
use proofyard_lossy_disk::{LossyDisk, Unsynced};

/// So many more lines in the sinks' files, each time.
const LINES_A_LIFE: [usize; 4] = [1, 1, 2, 3];
const BLOCKS: usize = 24;

const PATIENT: &[&str] =
    &["max_attempts = 1000", "max_losses = 10000", "max_crashes = 1000", "backoff_ms = 100"];

fn place_on(disk: &LossyDisk, limits: &[&'static str]) -> Place {
    let limits = limits.to_vec();
    let toy = ["--work-ms", "40"].map(str::to_owned).to_vec();
    let pipeline = ToyPipeline { toy, range: Some(2), limits, ..ToyPipeline::default() };
    let place = Place::within(disk.directory(), pipeline, &BlocksFile::Chain.lines()[..BLOCKS]);
    disk.settle();
    place
}

#[test]
fn what_the_outside_saw_outlives_a_power_loss() {
    let mut disk = LossyDisk::new();
    let mut place = place_on(&disk, PATIENT);
    let sinks = place.pipeline.sinks();
    let mut losses = 0;
    loop {
        let mut yard = place.start_with(|command| disk.preload(command.arg("--json")));
        let lines = || sinks.iter().map(|(sink, _)| place.sink_lines(sink).len()).sum::<usize>();
        let wanted = lines() + LINES_A_LIFE[losses % LINES_A_LIFE.len()];
        let seen = || lines() >= wanted;
        let ended = wait_for("more lines", || yard.ended().or_else(|| seen().then(|| yard.kill())));
        processes::wait_for_none(place.mark());
        if ended == Ended::Code(0) {
            break;
        }
        let handed: Vec<_> = sinks.iter().flat_map(|(sink, _)| place.sink_entries(sink)).collect();
        disk.lose_power(if losses % 3 == 0 { Unsynced::Lost } else { Unsynced::Mixed(mix(losses)) });
        place.move_to(disk.directory());
        disk.settle();
        losses += 1;
        let state = Witness::default().look(&place).unwrap();
        for entry in handed.iter().chain(&told(&place)) {
            let left = state.out_log(&entry.log).get(entry.sequence as usize);
            assert_eq!(left, Some(entry), "loss {losses}: it was seen outside");
        }
    }
    println!("{losses} power losses");
    let state = Witness::default().look(&place).unwrap();
    assert_eq!(state.committed(), final_chain(&BlocksFile::Chain.lines()[..BLOCKS]));
    assert!(losses >= BLOCKS / 4, "{losses} losses only");
}

fn mix(losses: usize) -> u64 {
    (losses as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What progress lines said of commits.
fn told(place: &Place) -> Vec<OutEntry> {
    let log = place.log();
    let events = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    events
        .filter(|event| event["event"] == "committed")
        .map(|event| serde_json::from_value(event["entry"].clone()).unwrap())
        .collect()
}

#[test]
fn a_full_disk_is_told_and_waited_out() {
    let disk = LossyDisk::new();
    let place = place_on(&disk, PATIENT);
    let mut yard = place.start_with(|command| disk.preload(command));
    wait_for("the first commit", || (!place.sink_lines("blocks").is_empty()).then_some(()));
    disk.set_full(true);
    wait_for("a word about disk space", || place.log().contains("disk space").then_some(()));
    assert_eq!(yard.ended(), None, "{}", place.log());
    disk.set_full(false);
    assert_eq!(yard.wait(), Ended::Code(0), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    assert_eq!(state.committed(), final_chain(&BlocksFile::Chain.lines()[..BLOCKS]));
}

/// Where only proofs find no room, that is no failure of any prover, and nothing parks.
#[test]
fn a_full_disk_for_proofs_alone_is_no_failure_of_a_prover() {
    let disk = LossyDisk::new();
    let place = place_on(&disk, &["max_attempts = 1"]);
    let mut yard = place.start_with(|command| disk.preload(command));
    wait_for("the first commit", || (!place.sink_lines("blocks").is_empty()).then_some(()));
    disk.set_full_in("/artifacts/");
    wait_for("a word about the slot", || place.log().contains("slot 0 of pool").then_some(()));
    assert_eq!(yard.ended(), None, "{}", place.log());
    disk.set_full(false);
    assert_eq!(yard.wait(), Ended::Code(0), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    assert_eq!(state.committed(), final_chain(&BlocksFile::Chain.lines()[..BLOCKS]));
    assert!(state.tasks.values().all(|task| task.failures() == 0 && task.losses() == 0));
}

/// It dies on the full disk, is started there in vain, and goes on once there is room.
#[test]
fn a_start_on_a_full_disk_breaks_nothing() {
    let disk = LossyDisk::new();
    let place = place_on(&disk, PATIENT);
    let mut witness = Witness::default();
    let mut yard = place.start_with(|command| disk.preload(command));
    wait_for("the first commit", || (!place.sink_lines("blocks").is_empty()).then_some(()));
    disk.set_full(true);
    yard.kill();
    witness.look(&place);
    let refusals: BTreeSet<_> =
        (0..3).map(|_| format!("{:?}", place.start_with(|command| disk.preload(command)).wait())).collect();
    assert!(!refusals.contains("Code(0)"), "{refusals:?}");
    witness.look(&place);
    disk.set_full(false);
    assert_eq!(place.start_with(|command| disk.preload(command)).wait(), Ended::Code(0), "{}", place.log());
    assert!(witness.look(&place).unwrap().is_all_committed());
}
