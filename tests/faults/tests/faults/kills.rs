//! SIGKILL, of the yard at every boundary of its handlers and at any time, and of single provers: started again on the
//! same directory, the yard ends by itself, and at no moment was a promise broken.

use std::collections::BTreeMap;
use std::time::Duration;

use proofyard_embedded::crash_point::boundaries;
use proofyard_faults::replay::replay;
use proofyard_faults::{
    BlocksFile, Ended, Place, RunningYard, State, ToyPipeline, Witness, final_chain, processes, wait_for,
};
use rustix::process::Signal;

/// Reached only when a block arrives while a reorg is being written; the simulation reaches it at will. If it was
/// hit, that is printed all the same. What level sinks are told is written only where there are some: a yard of theirs is
/// killed at those steps by the tests of `crates/notify`.
const BY_CHANCE: &[&str] = &["append", "block told", "blocks settled"];
const REORG: &[&str] = &["reorg", "reorg page", "void cuts", "reorg end"];
/// A worker lets go of an orphan's task only if it had claimed it again before the reorg was read; and while the yard is
/// killed at one of a reorg's steps, another of its threads may take the next ones. So often the chain goes there and back
/// at most until each was hit.
const MOST_ROUNDS: usize = 30;
const LEAST_KILLS: u32 = 50;
/// A yard that never gives up, since it is killed so often.
const PATIENT: &[&str] =
    &["max_attempts = 1000", "max_losses = 10000", "max_crashes = 1000", "backoff_ms = 10"];

/// One fault, in one start of the yard.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// Before or after the n-th commit of this kind.
    At(&'static str, u32, &'static str),
    AfterMs(u64),
    /// So many of its prover and guard processes, one after the other.
    Provers(u32),
}

fn sides(
    boundaries: impl IntoIterator<Item = &'static str>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    boundaries.into_iter().flat_map(|boundary| [(boundary, "before"), (boundary, "after")])
}

fn both_sides(boundaries: &[&'static str], time: u32) -> Vec<Kill> {
    sides(boundaries.iter().copied()).map(|(boundary, side)| Kill::At(boundary, time, side)).collect()
}

/// Times spread over a yard's start and first work; which they are does not matter.
fn at_any_time(count: u64) -> Vec<Kill> {
    (0..count).map(|n| Kill::AfterMs(n * 37 % 250)).collect()
}

/// What the file grows by, the kills, and when it is done.
struct Phase {
    lines: Vec<String>,
    kills: Vec<Kill>,
    done: Done,
}

enum Done {
    /// The yard ends by itself.
    Ended,
    /// Everything below this height is handed on to every sink; the next block's prover hangs.
    StandsAt(u64),
}

/// How often the yard died where.
#[derive(Default)]
struct Tally {
    at: BTreeMap<(&'static str, &'static str), u32>,
    at_any_time: u32,
    provers: u32,
}

impl Tally {
    fn count(&self) -> u32 {
        self.at.values().sum::<u32>() + self.at_any_time + self.provers
    }

    fn hit(&self, boundary: &'static str, side: &'static str) -> bool {
        self.at.contains_key(&(boundary, side))
    }

    fn print(&self) {
        println!(
            "{} kills: {} at any time, {} of provers, and at boundaries",
            self.count(),
            self.at_any_time,
            self.provers
        );
        for ((boundary, side), times) in &self.at {
            println!("{times:4} {side:6} {boundary}");
        }
    }
}

#[test]
fn a_yard_that_is_killed_anywhere_keeps_every_promise() {
    let mut tally = Tally::default();
    failing_provers(&mut tally);
    there_and_back_again(&mut tally);
    tally.print();
    let wanted = boundaries().into_iter().filter(|name| !BY_CHANCE.contains(name));
    let missed: Vec<_> = sides(wanted).filter(|(name, side)| !tally.hit(name, side)).collect();
    assert!(missed.is_empty(), "never killed at {missed:?}");
    assert!(tally.count() >= LEAST_KILLS);
}

/// A straight chain whose provers fail now and then.
fn failing_provers(tally: &mut Tally) {
    let toy = ["--work-ms", "60", "--fail-rate", "0.15"].map(str::to_owned).to_vec();
    let pipeline = ToyPipeline { toy, limits: PATIENT.to_vec(), audit: true, ..ToyPipeline::default() };
    // In the order of a yard's life: what is passed does not come again.
    let starting = ["pipeline", "local workers", "worker", "expiry", "expired", "block", "feed"];
    let working = [
        "heartbeat",
        "open",
        "tasks",
        "claim",
        "loss",
        "result",
        "decide",
        "commit",
        "sink",
        "failure",
        "list again",
        "settle",
    ];
    let mut kills = both_sides(&starting, 1);
    kills.extend(both_sides(&["block", "feed"], 5));
    kills.extend(both_sides(&["end"], 1));
    kills.extend(both_sides(&working, 1));
    kills.extend(both_sides(&["open", "claim", "result", "decide", "commit", "sink"], 2));
    kills.extend(at_any_time(12));
    kills.push(Kill::Provers(12));
    let lines = BlocksFile::Chain.lines();
    Run::new(pipeline).pass(Phase { lines, kills, done: Done::Ended }, tally);
}

/// Branch A, B, A, B and so on: on A, block 9 is never proved. Ranges of two blocks are proved after their commit.
fn there_and_back_again(tally: &mut Tally) {
    let lines = BlocksFile::Reorg.lines();
    let hash = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["block"]["hash"].as_str().unwrap().to_owned()
    };
    let toy = ["--hang", "--only", &hash(&lines[8])].map(str::to_owned).to_vec();
    let pipeline = ToyPipeline { toy, limits: PATIENT.to_vec(), range: Some(2), ..ToyPipeline::default() };
    let back_to = |line: &str| vec![format!("{{\"reorg\":\"{}\"}}", hash(line))];
    let (tip_a, tip_b) = (back_to(&lines[9]), back_to(lines.last().unwrap()));
    let on_a = |lines: &[String], kills| Phase { lines: lines.to_vec(), kills, done: Done::StandsAt(9) };
    let on_b = |lines: &[String], kills| Phase { lines: lines.to_vec(), kills, done: Done::Ended };
    let mut run = Run::new(pipeline);
    for phase in [
        on_a(&lines[..10], both_sides(&["cut", "emit"], 1)),
        on_b(&lines[10..], vec![Kill::At("emit", 2, "before")]),
        on_a(&tip_a, both_sides(REORG, 1)),
        on_b(&tip_b, at_any_time(12)),
        on_a(&tip_a, at_any_time(12)),
        on_b(&tip_b, Vec::new()),
    ] {
        run.pass(phase, tally);
    }
    for _ in 0..MOST_ROUNDS {
        let wanted = REORG.iter().copied().chain(["release"]);
        let Some((boundary, side)) = sides(wanted).find(|(name, side)| !tally.hit(name, side)) else { break };
        let kill = vec![Kill::At(boundary, 1, side)];
        let (there, back) = if REORG.contains(&boundary) { (kill, Vec::new()) } else { (Vec::new(), kill) };
        run.pass(on_a(&tip_a, there), tally);
        run.pass(on_b(&tip_b, back), tally);
    }
    // While the chain is paused nobody claims the task of A's block 9, and the next claim meets an orphan's listing.
    run.pass(on_a(&tip_a, Vec::new()), tally);
    run.place.operate("pause");
    run.write(&tip_b);
    strike(&run.place, Kill::At("reorg end", 1, "after"), &Done::Ended, tally);
    run.place.operate("resume");
    run.pass(on_b(&[], both_sides(&["unlist"], 1)), tally);
}

/// One yard's life.
struct Run {
    place: Place,
    lines: Vec<String>,
    witness: Witness,
}

impl Run {
    fn new(pipeline: ToyPipeline) -> Self {
        Self { place: Place::new(pipeline, &[]), lines: Vec::new(), witness: Witness::default() }
    }

    fn write(&mut self, lines: &[String]) {
        self.lines.extend_from_slice(lines);
        self.place.write_blocks(&self.lines);
    }

    fn pass(&mut self, phase: Phase, tally: &mut Tally) {
        self.write(&phase.lines);
        for kill in &phase.kills {
            strike(&self.place, *kill, &phase.done, tally);
            self.witness.look(&self.place);
        }
        go_on(&self.place, &phase.done);
        let state = self.witness.look(&self.place).unwrap();
        match phase.done {
            Done::Ended => look_at_the_end(&self.place, &state, &final_chain(&self.lines)),
            Done::StandsAt(height) => assert_eq!(state.frontier.height, height),
        }
    }
}

/// Starts the yard, and lets the fault happen.
fn strike(place: &Place, kill: Kill, done: &Done, tally: &mut Tally) {
    match kill {
        Kill::At(boundary, time, side) => {
            let point = format!("{boundary}:{time}:{side}");
            let mut yard = place.start_with(|command| _ = command.env("PROOFYARD_CRASH_AT", &point));
            match wait_for(&point, || {
                yard.ended().or_else(|| stands(place, done).then(|| yard.kill_after(Duration::from_secs(1))))
            }) {
                Ended::Killed if stands(place, done) => {}
                Ended::Killed => *tally.at.entry((boundary, side)).or_default() += 1,
                Ended::Code(0) => {}
                ended => panic!("{ended:?} instead of {point}:\n{}", place.log()),
            }
        }
        Kill::AfterMs(time) => match place.start().kill_after(Duration::from_millis(time)) {
            Ended::Killed => tally.at_any_time += 1,
            ended => assert_eq!(ended, Ended::Code(0), "{}", place.log()),
        },
        Kill::Provers(count) => tally.provers += kill_provers(place, count),
    }
}

/// One after each commit, since a task that fails again and again waits longer and longer. Ends with the yard's own
/// end.
fn kill_provers(place: &Place, count: u32) -> u32 {
    let mut yard = place.start();
    let commits = || place.sink_lines("blocks").len();
    let (mut killed, mut next) = (0, commits());
    let ended = wait_for("the yard's end", || {
        if killed < count && commits() >= next {
            let provers = processes::marked(place.mark()).into_iter().filter(|pid| *pid != yard.pid());
            if let Some(prover) = provers.max() {
                processes::send(prover, Signal::KILL);
                (killed, next) = (killed + 1, commits() + 1);
            }
        }
        yard.ended()
    });
    assert_eq!(ended, Ended::Code(0), "{}", place.log());
    killed
}

/// Lets the yard do the rest of the phase.
fn go_on(place: &Place, done: &Done) {
    let mut yard: RunningYard = place.start();
    match done {
        Done::Ended => assert_eq!(yard.wait(), Ended::Code(0), "{}", place.log()),
        Done::StandsAt(_) => {
            wait_for("everything below the block that hangs", || stands(place, done).then_some(()));
            yard.kill();
        }
    }
}

/// Whether all that can be handed on was.
fn stands(place: &Place, done: &Done) -> bool {
    let Done::StandsAt(height) = done else { return false };
    let reaches =
        |sink: &str| replay(&place.sink_entries(sink), 1).last().is_some_and(|last| last.to + 1 == *height);
    place.pipeline.sinks().iter().all(|(sink, _)| reaches(sink))
}

/// Everything is committed and handed on, and it is the file's chain.
fn look_at_the_end(place: &Place, state: &State, chain: &[(u64, String)]) {
    assert!(state.is_all_committed(), "{:?} {:?}", state.tip, state.frontier);
    assert_eq!(state.committed(), chain);
    assert!(state.parked().is_empty());
    for (sink, log) in place.pipeline.sinks() {
        let entries = place.sink_entries(sink);
        assert_eq!(entries, state.out_log(log));
        let last = replay(&entries, 1).pop().unwrap();
        assert_eq!((last.to, last.hash), *chain.last().unwrap());
    }
}

/// A machine that slept beyond its leases: the worker finds itself dead, and goes on under a new id.
#[test]
fn a_yard_that_was_suspended_goes_on() {
    let toy = ["--work-ms", "50"].map(str::to_owned).to_vec();
    let lines = &BlocksFile::Chain.lines()[..12];
    let place = Place::new(ToyPipeline { toy, ..ToyPipeline::default() }, lines);
    let mut yard = place.start();
    for commits in [1, 3, 5] {
        wait_for("commits", || (place.sink_lines("blocks").len() >= commits).then_some(()));
        processes::send(yard.pid(), Signal::STOP);
        std::thread::sleep(Duration::from_millis(3 * ToyPipeline::LEASE_MS));
        processes::send(yard.pid(), Signal::CONT);
    }
    assert_eq!(yard.wait(), Ended::Code(0), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    look_at_the_end(&place, &state, &final_chain(lines));
}

/// What a verifier was asked about when the yard died is still there: it is asked again, and nothing is proved again.
#[test]
fn a_proof_that_was_being_verified_is_taken_up() {
    let toy = ["--work-ms", "150", "--log", "{place}/made", "--verb", "verify", "--hang"];
    let toy = [&toy[..], &["--times", "1", "--state", "{place}/state"]].concat();
    let toy = toy.into_iter().map(str::to_owned).collect();
    let lines = &BlocksFile::Chain.lines()[..2];
    let place = Place::new(ToyPipeline { toy, slots: 1, ..ToyPipeline::default() }, lines);
    let mut yard = place.start();
    let outside = |name: &str| std::fs::read_to_string(std::path::Path::new(place.mark()).join(name));
    wait_for("a verifier that hangs", || outside("state").is_ok_and(|count| count == "1").then_some(()));
    yard.kill();
    processes::wait_for_none(place.mark());
    assert_eq!(place.start().wait(), Ended::Code(0), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    look_at_the_end(&place, &state, &final_chain(lines));
    let made = outside("made").unwrap();
    let mut tasks: Vec<&str> = made.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    let proved = tasks.len();
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!((proved, tasks.len()), (state.tasks.len(), state.tasks.len()), "{made}");
    let aside = std::fs::read_dir(place.data_dir().join("artifacts/aside")).unwrap();
    assert_eq!(aside.count(), 0, "what is recorded is not kept twice");
}

/// The job that a prover had written down when the yard died is the one that the task's next attempt takes up.
#[test]
fn a_job_that_was_in_work_when_the_yard_died_is_found_again() {
    let toy =
        ["--checkpoint", "job", "--log", "{place}/log", "--hang", "--times", "1", "--state", "{place}/state"];
    let toy = toy.into_iter().map(str::to_owned).collect();
    let lines = &BlocksFile::Chain.lines()[..2];
    let place = Place::new(ToyPipeline { toy, slots: 1, ..ToyPipeline::default() }, lines);
    let outside = |name: &str| std::fs::read_to_string(std::path::Path::new(place.mark()).join(name));
    let mut yard = place.start();
    wait_for("a job", || outside("state").is_ok_and(|count| count == "1").then_some(()));
    yard.kill();
    processes::wait_for_none(place.mark());
    assert_eq!(place.start().wait(), Ended::Code(0), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    look_at_the_end(&place, &state, &final_chain(lines));
    let log = outside("log").unwrap();
    let of_verb = |verb: &str| log.lines().filter(|line| line.starts_with(verb)).collect::<Vec<_>>();
    let jobs = of_verb("checkpoint");
    assert_eq!(jobs.len(), state.tasks.len(), "each task has one job: {log}");
    let (_, hung) = jobs[0].split_once(' ').unwrap();
    assert_eq!(of_verb("resume"), [format!("resume {}", hung.replace(" 1 job-1", " 2 job-1"))], "{log}");
}
