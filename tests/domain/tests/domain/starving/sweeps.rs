//! Sweeps with 4 ms a round, and no more time than a tick.

use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::state::{Heartbeat, Scope, ScopeId, Worker};
use proofyard_core::transaction::read;
use proofyard_core::{Port, Yard};

use super::far::{Far, ROUND_MS};
use super::{driver, due, forget_wakes, pipeline, prove, scope, segments, sweep_for};
use crate::common::driver::{Does, Driver};
use crate::common::{named, now};

/// One sweep from afar, for at most a tick, as on AWS; answers its rounds, its visits and whether it ended a round.
fn sweep(driver: &Driver, tick_ms: u64) -> (u64, usize, bool) {
    let yard = Yard::new(Far::new(&driver.yard.port));
    let swept = now(yard.sweep_within(tick_ms.max(1_000))).unwrap();
    assert!(swept.errors.is_empty(), "{:?}", swept.errors);
    (yard.port.rounds(), swept.visited, swept.round_over)
}

/// A yard with so many open blocks, all of them waiting for workers.
fn open_blocks(open: u64, tick_ms: u64) -> Driver {
    let driver = Driver::new(&pipeline(&format!("window = 1000000\ntick_ms = {tick_ms}"), &segments()));
    for height in 10..10 + open {
        driver.block(height);
    }
    driver
}

/// Registers a worker in the last shard that workers are in, and lets its lease end.
fn dead_worker(driver: &Driver, lease_ms: u64) -> String {
    let last = |name: &String| Heartbeat::key_of(&name.as_str().into()).due_shard() == 1;
    let name = (0..).map(|n| format!("w{n}-{}", driver.yard.port.now_ms())).find(last).unwrap();
    let registration = WorkerRegistration {
        worker: name.as_str().into(),
        pool: "cpu".into(),
        slots: 1,
        alone: false,
        lease_ms,
        isolation: None,
    };
    now(driver.yard.register_worker(&registration)).unwrap();
    name
}

fn is_dead(driver: &Driver, name: &str) -> bool {
    now(read::<Worker>(&driver.yard.port, &Worker::key_of(&name.into())))
        .unwrap()
        .is_none_or(|worker| worker.dead)
}

/// With 5 s a sweep and one order of work these were never seen: the sweeper died among the scopes of the first shards.
#[test]
fn a_dead_worker_is_seen_within_two_ticks_whatever_else_is_open() {
    for (open, tick_ms) in
        [(100, 1_000), (300, 1_000), (1_000, 1_000), (300, 15_000), (1_000, 15_000), (3_000, 15_000)]
    {
        let driver = open_blocks(open, tick_ms);
        let name = dead_worker(&driver, 30_000);
        let end_ms = driver.yard.port.now_ms() + 30_000;
        while !is_dead(&driver, &name) {
            let began_ms = driver.yard.port.now_ms();
            sweep(&driver, tick_ms);
            let took_ms = driver.yard.port.now_ms() - began_ms;
            driver.pass(tick_ms.saturating_sub(took_ms));
            forget_wakes(&driver);
            let late_ms = driver.yard.port.now_ms().saturating_sub(end_ms);
            assert!(
                late_ms <= 2 * tick_ms + 1_000,
                "{open} open blocks, a tick of {tick_ms} ms: {late_ms} ms late"
            );
        }
    }
}

/// No message arrives, and no sweep has time for more than a few: all blocks are proved and committed all the same.
#[test]
fn each_open_block_is_looked_at_though_no_sweep_has_time_for_all() {
    let mut driver = driver(&pipeline("window = 1000", &prove()));
    for height in 10..210 {
        driver.block(height);
    }
    while let Some(assignment) = driver.claim("w") {
        driver.record(&assignment, Does::Proves("0a"));
        forget_wakes(&driver);
    }
    let (mut sweeps, mut rounds_over) = (0, 0);
    while !due(&driver).is_empty() {
        driver.pass(15_000);
        let yard = Yard::new(Far::new(&driver.yard.port));
        let swept = now(yard.sweep_within(200)).unwrap();
        assert!(yard.port.rounds() * ROUND_MS < 5_000, "{} rounds", yard.port.rounds());
        rounds_over += u32::from(swept.round_over);
        forget_wakes(&driver);
        sweeps += 1;
        assert!(sweeps < 200, "{} are left: {:?}", due(&driver).len(), &due(&driver)[..3]);
    }
    assert_eq!(now(driver.yard.frontier(&named("c"))).unwrap().height, 210);
    assert!(sweeps > 10 && rounds_over < sweeps / 2, "{rounds_over} rounds in {sweeps} sweeps");
}

/// What is first in the index and fails, or takes long, hides nothing behind it.
#[test]
fn a_sweep_says_that_all_was_looked_at_only_when_it_was() {
    let driver = open_blocks(40, 1_000);
    driver.pass(60_000);
    let mut visited = 0;
    let mut over = false;
    while !over {
        let yard = Yard::new(Far::new(&driver.yard.port));
        // Time for one visit of each kind.
        let swept = now(yard.sweep_within(0)).unwrap();
        visited += swept.visited;
        over = swept.round_over;
        forget_wakes(&driver);
    }
    assert!(visited >= 40, "{visited} visits");
    let (_, _, over) = sweep(&driver, 60_000);
    assert!(over, "with time for all, each sweep is a round");
}

/// One shard has more than can be looked at before its first entries are due again: the others come all the same.
#[test]
fn a_shard_that_is_due_again_before_it_is_gone_through_keeps_none_from_the_others() {
    let driver = open_blocks(200, 1_000);
    driver.pass(60_000);
    let sweeps_of_a_round = || {
        let mut sweeps = 0;
        loop {
            driver.pass(1_000);
            sweeps += 1;
            let over = now(driver.yard.sweep_within(0)).unwrap().round_over;
            forget_wakes(&driver);
            if over || sweeps > 2_000 {
                return sweeps;
            }
        }
    };
    let sweeps = [(); 3].map(|()| sweeps_of_a_round());
    assert!(sweeps.iter().all(|sweeps| *sweeps <= 420), "{sweeps:?}");
}

#[test]
fn a_quiet_block_is_looked_at_less_and_less_often_and_soon_when_something_happens() {
    let mut driver = driver(&pipeline(
        "window = 1000\ntick_ms = 1000",
        &(prove() + &super::stage("after", "match", "\"prove\"", "")),
    ));
    driver.block(10);
    let looks_in = |driver: &Driver, seconds: u64| {
        let key = scope(driver, "c:b:10:a10:0");
        let mut looks = Vec::new();
        for second in 1..=seconds {
            driver.pass(1_000);
            now(driver.yard.heartbeat(&"w".into(), 86_400_000)).unwrap();
            let before = next_look(driver, key.id());
            driver.sweep();
            if next_look(driver, key.id()) != before {
                looks.push(second);
            }
        }
        looks
    };
    assert_eq!(looks_in(&driver, 70), [1, 2, 3, 5, 9, 17, 33, 49, 65], "no more often than each 16 ticks");
    // Its proof is there, and nobody was told: the next look finds it, and the look after that is soon.
    let assignment = driver.claim("w").unwrap();
    driver.record(&assignment, Does::Proves("0a"));
    forget_wakes(&driver);
    let looks = looks_in(&driver, 12);
    assert_eq!(looks[..2], [11, 12], "{looks:?}");
}

fn next_look(driver: &Driver, id: &ScopeId) -> Option<u64> {
    let key = Scope::key_of(id);
    let due = now(driver.yard.port.due(key.due_shard(), None, u64::MAX, usize::MAX)).unwrap();
    due.into_iter().find(|due| due.key == key).map(|due| due.due_ms)
}

/// A lost message to a sink costs a tick, though nothing more is committed.
#[test]
fn a_sink_that_was_not_told_of_the_last_entry_is_told_again() {
    let sink = "[sink.main]\nstage = \"prove\"\nfile = \"x\"\n";
    let mut driver = driver(&pipeline("window = 4", &(prove() + sink)));
    driver.block(10);
    driver.work("w", |_| Does::Proves("0a"));
    forget_wakes(&driver);
    driver.pass(30_000);
    now(driver.yard.sweep()).unwrap();
    let wakes: Vec<_> = std::iter::from_fn(|| driver.yard.port.next_wake()).collect();
    assert!(
        wakes.contains(&proofyard_core::Wake::Sink { chain: named("c"), sink: "main".into() }),
        "{wakes:?}"
    );
}

/// While a cut waits for its time, the chain is looked at then. A block that comes meanwhile, and of which nobody is told,
/// does not wait so long.
#[test]
fn a_block_does_not_wait_for_the_time_of_a_cut() {
    let batch = super::stage("batch", "sequential", "\"prove\"", "size = 64\nmax_wait_ms = 36000000");
    let mut driver = driver(&pipeline("window = 4\ncommit = \"prove\"", &(prove() + &batch)));
    driver.block(10);
    driver.work("w", |_| Does::Proves("0a"));
    sweep_for(&driver, 120_000, 15_000);
    let frontier = now(driver.yard.frontier(&named("c"))).unwrap();
    assert!(frontier.due_ms > Some(driver.yard.port.now_ms() + 30_000_000), "{frontier:?}");
    now(driver.yard.record_block(&named("c"), &crate::common::driver::block(11, "a", "a"))).unwrap();
    forget_wakes(&driver);
    sweep_for(&driver, 45_000, 15_000);
    assert!(driver.claim("w").is_some(), "the block is open");
}

/// What a sweep costs by how much is open, once all is quiet. `SWEEP_SCOPES=100000` makes the table longer.
#[test]
fn what_a_sweep_takes_by_how_many_blocks_are_open() {
    let most: u64 = std::env::var("SWEEP_SCOPES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    println!(
        "open blocks | tick s | rounds a sweep | s a sweep | visits a sweep | dead worker seen after s | all looked at within s"
    );
    for open in [100, 1_000, 10_000, 100_000].into_iter().filter(|open| *open <= most) {
        for tick_ms in [1_000, 15_000] {
            let driver = open_blocks(open, tick_ms);
            let quiet_ms = 16 * tick_ms.min(18_750);
            // Until the looks are spread.
            let (mut rounds, mut visits, mut sweeps) = (0, 0, 0_u64);
            let (mut dead, mut seen_ms): (Option<String>, u64) = (None, 0);
            let (mut lease_end_ms, mut last_over_ms, mut longest_ms) = (0, None, 0);
            let until_ms = driver.yard.port.now_ms() + quiet_ms * 3;
            let measured_from_ms = until_ms - quiet_ms;
            let mut rounds_over = 0;
            while driver.yard.port.now_ms() < until_ms || rounds_over < 2 {
                let began_ms = driver.yard.port.now_ms();
                let (took, visited, over) = sweep(&driver, tick_ms);
                let now_ms = driver.yard.port.now_ms();
                forget_wakes(&driver);
                rounds_over += u32::from(over);
                if over && let Some(last_ms) = last_over_ms.replace(now_ms) {
                    longest_ms = longest_ms.max(now_ms - last_ms);
                }
                if began_ms >= measured_from_ms {
                    (rounds, visits, sweeps) = (rounds + took, visits + visited, sweeps + 1);
                }
                match &dead {
                    Some(name) if is_dead(&driver, name) => {
                        // It comes first in a sweep.
                        seen_ms = seen_ms.max(began_ms.saturating_sub(lease_end_ms));
                        dead = None;
                    }
                    Some(_) => {}
                    None => {
                        dead = Some(dead_worker(&driver, tick_ms));
                        lease_end_ms = now_ms + tick_ms;
                    }
                }
                driver.pass(tick_ms.saturating_sub(now_ms - began_ms));
            }
            let sweeps = sweeps.max(1);
            println!(
                "{open} | {} | {} | {:.2} | {} | {:.1} | {:.0}",
                tick_ms / 1_000,
                rounds / sweeps,
                (rounds * ROUND_MS) as f64 / sweeps as f64 / 1_000.0,
                visits as u64 / sweeps,
                seen_ms as f64 / 1_000.0,
                longest_ms as f64 / 1_000.0,
            );
            assert!(seen_ms <= tick_ms + 1_000, "{open}: {seen_ms}");
        }
    }
}
