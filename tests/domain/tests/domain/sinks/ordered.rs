//! Entries that wait for finality, and an operator's words.

use proofyard_core::sinks::{SinkWord, Trouble};
use proofyard_core::state::OutKind;
use proofyard_core::status::Finished;

use super::{driver, finalize, prove, reorg, tell};
use crate::common::driver::{Driver, block, good};
use crate::common::{named, now};

/// Hands on what there is.
fn handed_on(driver: &Driver) -> Vec<String> {
    let mut handed_on = Vec::new();
    while let Some(entry) = now(driver.yard.sink_next(&named("c"), "out")).unwrap() {
        handed_on.push(match &entry.kind {
            OutKind::Proof { hash, .. } => hash.to_string(),
            OutKind::Retract { from, to } => format!("retract {from}..{to}"),
        });
        now(driver.yard.sink_done("out", &entry)).unwrap();
    }
    handed_on
}

#[test]
fn what_is_not_final_waits_and_what_left_the_chain_before_is_never_handed_on() {
    let mut driver = driver("file = \"x\"\nconfirm = \"finalized\"");
    prove(&mut driver, 1..=4);
    assert_eq!(handed_on(&driver), [""; 0], "nobody said what is final");
    finalize(&driver, 2, "a2");
    assert_eq!(handed_on(&driver), ["a1", "a2"]);
    reorg(&driver, 4..=5);
    driver.work("w", good);
    finalize(&driver, 5, "b5");
    assert_eq!(handed_on(&driver), ["a3", "b4", "b5"], "neither a4 nor its retract");
    // What was handed on is taken back all the same, should a node go back on its word.
    for height in 3..=5 {
        driver.send(&block(height, "d", if height == 3 { "a" } else { "d" }));
    }
    now(driver.yard.record_reorg(&named("c"), 5, &"d5".into())).unwrap();
    driver.settle();
    driver.work("w", good);
    assert_eq!(handed_on(&driver), ["retract 3..5", "d3", "d4", "d5"]);
}

#[test]
fn what_waits_until_it_is_final_is_no_lag_and_finality_wakes_the_sink() {
    let mut driver = driver("file = \"x\"\nconfirm = \"finalized\"");
    prove(&mut driver, 1..=2);
    driver.pass(1_000_000);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    assert_eq!(status.sinks[0].behind, 2);
    assert_eq!(now(driver.yard.sink_lag_ms(&named("c"), &status.sinks[0])).unwrap(), 0);
    finalize(&driver, 1, "a1");
    let wake =
        std::iter::from_fn(|| driver.yard.port.next_wake()).find(|wake| format!("{wake:?}").contains("Sink"));
    assert!(wake.is_some());
    assert!(now(driver.yard.sink_lag_ms(&named("c"), &status.sinks[0])).unwrap() >= 1_000_000);
}

#[test]
fn only_what_is_wanted_is_handed_on_and_the_rest_is_passed() {
    let mut driver = driver("command = [\"page\"]\nevents = \"retract\"");
    prove(&mut driver, 1..=200);
    assert_eq!(handed_on(&driver), [""; 0]);
    reorg(&driver, 199..=201);
    // A call passes over so many, and wakes the sink for the rest.
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(handed_on(&driver));
    }
    assert_eq!(all, ["retract 199..200"]);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    assert_eq!(status.sinks[0].behind, 0);
}

#[test]
fn a_paused_sink_is_told_nothing_and_holds_up_nothing() {
    let mut driver = driver("file = \"x\"");
    assert_eq!(tell(&driver, SinkWord::Pause), Ok((0, true)));
    prove(&mut driver, 1..=3);
    driver.end();
    assert_eq!(handed_on(&driver), [""; 0]);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    assert_eq!((status.frontier, status.sinks[0].paused, status.sinks[0].behind), (4, true, 3));
    let Finished::Stuck { reason, .. } = now(driver.yard.is_finished(&named("c"))).unwrap() else { panic!() };
    assert_eq!(reason, "sink out is paused");
    assert_eq!(tell(&driver, SinkWord::Resume), Ok((0, false)));
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::No);
    assert_eq!(handed_on(&driver), ["a1", "a2", "a3"]);
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::Yes);
}

#[test]
fn an_entry_that_is_never_taken_is_skipped_and_entries_are_handed_on_again() {
    let mut driver = driver("file = \"x\"");
    prove(&mut driver, 1..=3);
    let entry = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    now(driver.yard.sink_failed("out", &entry, &Trouble::saying("never"))).unwrap();
    assert!(now(driver.yard.sink_next(&named("c"), "out")).unwrap().is_none(), "its next try is later");
    let error = tell(&driver, SinkWord::Skip { sequence: 1 }).unwrap_err();
    assert!(error.contains("sink out waits with entry 0, not with 1"), "{error}");
    let error = tell(&driver, SinkWord::Skip { sequence: 7 }).unwrap_err();
    assert!(error.contains("the log of commits has no entry 7"), "{error}");
    assert_eq!(tell(&driver, SinkWord::Skip { sequence: 0 }), Ok((1, false)));
    assert_eq!(tell(&driver, SinkWord::Skip { sequence: 0 }), Ok((1, false)), "a repeat skips nothing more");
    assert_eq!(handed_on(&driver), ["a2", "a3"], "at once");
    let error = tell(&driver, SinkWord::Again { from: 4 }).unwrap_err();
    assert!(error.contains("only what is before entry 3"), "{error}");
    assert_eq!(tell(&driver, SinkWord::Again { from: 0 }), Ok((0, false)));
    assert_eq!(handed_on(&driver), ["a1", "a2", "a3"]);
}

#[test]
fn a_sink_that_asks_to_wait_is_waited_for() {
    let mut driver = driver("file = \"x\"");
    prove(&mut driver, 1..=1);
    let entry = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    let busy = Trouble::asking("429", Some(90_000));
    now(driver.yard.sink_failed("out", &entry, &busy)).unwrap();
    driver.pass(89_000);
    assert!(now(driver.yard.sink_next(&named("c"), "out")).unwrap().is_none());
    driver.pass(1_000);
    assert!(now(driver.yard.sink_next(&named("c"), "out")).unwrap().is_some());
}

#[test]
fn a_sink_that_waits_for_what_goes_its_way_has_not_failed() {
    let mut driver = driver("file = \"x\"");
    prove(&mut driver, 1..=1);
    let entry = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    for _ in 0..3 {
        now(driver.yard.sink_failed("out", &entry, &Trouble::saying("down"))).unwrap();
    }
    for _ in 0..5 {
        now(driver.yard.sink_failed("out", &entry, &Trouble::waiting("3 of 10 confirmations", 2_000)))
            .unwrap();
        assert!(now(driver.yard.sink_next(&named("c"), "out")).unwrap().is_none());
        driver.pass(2_000);
        assert!(now(driver.yard.sink_next(&named("c"), "out")).unwrap().is_some(), "no pause grows by it");
    }
    let cursor = now(driver.yard.sink_cursor(&named("c"), "out", "commits")).unwrap();
    assert_eq!((cursor.failures, cursor.last_error.as_deref()), (0, Some("3 of 10 confirmations")));
}

#[test]
fn explain_says_which_sinks_have_not_got_a_block_and_why() {
    let mut driver = driver("file = \"out.jsonl\"");
    prove(&mut driver, 1..=3);
    let explained =
        |driver: &Driver, height: u64| now(driver.yard.explain(&named("c"), height)).unwrap().to_string();
    let says = |driver: &Driver, height: u64, part: &str| {
        let text = explained(driver, height);
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    };
    let first = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    now(driver.yard.sink_done("out", &first)).unwrap();
    assert!(!explained(&driver, 1).contains("has not got it"), "{}", explained(&driver, 1));
    says(&driver, 2, "sink out has not got it: entry 1 is its next one");
    let second = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    now(driver.yard.sink_failed("out", &second, &Trouble::saying("no room on the disk"))).unwrap();
    says(
        &driver,
        3,
        "sink out has not got it: entry 1 was tried 1 time in vain, at last: no room on the disk; its next try, in",
    );
    tell(&driver, SinkWord::Pause).unwrap();
    says(&driver, 3, "it is paused before entry 1 (`proofyard sink out --resume`");
}

#[test]
fn a_paused_sink_lags_on_purpose() {
    let mut driver = driver("file = \"out.jsonl\"");
    prove(&mut driver, 1..=1);
    driver.pass(5_000);
    let lag_ms = |driver: &Driver| {
        let sinks = now(driver.yard.status(&named("c"), false)).unwrap().sinks;
        now(driver.yard.sink_lag_ms(&named("c"), &sinks[0])).unwrap()
    };
    assert_eq!(lag_ms(&driver), 5_000);
    tell(&driver, SinkWord::Pause).unwrap();
    assert_eq!(lag_ms(&driver), 0);
}

#[test]
fn what_may_have_been_handed_on_before_a_crash_is_taken_back() {
    for records_failure in [false, true] {
        let mut driver = driver("file = \"x\"\nconfirm = \"safe\"");
        prove(&mut driver, 1..=2);
        finalize(&driver, 2, "a2");
        let first = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
        now(driver.yard.sink_done("out", &first)).unwrap();
        // The sink has it, and the yard dies, or the answer is lost.
        let second = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
        if records_failure {
            now(driver.yard.sink_failed("out", &second, &Trouble::saying("no answer"))).unwrap();
            driver.pass(10_000);
        }
        reorg(&driver, 2..=2);
        driver.work("w", good);
        finalize(&driver, 2, "b2");
        assert_eq!(handed_on(&driver), ["retract 2..2", "b2"]);
    }
}

/// Nothing that follows a retract that was skipped is taken for handed on before it.
#[test]
fn a_retract_that_is_skipped_leaves_the_sink_as_one_that_was_handed_on() {
    let mut cursors = Vec::new();
    for is_skipped in [false, true] {
        let mut driver = driver("file = \"x\"\nconfirm = \"safe\"");
        prove(&mut driver, 1..=3);
        finalize(&driver, 3, "a3");
        assert_eq!(handed_on(&driver), ["a1", "a2", "a3"]);
        reorg(&driver, 2..=3);
        driver.work("w", good);
        let retract = now(driver.yard.sink_next(&named("c"), "out")).unwrap().unwrap();
        assert!(matches!(retract.kind, OutKind::Retract { from: 2, to: 3 }), "{retract:?}");
        match is_skipped {
            true => {
                let done = tell(&driver, SinkWord::Skip { sequence: retract.sequence });
                assert_eq!(done, Ok((retract.sequence + 1, false)));
            }
            false => now(driver.yard.sink_done("out", &retract)).unwrap(),
        }
        cursors.push(now(driver.yard.sink_cursor(&named("c"), "out", "commits")).unwrap());
        // These blocks leave before anybody was told of them.
        for height in [2, 3] {
            driver.send(&block(height, "d", if height == 2 { "a" } else { "d" }));
        }
        now(driver.yard.record_reorg(&named("c"), 3, &"d3".into())).unwrap();
        driver.settle();
        driver.work("w", good);
        finalize(&driver, 3, "d3");
        assert_eq!(handed_on(&driver), ["d2", "d3"], "skipped: {is_skipped}");
    }
    assert_eq!(cursors[0], cursors[1]);
}

#[test]
fn a_proof_that_was_skipped_while_it_waited_is_not_taken_back() {
    let mut driver = driver("file = \"x\"\nconfirm = \"safe\"");
    prove(&mut driver, 1..=3);
    finalize(&driver, 2, "a2");
    assert_eq!(handed_on(&driver), ["a1", "a2"]);
    assert_eq!(tell(&driver, SinkWord::Skip { sequence: 2 }), Ok((3, false)));
    reorg(&driver, 3..=3);
    driver.work("w", good);
    assert_eq!(handed_on(&driver), [""; 0], "it never had a3");
}

#[test]
fn entries_that_are_handed_on_again_take_back_nothing_that_stands() {
    let mut driver = driver("file = \"x\"\nconfirm = \"finalized\"");
    prove(&mut driver, 1..=3);
    reorg(&driver, 2..=3);
    driver.work("w", good);
    finalize(&driver, 3, "b3");
    assert_eq!(handed_on(&driver), ["a1", "b2", "b3"]);
    assert_eq!(tell(&driver, SinkWord::Again { from: 0 }), Ok((0, false)));
    assert_eq!(handed_on(&driver), ["a1", "b2", "b3"]);
}

#[test]
fn who_wants_only_retracts_is_told_of_those_of_final_blocks() {
    let mut driver = driver("file = \"x\"\nconfirm = \"finalized\"\nevents = \"retract\"");
    prove(&mut driver, 1..=3);
    finalize(&driver, 2, "a2");
    assert_eq!(handed_on(&driver), [""; 0]);
    reorg(&driver, 2..=3);
    assert_eq!(handed_on(&driver), ["retract 2..3"]);
}

#[test]
fn a_run_whose_sink_waits_for_finality_that_nobody_tells_is_stuck_and_says_so() {
    let mut driver = driver("file = \"x\"\nconfirm = \"finalized\"");
    prove(&mut driver, 1..=1);
    driver.end();
    let Finished::Stuck { reason, .. } = now(driver.yard.is_finished(&named("c"))).unwrap() else { panic!() };
    assert_eq!(reason, "sink out waits for final blocks");
}
