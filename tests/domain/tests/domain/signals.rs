//! No signal is lost: the end of the input, deadlines, and who disagreed, over reorgs, pauses and lost messages.

use proofyard_core::Yard;
use proofyard_core::port::Key;
use proofyard_core::record::{BlockOutcome, ReorgOutcome};
use proofyard_core::state::Progress;
use proofyard_core::work::Assignment;

use crate::common::driver::{Does, Driver, block, good};
use crate::common::intercepted_port::{Call, InterceptedPort};
use crate::common::{named, now};
use crate::starving::{driver, forget_wakes, pipeline, prove, scope, stage};

const MISSES: &str = "window = 4\nlate = \"miss\"\ndeadline_ms = 60000";

fn batches() -> String {
    prove() + &stage("batch", "sequential", "\"prove\"", "size = 10\n")
}

fn frontier(driver: &Driver) -> u64 {
    now(driver.yard.frontier(&named("c"))).unwrap().height
}

fn ended(driver: &Driver) -> bool {
    now(driver.yard.tip(&named("c"))).unwrap().ended
}

fn is_halted(driver: &Driver) -> bool {
    now(driver.yard.chain_state(&named("c"))).unwrap().halted.is_some()
}

/// Time passes, and the worker lives.
fn pass(driver: &Driver, ms: u64) {
    driver.pass(ms);
    now(driver.yard.heartbeat(&"w".into(), 86_400_000)).unwrap();
    driver.sweep();
}

/// The end was forgotten when a block was taken up that a reorg's pages had kept waiting: the last cut never closed.
#[test]
fn the_end_of_the_input_survives_the_adoption_of_a_block_that_came_before_it() {
    let mut driver = driver(&pipeline("window = 4\ncommit = \"prove\"", &batches()));
    driver.block(10);
    driver.block(11);
    driver.send(&block(11, "b", "a"));
    driver.work("w", good);
    now(driver.yard.record_reorg(&named("c"), 11, &"b11".into())).unwrap();
    // The reorg's pages are not written yet.
    assert_eq!(
        now(driver.yard.record_block(&named("c"), &block(12, "b", "b"))).unwrap(),
        BlockOutcome::Stored
    );
    now(driver.yard.record_end(&named("c"))).unwrap();
    driver.settle();
    driver.work("w", good);
    pass(&driver, 15_000);
    driver.work("w", good);
    assert!(ended(&driver));
    assert_eq!(now(driver.yard.tip(&named("c"))).unwrap().height(), Some(12));
    assert_eq!(frontier(&driver), 13);
    assert!(now(driver.yard.is_finished(&named("c"))).unwrap() == proofyard_core::status::Finished::Yes);
}

#[test]
fn the_end_of_the_input_survives_a_reorg_and_a_repeat_and_no_new_block() {
    let driver = driver(&pipeline("window = 4\ncommit = \"prove\"", &batches()));
    driver.block(10);
    driver.block(11);
    driver.send(&block(11, "b", "a"));
    driver.end();
    now(driver.yard.record_reorg(&named("c"), 11, &"b11".into())).unwrap();
    driver.settle();
    assert!(ended(&driver), "no more blocks come because of a reorg");
    driver.send(&block(11, "b", "a"));
    assert!(ended(&driver), "a repeat says nothing new");
    driver.send(&block(12, "b", "b"));
    assert!(!ended(&driver), "more came after all");
}

/// A block was given up though its chain had been paused since before it came.
#[test]
fn a_deadline_counts_from_when_the_chain_takes_work() {
    type Hold = fn(&Driver);
    let paused: Hold = |driver| now(driver.yard.pause(&named("c"))).unwrap();
    let halted: Hold = |driver| now(driver.yard.halt(&named("c"), "a test")).unwrap();
    for hold in [paused, halted] {
        let driver = driver(&pipeline(MISSES, &prove()));
        driver.block(10);
        pass(&driver, 30_000);
        hold(&driver);
        driver.settle();
        pass(&driver, 3_600_000);
        now(driver.yard.resume(&named("c"))).unwrap();
        driver.settle();
        pass(&driver, 30_000);
        assert_eq!(frontier(&driver), 10, "it has its time again");
        pass(&driver, 30_000);
        assert_eq!(frontier(&driver), 11, "and no more");
    }
}

/// A block that was known long before a reorg made it canonical was given up at once.
#[test]
fn a_deadline_counts_from_when_the_block_is_canonical() {
    let driver = driver(&pipeline(MISSES, &prove()));
    driver.block(10);
    driver.send(&block(10, "b", "a"));
    pass(&driver, 50_000);
    now(driver.yard.record_reorg(&named("c"), 10, &"b10".into())).unwrap();
    driver.settle();
    pass(&driver, 50_000);
    assert_eq!(frontier(&driver), 10);
    pass(&driver, 15_000);
    assert_eq!(frontier(&driver), 11);
    // The one above it waits to be taken up.
    driver.send(&block(12, "b", "b"));
    pass(&driver, 50_000);
    driver.send(&block(11, "b", "b"));
    pass(&driver, 50_000);
    assert_eq!(frontier(&driver), 11);
    pass(&driver, 15_000);
    assert_eq!(frontier(&driver), 13);
}

/// Three provers vote, two must agree.
fn quorum(head: &str, more: &str) -> String {
    let members = ["one", "two", "three"].map(|name| stage(name, "match", "\"block\"", "")).join("");
    let agree = "[stage.agree]\nstrategy = \"match\"\nfrom = [\"one\", \"two\", \"three\"]\nneed = 2\n";
    pipeline(&format!("{head}\ncommit = \"agree\""), &format!("{members}{agree}{more}"))
}

struct Votes {
    driver: Driver,
    held: Vec<Assignment>,
}

impl Votes {
    fn on(text: &str) -> Self {
        let mut driver = driver(text);
        driver.block(10);
        let held = std::iter::from_fn(|| driver.claim("w")).collect();
        Self { driver, held }
    }

    /// The vote is recorded, and nobody is told.
    fn cast(&self, member: &str, value: &'static str) {
        let held = self.held.iter().find(|assignment| assignment.task.id().stage == member).unwrap();
        self.driver.record(held, Does::Proves(value));
        forget_wakes(&self.driver);
    }

    fn progress(&self) -> Progress {
        scope(&self.driver, "c:b:10:a10:0").progress()
    }

    fn pass_days(&self, days: u64) {
        for _ in 0..days * 24 {
            pass(&self.driver, 3_600_000);
        }
    }
}

/// Nobody looked at a block that was settled, and a lost message lost the disagreement.
#[test]
fn a_cancelled_member_that_disagrees_after_its_block_settled_halts_though_its_message_is_lost() {
    let votes = Votes::on(&quorum("window = 4", "after_need = \"cancel\"\n"));
    votes.cast("one", "0a");
    votes.cast("two", "0a");
    votes.pass_days(1);
    assert!(scope(&votes.driver, "c:b:10:a10:0").is_settled());
    assert!(!is_halted(&votes.driver));
    votes.cast("three", "0b");
    pass(&votes.driver, 15_000);
    assert!(is_halted(&votes.driver));
}

/// Nobody looked at a block that was given up.
#[test]
fn members_of_a_missed_block_that_disagree_halt() {
    for lost_for_days in [0, 2] {
        let votes = Votes::on(&quorum(MISSES, ""));
        votes.cast("one", "0a");
        pass(&votes.driver, 60_000);
        assert_eq!(votes.progress(), Progress::Missed);
        votes.pass_days(lost_for_days);
        votes.cast("two", "0b");
        pass(&votes.driver, 15_000);
        pass(&votes.driver, 15_000);
        assert!(is_halted(&votes.driver), "after {lost_for_days} days");
        assert_eq!(votes.progress(), Progress::Missed);
        assert_eq!(frontier(&votes.driver), 11);
    }
}

/// A redo whose first try met a reorg took that for its own doing, said that there was nothing to do, and was lost.
#[test]
fn a_redo_that_meets_a_reorg_is_made_all_the_same() {
    let mut driver = driver(&pipeline("window = 4", &prove()));
    for height in 10..14 {
        driver.block(height);
    }
    driver.send(&block(13, "b", "a"));
    driver.work("w", good);
    assert_eq!(frontier(&driver), 14);
    let another = driver.yard.over(driver.yard.port.clone());
    let reorg = move || {
        now(another.record_reorg(&named("c"), 13, &"b13".into())).unwrap();
    };
    let is_of_chain = |call: &Call<'_>| match call {
        Call::Commit(batch) => batch.ops.iter().any(|op| op.key == Key::new("C#c", "chain")),
        Call::Reschedule(_) => false,
    };
    let yard = Yard::new(InterceptedPort::acting_before(&driver.yard.port, is_of_chain, reorg));
    assert_eq!(now(yard.record_redo(&named("c"), 11)).unwrap(), ReorgOutcome::From(11));
    assert!(yard.port.has_intercepted());
    drop(yard);
    driver.settle();
    assert_eq!(frontier(&driver), 11, "11 and all above are proved again");
    driver.work("w", good);
    assert_eq!(frontier(&driver), 14);
}
