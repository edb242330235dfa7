//! Cuts that are reduced level by level, and cuts beside a fork: what becomes a task, when, and of what.

use crate::common::driver::{Does, Driver, LEASE_MS, block, good};
use crate::common::{named, now};
use proofyard_core::explain::Case;
use proofyard_core::record::{FailureKind, RetrySelection};
use proofyard_core::state::OutKind;
use proofyard_core::status::{Finished, TaskState};
use proofyard_core::work::{Assignment, InputKind};

/// Blocks are proved in one pool, and their proofs joined two by two in another; a wrap reads the root.
const JOINED: &str = r#"
[chain]
name = "joined"
start_height = 10
window = 8
commit = "wrap"

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "blocks"

[stage.fold]
strategy = "sequential"
from = "prove"
size = 5
arity = 2
prover = "p"
pool = "folds"

[stage.wrap]
strategy = "match"
from = "fold"
on = ["program"]
prover = "p"
pool = "wraps"

[prover.p]
command = ["p"]

[pool.blocks]
[pool.folds]
[pool.wraps]
"#;

fn driver(text: &str) -> Driver {
    let driver = Driver::new(text);
    for pool in ["blocks", "folds", "wraps"] {
        driver.worker(pool, pool);
    }
    driver
}

fn folds(driver: &mut Driver) -> Vec<Assignment> {
    std::iter::from_fn(|| driver.claim("folds")).collect()
}

/// What a task was given, as `height` for a member's proof and `#index` for a task's of its own stage.
fn given(assignment: &Assignment) -> (u32, Vec<String>) {
    let name = |input: &proofyard_core::work::Input| match input.stage.as_deref() {
        Some("fold") => format!("#{}", input.task_index),
        _ => input.height.to_string(),
    };
    (assignment.task.id().index, assignment.inputs.iter().map(name).collect())
}

fn proves(driver: &mut Driver, height: u64) {
    let mut held = Vec::new();
    while let Some(assignment) = driver.claim("blocks") {
        match assignment.task.height() == height {
            true => {
                driver.perform(&assignment, Does::Proves("0a"));
                break;
            }
            false => held.push(assignment),
        }
    }
    for assignment in held {
        let worker = "blocks".into();
        let release =
            driver.yard.record_release(&worker, assignment.slot, &assignment.claim, assignment.task.id());
        now(release).expect("a release");
    }
}

fn counts(driver: &Driver, stage: &str) -> (u64, u64, u64) {
    let status = now(driver.yard.status(&driver.chain, false)).expect("a status");
    let stage = status.stages.into_iter().find(|status| status.stage == stage).expect("the stage");
    (stage.tasks.gathering, stage.tasks.waiting + stage.tasks.running, stage.tasks.accepted)
}

#[test]
fn each_task_is_listed_as_early_as_its_own_children_are_there() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=14);
    assert!(folds(&mut driver).is_empty());
    assert_eq!(counts(&driver, "fold"), (4, 0, 0));
    proves(&mut driver, 13);
    proves(&mut driver, 10);
    assert!(folds(&mut driver).is_empty(), "13 waits for 12, and 10 for 11");
    proves(&mut driver, 12);
    let over_12 = folds(&mut driver);
    assert_eq!(over_12.iter().map(given).collect::<Vec<_>>(), [(3, vec!["12".into(), "13".into()])]);
    driver.perform(&over_12[0], Does::Proves("0a"));
    proves(&mut driver, 11);
    let over_10 = folds(&mut driver);
    assert_eq!(over_10.iter().map(given).collect::<Vec<_>>(), [(2, vec!["10".into(), "11".into()])]);
    driver.perform(&over_10[0], Does::Proves("0a"));
    // The level above is ready although the fifth block is not proved.
    let above = folds(&mut driver);
    assert_eq!(above.iter().map(given).collect::<Vec<_>>(), [(1, vec!["#2".into(), "#3".into()])]);
    assert_eq!(counts(&driver, "fold"), (1, 1, 2));
    proves(&mut driver, 14);
    driver.perform(&above[0], Does::Proves("0a"));
    let root = folds(&mut driver);
    assert_eq!(root.iter().map(given).collect::<Vec<_>>(), [(0, vec!["#1".into(), "14".into()])]);
    driver.perform(&root[0], Does::Proves("0a"));
    let wrap = driver.claim("wraps").expect("the wrap");
    assert_eq!(given(&wrap), (0, vec!["#0".into()]));
    assert_eq!(wrap.inputs[0].kind, InputKind::Proof);
    driver.perform(&wrap, Does::Proves("0b"));
    assert_eq!(now(driver.yard.frontier(&named("joined"))).expect("the frontier").height, 15);
}

#[test]
fn the_root_goes_to_the_out_log_and_is_checked_against_its_own_children() {
    let text = JOINED.replace("commit = \"wrap\"", "commit = \"fold\"");
    let mut driver = driver(&text);
    driver.blocks(10..=14);
    driver.work("blocks", good);
    assert_eq!(driver.work("folds", good), 4);
    let log = now(driver.yard.out_log(&named("joined"), 0)).expect("the out log");
    let OutKind::Proof { from, to, proofs, .. } = &log[0].kind else { panic!("{log:?}") };
    assert_eq!((*from, *to, proofs.len()), (10, 14, 1));
    assert_eq!((proofs[0].stage.as_str(), proofs[0].index), ("fold", 0));
    let committed = now(driver.yard.committed(&named("joined"), &(10..=14))).expect("what is committed");
    let proofs = now(driver.yard.committed_proofs(&named("joined"), &committed[0])).expect("its proofs");
    let inputs: Vec<_> =
        proofs[0].inputs.iter().map(|input| (input.stage.clone(), input.task_index)).collect();
    assert_eq!(inputs, [(Some("fold".into()), 1), (Some("prove".into()), 0)]);
}

#[test]
fn a_cut_of_one_block_has_one_task_with_one_input() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=10);
    driver.end();
    driver.work("blocks", good);
    let only = folds(&mut driver);
    assert_eq!(only.iter().map(given).collect::<Vec<_>>(), [(0, vec!["10".into()])]);
}

#[test]
fn a_reduction_of_blocks_starts_with_all_of_its_lowest_level() {
    let text = JOINED.replace("from = \"prove\"", "from = \"block\"").replace("arity = 2", "arity = 4");
    let mut driver = driver(&text);
    driver.blocks(10..=14);
    let lowest = folds(&mut driver);
    assert_eq!(lowest.iter().map(|task| task.task.id().index).collect::<Vec<_>>(), [1]);
    assert!(lowest[0].inputs.iter().all(|input| input.kind == InputKind::Block));
    assert_eq!(lowest[0].inputs.iter().map(|input| input.height).collect::<Vec<_>>(), [10, 11, 12, 13]);
    driver.perform(&lowest[0], Does::Proves("0a"));
    let root = folds(&mut driver);
    let kinds: Vec<_> = root[0].inputs.iter().map(|input| (input.kind, input.height)).collect();
    assert_eq!(kinds, [(InputKind::Proof, 10), (InputKind::Block, 14)]);
}

/// A crash between a member's decision and the listing that follows from it: the sweeper makes up for it.
#[test]
fn what_a_crash_kept_from_being_listed_is_found_by_the_sweeper() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=14);
    proves(&mut driver, 10);
    let assignment = driver.claim("blocks").expect("block 11");
    driver.record(&assignment, Does::Proves("0a"));
    // Nobody takes the steps that follow: the wakes are lost.
    while driver.yard.port.next_wake().is_some() {}
    assert!(folds(&mut driver).is_empty());
    driver.pass(15_000);
    driver.sweep();
    driver.pass(15_000);
    driver.sweep();
    assert_eq!(folds(&mut driver).iter().map(|task| task.task.id().index).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_reorg_voids_the_tree_and_the_new_cut_takes_up_the_proofs_that_stay() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=14);
    driver.work("blocks", good);
    let running = folds(&mut driver);
    assert_eq!(running.len(), 2);
    for height in 13..=14 {
        driver.send(&block(height, "b", if height == 13 { "a" } else { "b" }));
    }
    now(driver.yard.record_reorg(&named("joined"), 14, &"b14".into())).expect("a reorg");
    driver.settle();
    // A late proof of the old tree lists nothing in it.
    driver.perform(&running[0], Does::Proves("0a"));
    driver.perform(&running[1], Does::Proves("0a"));
    let again = folds(&mut driver);
    assert_eq!(again.iter().map(given).collect::<Vec<_>>(), [(2, vec!["10".into(), "11".into()])]);
    assert_ne!(again[0].task.id().scope, running[0].task.id().scope);
    driver.perform(&again[0], Does::Proves("0a"));
    assert_eq!(driver.work("blocks", good), 2);
    assert_eq!(driver.work("folds", good), 3);
    driver.work("wraps", good);
    assert_eq!(now(driver.yard.frontier(&named("joined"))).expect("the frontier").height, 15);
}

fn explained(driver: &Driver, height: u64, case: Case, parts: &[&str]) {
    let explanation = now(driver.yard.explain(&driver.chain, height)).expect("an explanation");
    let text = explanation.to_string();
    assert_eq!(explanation.case, case, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn what_gathers_is_explained() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=14);
    for height in [10, 11, 12] {
        proves(&mut driver, height);
    }
    explained(
        &driver,
        10,
        Case::Working,
        &[
            "stage fold has 4 of 4 tasks left (1 waiting for a worker, 3 waiting for what they join)",
            "task 2: waits for a worker of pool folds",
            "task 0: joins task 1, block 14 that are not there yet",
            "task 3: joins block 13 that are not there yet",
        ],
    );
    let rows = now(driver.yard.status(&named("joined"), true)).expect("a status").tasks.expect("its tasks");
    assert_eq!(rows.iter().filter(|row| row.state == TaskState::Gathering).count(), 3);
    driver.work("folds", good);
    // Now only the blocks can move it, and the first of them is looked into.
    explained(
        &driver,
        10,
        Case::Working,
        &["stage fold waits for stage prove of blocks 13, 14", "block 13: stage prove has 1 of 1 task left"],
    );
}

fn fail(driver: &mut Driver, worker: &str) {
    let assignment = driver.claim(worker).expect("a task to fail");
    driver.perform(&assignment, Does::Fails(FailureKind::Permanent, "the witness is wrong"));
    driver.pass(700_000);
    for pool in ["blocks", "folds", "wraps"] {
        now(driver.yard.heartbeat(&pool.into(), LEASE_MS)).expect("a heartbeat");
    }
    driver.sweep();
}

fn is_stuck_on_one(driver: &Driver) -> bool {
    matches!(now(driver.yard.is_finished(&named("joined"))), Ok(Finished::Stuck { parked, .. }) if parked.len() == 1)
}

#[test]
fn a_task_of_the_tree_that_parks_holds_up_what_is_above_it() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=12);
    driver.end();
    driver.work("blocks", good);
    fail(&mut driver, "folds");
    assert!(!is_stuck_on_one(&driver));
    driver.worker("folds-2", "folds");
    fail(&mut driver, "folds-2");
    assert_eq!(driver.work("folds", good), 0);
    explained(
        &driver,
        12,
        Case::Parked,
        &[
            "1 task of stage fold is parked (two workers say that it can never work: \"the witness is wrong\")",
            "joins task 1 that",
        ],
    );
    assert!(is_stuck_on_one(&driver));
    now(driver.yard.retry(&RetrySelection::AllOf { chain: named("joined") })).expect("a retry");
    driver.settle();
    assert_eq!(driver.work("folds", good), 2);
}

/// While a block's own task is parked, a tree that waits for that block moves by nothing.
#[test]
fn a_tree_that_waits_for_a_parked_block_is_stuck() {
    let mut driver = driver(JOINED);
    driver.blocks(10..=14);
    driver.end();
    for height in 11..=14 {
        proves(&mut driver, height);
    }
    fail(&mut driver, "blocks");
    assert_eq!(driver.work("folds", good), 1);
    assert!(matches!(now(driver.yard.is_finished(&named("joined"))), Ok(Finished::No)));
    driver.worker("blocks-2", "blocks");
    fail(&mut driver, "blocks-2");
    assert!(is_stuck_on_one(&driver));
    explained(
        &driver,
        12,
        Case::Parked,
        &["stage fold waits for stage prove of block 10", "`proofyard retry 10`"],
    );
}

/// Cuts of eight, with a fork of the block prover at 13 and one of the fold at 20.
const FORKS: &str = r#"
[chain]
name = "forks"
start_height = 10
window = 16
commit = "fold"

[stage.plan]
strategy = "match"
from = "block"
prover = [{ prover = "p" }, { prover = "q", from_height = 13 }]
pool = "blocks"
output = "data"

[stage.part]
strategy = "split"
from = "plan"
prover = "p"
pool = "blocks"

[stage.prove]
strategy = "match"
from = "part"
prover = "p"
pool = "blocks"

[stage.fold]
strategy = "sequential"
from = "prove"
size = 8
prover = [{ prover = "p" }, { prover = "p", from_height = 16 }, { prover = "q", from_height = 20 }]
pool = "folds"

[prover.p]
command = ["p"]

[prover.q]
command = ["q"]

[pool.blocks]
[pool.folds]
[pool.wraps]
"#;

#[test]
fn a_cut_ends_before_a_fork_of_whatever_goes_into_it() {
    let mut driver = driver(FORKS);
    let cut = |driver: &Driver, from: u64, to: u64, reason: &str| {
        let text = now(driver.yard.explain(&named("forks"), from)).expect("an explanation").to_string();
        let expected = format!("in the cut {from}..{to}, closed by {reason}");
        assert!(text.contains(&expected), "no {expected:?} in:\n{text}");
    };
    // Its last block before the fork closes it: nothing is waited for.
    driver.blocks(10..=12);
    driver.work("blocks", good);
    cut(&driver, 10, 12, "fork");
    driver.blocks(13..=14);
    driver.work("blocks", good);
    explained(
        &driver,
        13,
        Case::WaitsForCut,
        &["it has 2 of 7 blocks", "a prover changes at height 20, and it closes before that"],
    );
    // From 16 on the same prover is named again, which is no fork.
    driver.blocks(15..=19);
    driver.work("blocks", good);
    cut(&driver, 13, 19, "fork");
    driver.work("folds", good);
    driver.blocks(20..=27);
    driver.work("blocks", good);
    cut(&driver, 20, 27, "size");
}

#[test]
fn each_side_of_a_fork_is_proved_by_its_own_prover() {
    let mut driver = driver(FORKS);
    driver.blocks(10..=20);
    driver.end();
    let mut seen = std::collections::BTreeSet::new();
    for worker in ["blocks", "folds"].repeat(3) {
        while let Some(assignment) = driver.claim(worker) {
            let (height, stage) = (assignment.task.height(), assignment.task.id().stage.clone());
            seen.insert((stage.clone(), height, assignment.prover_name.clone()));
            let does = good(&assignment);
            driver.perform(&assignment, does);
        }
    }
    let prover = |stage: &str, height: u64| {
        let found: Vec<_> = seen.iter().filter(|(of, at, _)| (of.as_str(), *at) == (stage, height)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].2.as_str()
    };
    assert_eq!((prover("plan", 12), prover("plan", 13)), ("p", "q"));
    assert_eq!((prover("fold", 10), prover("fold", 13), prover("fold", 20)), ("p", "p", "q"));
}

/// Proofs under the pinned key count; all others, and those that name none, are failed attempts.
#[test]
fn only_proofs_under_the_pinned_key_count() {
    let pinned = "command = [\"p\"]\nverification_key = \"0xABCD\"";
    let text = JOINED.replace("command = [\"p\"]", pinned);
    let mut driver = driver(&text);
    driver.blocks(10..=10);
    driver.end();
    let assignment = driver.claim("blocks").expect("the block");
    driver.perform(&assignment, Does::ProvesUnder(Some("abce")));
    explained(
        &driver,
        10,
        Case::Working,
        &["the proof by prover p is of verification key abce, and the pipeline pins abcd", "1 failure of 3"],
    );
    driver.pass(2_000);
    driver.sweep();
    driver.worker("blocks-2", "blocks");
    let assignment = driver.claim("blocks-2").expect("the block again");
    driver.perform(&assignment, Does::ProvesUnder(None));
    explained(
        &driver,
        10,
        Case::Parked,
        &["the proof by prover p names no verification key, and the pipeline pins abcd"],
    );
    let all = RetrySelection::AllOf { chain: named("joined") };
    now(driver.yard.retry(&all)).expect("a retry");
    driver.settle();
    driver.pass(10_000);
    let assignment = driver.claim("blocks").expect("the block once more");
    driver.perform(&assignment, Does::ProvesUnder(Some("abcd")));
    let fold = driver.claim("folds").expect("the fold");
    assert_eq!(fold.inputs[0].verification_key.as_deref(), Some("abcd"));
}
