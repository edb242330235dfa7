//! What attempts take, by the counters of a machine as a test has them, as it is recorded with their tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::pipeline::Pool;
use proofyard_core::state::Usage;
use proofyard_worker::energy::{Counter, Counters, EnergyMeter, Reading};
use proofyard_worker::{PoolWorker, WorkerPlan};

use super::home::{PATIENCE, TestHome};
use super::run;

/// The clock of these homes stands still, so that there is nothing to be had of either.
const PRICED: &str = "price_usd_per_hour = 3.6\nwatts = 100";

/// Each reading of a counter finds one joule more.
struct Machine {
    processors: u32,
    /// GPUs with these numbers.
    gpus: Vec<u32>,
    /// Readings that succeed.
    readable: u64,
    /// Joules in all.
    read: Arc<AtomicU64>,
}

impl Machine {
    /// One that is waited for however slow the tests' machine is.
    fn meter(self) -> Arc<EnergyMeter> {
        Arc::new(EnergyMeter::of(self).with_patience(Duration::from_secs(60)))
    }
}

impl Counters for Machine {
    fn processors(&self) -> u32 {
        self.processors
    }
    fn read(&mut self, counter: Counter) -> Option<Reading> {
        let is_there = match counter {
            Counter::Processor(number) => number < self.processors,
            Counter::Gpu(number) => self.gpus.contains(&number),
        };
        if !is_there || self.read.load(Ordering::Relaxed) >= self.readable {
            return None;
        }
        let joules = self.read.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Reading { microjoules: 1_000_000 * joules, wraps_after: None })
    }
}

fn machine(processors: u32, gpus: &[u32]) -> Machine {
    Machine { processors, gpus: gpus.to_vec(), readable: u64::MAX, read: Arc::default() }
}

/// Works on all blocks of the home, with so many GPUs a slot.
fn work(home: &TestHome, slots: u32, gpus_per_slot: u32, energy: Arc<EnergyMeter>) -> Vec<Usage> {
    let blocks = home.tasks().len() as u64;
    let plan = home.plan(slots);
    let pool = Pool { gpus_per_slot, ..plan.pool.clone() };
    run(home, &PoolWorker::new(WorkerPlan { max_tasks: Some(blocks), pool, energy, ..plan }), || {});
    assert!(home.tasks().iter().all(|task| task.is_accepted()));
    home.tasks().iter().map(|task| task.usage()).collect()
}

#[test]
fn the_energy_of_a_slots_gpus_is_recorded_with_its_price() {
    let home = TestHome::with_pool(&[], 1, PRICED);
    let [usage] = work(&home, 1, 2, machine(0, &[0, 1]).meter())[..] else { panic!("one task") };
    assert_eq!((usage.priced, usage.measured, usage.given), (1, 1, 0));
    assert!(usage.gpu_mj >= 2_000 && usage.cpu_mj == 0, "{usage:?}");
}

#[test]
fn without_counters_the_given_power_counts() {
    let home = TestHome::with_pool(&[], 1, PRICED);
    let [usage] = work(&home, 1, 0, Arc::default())[..] else { panic!("one task") };
    assert_eq!((usage.priced, usage.measured, usage.given), (1, 0, 1));
}

#[test]
fn counters_that_vanish_while_an_attempt_runs_leave_the_given_power() {
    let home = TestHome::with_pool(&[], 1, PRICED);
    let energy = Machine { readable: 1, ..machine(0, &[0]) }.meter();
    let [usage] = work(&home, 1, 1, energy)[..] else { panic!("one task") };
    assert_eq!((usage.measured, usage.given, usage.gpu_mj), (0, 1, 0));
}

#[test]
fn a_machines_processors_say_too_little_of_a_slot_whose_gpu_is_not_there() {
    let home = TestHome::new(&[], 1);
    let [usage] = work(&home, 1, 1, machine(1, &[]).meter())[..] else { panic!("one task") };
    assert_eq!(usage, Usage::default(), "no price, no power, and no measurement");
}

#[test]
fn slots_that_work_at_once_have_no_more_together_than_was_counted() {
    let home = TestHome::with_pool(&["--work-ms", "200"], 4, PRICED);
    let machine = machine(1, &[]);
    let read = Arc::clone(&machine.read);
    let usages = work(&home, 4, 0, machine.meter());
    assert!(usages.iter().all(|usage| (usage.measured, usage.given) == (1, 0)), "{usages:?}");
    let taken_mj: u64 = usages.iter().map(|usage| usage.cpu_mj).sum();
    assert!(taken_mj > 0 && taken_mj <= 1_000 * read.load(Ordering::Relaxed), "{taken_mj} mJ");
}

#[test]
fn an_attempt_that_is_released_when_its_home_stops_counts_too() {
    let home = TestHome::with_pool(&["--hang"], 1, PRICED);
    let plan = home.plan(1);
    let energy = machine(1, &[]).meter();
    run(&home, &PoolWorker::new(WorkerPlan { energy, ..plan }), || {
        home.wait_for("a running task", |tasks| tasks[0].started() == 1);
        home.stop();
    });
    let usage = home.tasks()[0].usage();
    assert_eq!((usage.priced, usage.measured, usage.given), (1, 1, 0), "{usage:?}");
}

/// Attempts have the price that their worker has on record when they are claimed.
#[test]
fn a_price_that_cannot_be_written_holds_up_no_attempt_and_is_written_with_a_heartbeat() {
    const MICROUSD: u64 = 7_654_321;
    let home = TestHome::with_pool(&[], 1, PRICED).priced(MICROUSD);
    home.port().fail_writing(&MICROUSD.to_string());
    let worker = PoolWorker::new(WorkerPlan { max_tasks: Some(2), ..home.plan(1) });
    run(&home, &worker, || {
        home.wait_for("the first block's proof", |tasks| tasks.iter().all(|task| task.is_accepted()));
        let began = Instant::now();
        while home.worker(&worker.id()).price_microusd_per_hour != Some(MICROUSD) {
            assert!(began.elapsed() < PATIENCE, "{:?}", home.worker(&worker.id()));
            thread::sleep(Duration::from_millis(5));
        }
        home.block(2);
    });
    let tasks = home.tasks();
    assert_eq!(tasks.len(), 2);
    for task in &tasks {
        assert_eq!((task.is_accepted(), task.started(), task.failures()), (true, 1, 0));
        assert_eq!(task.usage().priced, 1, "the pool's price counts where the machine's is not on record");
    }
    let said = home.events("the machine's price");
    assert!(matches!(&said[..], [said] if said.contains("a test's fault")), "{said:?}");
}
