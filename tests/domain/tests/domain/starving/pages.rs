//! What is too much for one call goes on where it stopped, or is read many at once. 4 ms a round, 5 s a call.

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::state::{Block, CutAt, Progress, ScopeId};
use proofyard_core::status::Finished;
use proofyard_core::transaction::read_range;
use proofyard_core::{Port, Wake, Yard};

use super::far::{Far, ROUND_MS};
use super::{forget_wakes, pipeline, prove, scope, segments, stage};
use crate::common::driver::{Does, Driver, block, good};
use crate::common::{named, now};
use crate::look::fail_at;

const CALL_MS: u64 = 5_000;

/// With a second worker, for what is called from afar.
fn driver(text: &str) -> Driver {
    let driver = super::driver(text);
    driver.worker("far", "cpu");
    driver
}

/// One call of a function, with what it knows for itself; it must end in time. Answers its rounds.
fn call<T>(driver: &Driver, work: impl AsyncFnOnce(&Yard<Far>) -> T) -> (u64, T) {
    let yard = Yard::new(Far::new(&driver.yard.port));
    let done = now(work(&yard));
    let rounds = yard.port.rounds();
    assert!(rounds * ROUND_MS < CALL_MS, "{rounds} rounds");
    (rounds, done)
}

/// Steps, each a call, until nobody is woken any more. Answers how many.
fn settle(driver: &Driver) -> usize {
    let mut calls = 0;
    while let Some(wake) = driver.yard.port.next_wake() {
        if matches!(wake, Wake::Chain { .. } | Wake::Scope { .. }) {
            call(driver, async |yard| yard.advance(&wake).await).1.unwrap();
            calls += 1;
        }
    }
    calls
}

#[test]
fn a_cut_of_1024_blocks_closes_and_is_gathered_in_time() {
    let batch = stage("batch", "sequential", "\"prove\"", "size = 1024");
    let mut driver = driver(&pipeline("window = 4\ncommit = \"prove\"", &(prove() + &batch)));
    for height in 10..10 + 1_024 {
        driver.block(height);
        if height < 10 + 1_023 {
            driver.work("w", good);
        }
    }
    let assignment = driver.claim("w").unwrap();
    driver.record(&assignment, Does::Proves("0a"));
    settle(&driver);
    let cuts =
        now(read_range::<CutAt>(&driver.yard.port, &CutAt::range_from(&named("c"), "batch", 0, 9))).unwrap();
    assert_eq!(cuts.len(), 1);
    let request = ClaimRequest { worker: "far".into(), slot: 0, claim: "cut".into() };
    let (_, claimed) = call(&driver, async |yard| yard.claim(&request).await.unwrap());
    let ClaimOutcome::Claimed(task) = claimed else { panic!("{claimed:?}") };
    let (rounds, inputs) = call(&driver, async |yard| yard.assignment(&request, *task).await.unwrap().inputs);
    assert_eq!(inputs.len(), 1_024);
    assert!(rounds < 50, "{rounds} rounds");
}

#[test]
fn a_cut_of_1024_blocks_is_reduced_in_time() {
    let batch = stage("batch", "sequential", "\"prove\"", "size = 1024\narity = 2");
    let mut driver = driver(&pipeline("window = 2000\ncommit = \"batch\"", &(prove() + &batch)));
    for height in 10..10 + 1_024 {
        now(driver.yard.record_block(&named("c"), &block(height, "a", "a"))).unwrap();
        settle(&driver);
    }
    // Nothing is proved yet: the sweeper looks at 1,023 tasks that gather.
    driver.pass(600_000);
    now(driver.yard.heartbeat(&"w".into(), 86_400_000)).unwrap();
    while !call(&driver, async |yard| yard.sweep_within(500).await.unwrap()).1.round_over {}
    forget_wakes(&driver);
    while driver.work("w", good) > 0 {}
    assert_eq!(now(driver.yard.frontier(&named("c"))).unwrap().height, 10 + 1_024);
}

#[test]
fn outputs_that_must_agree_are_4096_and_read_in_time() {
    let join = stage("join", "match", "\"segment\"", "on = [\"program\"]");
    let mut driver = driver(&pipeline("window = 4", &(stage("segment", "split", "\"block\"", "") + &join)));
    now(driver.yard.record_block(&named("c"), &Block { segments: 4_096, ..block(10, "a", "a") })).unwrap();
    let calls = settle(&driver);
    assert!(calls < 20, "{calls} calls");
    while let Some(assignment) = driver.claim("w") {
        if assignment.task.id().stage == "join" {
            break;
        }
        driver.record(&assignment, Does::Proves("0a"));
        forget_wakes(&driver);
        if assignment.task.id().index == 0 {
            now(driver.yard.heartbeat(&"w".into(), 86_400_000)).unwrap();
        }
    }
    now(driver.yard.port.send(&[Wake::Scope { scope: "c:b:10:a10:0".parse().unwrap() }]));
    settle(&driver);
    let request = ClaimRequest { worker: "far".into(), slot: 0, claim: "join".into() };
    let (_, claimed) = call(&driver, async |yard| yard.claim(&request).await.unwrap());
    let ClaimOutcome::Claimed(task) = claimed else { panic!("{claimed:?}") };
    assert_eq!(task.id().stage, "join");
    let (rounds, inputs) = call(&driver, async |yard| yard.assignment(&request, *task).await.unwrap().inputs);
    assert_eq!((inputs.len(), rounds < 100), (4_096, true));
}

/// Two branches of so many blocks; the second one is the longer by one.
fn branches(blocks: u64) -> Driver {
    let driver = driver(&pipeline("window = 2", &prove()));
    driver.send(&block(10, "a", "a"));
    for height in 11..10 + blocks {
        driver.send(&block(height, "a", "a"));
    }
    for height in 11..11 + blocks {
        driver.send(&block(height, "b", if height == 11 { "a" } else { "b" }));
    }
    driver
}

#[test]
fn a_reorg_of_any_depth_is_recorded_and_written_in_time() {
    for blocks in [100, 1_000, 4_000] {
        let driver = branches(blocks);
        let head = 10 + blocks;
        let hash = format!("b{head}");
        let (rounds, _) = call(&driver, async |yard| {
            yard.record_reorg(&named("c"), head, &hash.as_str().into()).await.unwrap()
        });
        println!("a reorg over {blocks} blocks is recorded in {rounds} rounds");
        assert!(rounds < 60, "{rounds} rounds");
        let calls = settle(&driver);
        println!("and written in {calls} calls");
        assert!(now(driver.yard.chain_state(&named("c"))).unwrap().reorg.is_none());
        assert_eq!(now(driver.yard.tip(&named("c"))).unwrap().head, Some((head, hash.into())));
        assert_eq!(scope(&driver, "c:b:11:b11:0").progress(), Progress::Open);
    }
}

/// A thousand listings of a block that left the chain lie before the one that is wanted.
#[test]
fn a_claim_never_says_nothing_while_something_is_listed() {
    let mut driver = driver(&pipeline("window = 4", &segments()));
    let big = |own: &str, timestamp_s| Block { segments: 1_000, timestamp_s, ..block(10, own, "g") };
    driver.send(&big("a", 5));
    driver.send(&big("b", 6));
    now(driver.yard.record_reorg(&named("c"), 10, &"b10".into())).unwrap();
    driver.settle();
    let request = ClaimRequest { worker: "far".into(), slot: 0, claim: "x".into() };
    let (rounds, claimed) = call(&driver, async |yard| yard.claim(&request).await.unwrap());
    println!("a claim behind 1,000 listings of an orphan takes {rounds} rounds");
    let ClaimOutcome::Claimed(task) = claimed else { panic!("{claimed:?}") };
    assert_eq!(task.id().scope.to_string(), "c:b:10:b10:0");
    assert_eq!(driver.work("w", good), 999, "all but the one that runs");
}

/// 4,096 tasks of a block that left the chain and returned are listed again, though each call has 5 s.
#[test]
fn a_block_of_4096_tasks_that_returns_is_listed_again_in_time() {
    let driver = driver(&pipeline("window = 4", &segments()));
    driver.send(&Block { segments: 4_096, ..block(10, "a", "g") });
    driver.send(&Block { segments: 1, ..block(10, "b", "g") });
    now(driver.yard.record_reorg(&named("c"), 10, &"b10".into())).unwrap();
    driver.settle();
    // Somebody claims, and so the listings go.
    let request = ClaimRequest { worker: "far".into(), slot: 0, claim: "x".into() };
    let (rounds, claimed) = call(&driver, async |yard| match yard.claim(&request).await {
        // They were just too many for one claim.
        Err(Error::Contended { .. }) => yard.claim(&request).await.unwrap(),
        answer => answer.unwrap(),
    });
    println!("a claim behind 4,096 listings of an orphan takes {rounds} rounds");
    assert!(
        matches!(claimed, ClaimOutcome::Claimed(task) if task.id().scope == ScopeId::of_block(&named("c"), 10, &"b10".into(), 0))
    );
    now(driver.yard.record_reorg(&named("c"), 10, &"a10".into())).unwrap();
    let calls = settle(&driver);
    assert!(calls < 20, "{calls} calls");
    assert!(!scope(&driver, "c:b:10:a10:0").relists());
    assert_eq!(now(driver.yard.waiting_tasks("cpu", 10_000)).unwrap(), 4_096);
}

/// Nothing is left of a long chain's steps when its call is over: who is woken goes on.
#[test]
fn a_long_row_of_proved_blocks_is_committed_in_calls_that_end() {
    let mut driver = driver(&pipeline("window = 1000", &prove()));
    for height in 10..510 {
        driver.block(height);
    }
    let last = driver.claim("far").unwrap();
    while let Some(assignment) = driver.claim("w") {
        driver.record(&assignment, Does::Proves("0a"));
        forget_wakes(&driver);
        let scope = assignment.task.id().scope.clone();
        call(&driver, async |yard| yard.advance_scope(&scope).await).1.unwrap();
    }
    driver.record(&last, Does::Proves("0a"));
    let calls = settle(&driver);
    assert!(calls > 10, "{calls} calls");
    assert_eq!(now(driver.yard.frontier(&named("c"))).unwrap().height, 510);
}

/// What one look at whether all is done takes once so many blocks are committed, and what it says. The audit of the first
/// block fails for good.
fn finished_after(blocks: u64) -> (u64, Finished) {
    let audit = stage("audit", "match", "\"prove\"", "");
    let mut driver = driver(&pipeline("window = 4\ncommit = \"prove\"", &(prove() + &audit)));
    driver.worker("w2", "cpu");
    for height in 10..10 + blocks {
        driver.block(height);
        if height == 10 {
            fail_at(&mut driver, ["w", "w2"], "audit", 10);
        }
        driver.work("w", good);
    }
    driver.end();
    call(&driver, async |yard| yard.is_finished(&named("c")).await.unwrap())
}

#[test]
fn whether_all_is_done_is_said_without_a_walk_over_history() {
    let (few, finished) = finished_after(20);
    let Finished::Stuck { parked, .. } = finished else { panic!("{finished:?}") };
    assert_eq!(parked.iter().map(|task| task.task.as_str()).collect::<Vec<_>>(), ["c:b:10:a10:0/audit/0"]);
    let (many, finished) = finished_after(400);
    assert!(matches!(finished, Finished::Stuck { .. }), "{finished:?}");
    assert_eq!(many, few, "rounds");
}
