//! The executor: handlers interleave, a seed is one schedule, processes freeze and die.

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Port};

use std::cell::RefCell;
use std::rc::Rc;

use proofyard_simulation::counters::Counters;
use proofyard_simulation::executor::{START_MS, Signal, Simulation, Step};
use proofyard_simulation::faults::Faults;
use proofyard_simulation::port::WeakPort;
use proofyard_simulation::trace::TraceMode;

/// Adds one to a shared number, as a handler does: read, write on condition, again on conflict.
async fn add_one(port: WeakPort) {
    let key = Key::new("P", "number");
    loop {
        let Ok(stored) = port.get(&key).await else { continue };
        let number = stored.as_ref().map_or(0, |stored| number(&stored.value));
        let expect = stored.map_or(Expect::Absent, |stored| Expect::Version(stored.version));
        let value = (number + 1).to_string().into_bytes();
        let op = Op { key: key.clone(), expect, action: Action::Put { value, due_ms: None } };
        let batch = Batch { version: port.random(), ops: vec![op], durable: false };
        if matches!(port.commit(&batch).await, Ok(CommitOutcome::Committed)) {
            return;
        }
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn run(seed: u64, faults: Faults) -> (u64, u64, Counters) {
    let simulation = Simulation::new(seed, faults, TraceMode::Off);
    for _ in 0..20 {
        let process = simulation.start_process("adder");
        simulation.spawn(process, "add", add_one(WeakPort::new(&simulation)));
    }
    while simulation.step() != Step::Idle {}
    assert_eq!(simulation.violation(), None);
    let total = simulation.table().get(&Key::new("P", "number")).map_or(0, |row| number(&row.value));
    (total, simulation.digest(), simulation.counters())
}

#[test]
fn interleaved_handlers_conflict_and_lose_nothing() {
    let (total, _, counters) = run(3, Faults::none());
    assert_eq!(total, 20);
    assert!(counters.get("port: conflict") > 0);
}

#[test]
fn a_seed_is_one_schedule() {
    let faults = Faults { crash_after_commit: 1_000, unknown_done: 1_000, ..Faults::none() };
    let (total, digest, counters) = run(5, faults.clone());
    assert_eq!((total, digest, counters.clone()), run(5, faults.clone()));
    assert_ne!(digest, run(6, faults).1);
    assert!(counters.get("fault: crash after a commit") > 0);
    assert!(counters.get("fault: unknown, done") > 0);
}

#[test]
fn a_frozen_process_goes_on_later_and_a_dead_one_never() {
    let simulation = Simulation::new(1, Faults::none(), TraceMode::Off);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let start = |name: &'static str, sleep_ms: u64| {
        let process = simulation.start_process(name);
        let (inner, seen) = (simulation.clone(), seen.clone());
        simulation.spawn(process, name, async move {
            inner.sleep_until(START_MS + sleep_ms).await;
            seen.borrow_mut().push((name, inner.now_ms() - START_MS));
        });
        process
    };
    let (frozen, dead) = (start("frozen", 10), start("dead", 20));
    start("free", 30);
    simulation.freeze(frozen, START_MS + 100);
    simulation.kill(dead);
    while simulation.step() != Step::Idle {}
    assert_eq!(*seen.borrow(), [("free", 30), ("frozen", 100)]);
}

#[test]
fn a_signal_ends_a_wait_early() {
    let simulation = Simulation::new(1, Faults::none(), TraceMode::Off);
    let signal = Signal::default();
    let process = simulation.start_process("both");
    let (inner, waited) = (simulation.clone(), signal.clone());
    simulation.spawn(process, "waiter", async move {
        waited.wait(&inner, START_MS + 1_000).await;
        assert_eq!(inner.now_ms(), START_MS + 7);
    });
    let inner = simulation.clone();
    simulation.spawn(process, "notifier", async move {
        inner.sleep(7).await;
        signal.notify(&inner);
    });
    while simulation.is_alive(process) {
        assert_ne!(simulation.step(), Step::Idle);
    }
}
