//! A worker's credential that writes what it likes under its tasks' keys: nothing is built on it, and with a judge nothing
//! is handed on that the judge has not looked at.

use std::cell::Cell;

use proofyard_core::Wake;
use proofyard_core::committed::CommittedProof;
use proofyard_core::judge::{Judged, Verifies};
use proofyard_core::record::FailureKind;
use proofyard_core::state::{ChainState, Halt, Judgement, Marker, Task, TaskId, TaskResult};
use proofyard_core::transaction::{read, transact};
use proofyard_core::work::AttemptError;

use crate::common::driver::{Does, Driver, good};
use crate::common::{named, now};

const DEMO: &str = include_str!("pipeline/demo.toml");

fn pinned() -> String {
    DEMO.replace(
        "command = [\"proofyard-miden\", \"join\"]",
        "command = [\"join\"]\nverification_key = \"aa\"",
    )
}

fn task(driver: &Driver, id: &TaskId) -> Task {
    now(read(&driver.yard.port, &id.task_key())).expect("a read").expect("the task")
}

/// Writes what a worker may: a task's row, and its marker gone.
fn forge(driver: &Driver, id: &TaskId, change: impl Fn(&mut TaskResult)) {
    now(transact(&driver.yard.port, async |tx| {
        let task: Task = tx.check(&id.task_key()).await?.expect("the task");
        let mut result = task.accepted().cloned().unwrap_or_else(|| result(&format!("miden-{}", id.stage)));
        change(&mut result);
        let mut row = serde_json::to_value(&task).expect("a row");
        row["status"] = "accepted".into();
        row["accepted"] = serde_json::to_value(result).expect("a result");
        row["listed"] = false.into();
        row["attempts"] = serde_json::json!([]);
        let task: Task = serde_json::from_value(row).expect("a task");
        tx.peek::<Marker>(&id.marker_key()).await?;
        tx.delete(id.marker_key());
        tx.put(&task)
    }))
    .expect("forging");
    now(driver.yard.advance(&Wake::Scope { scope: id.scope.clone() })).expect("advancing");
    driver.settle();
}

fn result(prover: &str) -> TaskResult {
    serde_json::from_value(serde_json::json!({
        "artifact": {"sha256": "6b".repeat(32), "bytes": 4}, "public_values": "0a", "verification_key": "aa",
        "proof_system": null, "security_bits": null, "cycles": null, "list": null, "fields": {"program": "x"},
        "prover": prover, "worker": "w", "attempt": 1, "claimed_ms": 0, "prove_ms": 0, "verify_ms": 0, "at_ms": 0,
    }))
    .expect("a result")
}

fn halted(driver: &Driver) -> Option<String> {
    now(driver.yard.chain_state(&driver.chain)).expect("the chain").halted.map(|halt| halt.reason)
}

fn frontier(driver: &Driver) -> u64 {
    now(driver.yard.frontier(&driver.chain)).expect("the frontier").height
}

/// Block 1 with its segments proved, and the join that would commit it.
fn at_the_join(driver: &mut Driver) -> TaskId {
    driver.worker("w", "cpu");
    driver.block(1);
    for _ in 0..3 {
        let segment = driver.claim("w").expect("a segment");
        driver.perform(&segment, Does::Proves("0a"));
    }
    let scope = driver.claim("w").expect("the join").task.id().scope.clone();
    TaskId::new(&scope, "join", 0)
}

#[test]
fn what_no_stage_may_accept_halts_the_chain_before_anything_is_built_on_it() {
    type Change = fn(&mut TaskResult);
    let forgeries: [(Change, &str); 6] = [
        (|result| result.artifact.bytes = 0, "its proof has no bytes"),
        (|result| result.public_values = None, "no verifier read public values from the proof"),
        (|result| result.verification_key = Some("bb".into()), "the pipeline pins aa"),
        (|result| result.verification_key = None, "names no verification key, and the pipeline pins aa"),
        (|result| result.prover = "other".into(), "prover other is not the one of stage join at height 1"),
        (|result| result.public_values = Some("00".repeat(8_193)), "its public values take 8193 bytes"),
    ];
    for (change, told) in forgeries {
        let mut driver = Driver::new(&pinned());
        let join = at_the_join(&mut driver);
        forge(&driver, &join, change);
        for _ in 0..2 {
            let reason = halted(&driver).expect("a halt");
            for part in [told, "worker w recorded a result of demo:b:1:a1:0/join/0", "proofyard redo 1"] {
                assert!(reason.contains(part), "{reason}");
            }
            assert_eq!(frontier(&driver), 1, "{told}");
            now(driver.yard.resume(&named("demo"))).expect("resuming");
            driver.settle();
            driver.pass(300_000);
            driver.sweep();
        }
        driver.worker("later", "cpu");
        now(driver.yard.record_redo(&named("demo"), 1)).expect("redoing");
        now(driver.yard.resume(&named("demo"))).expect("resuming");
        driver.settle();
        driver.work("later", |assignment| match assignment.task.id().stage.as_str() {
            "join" => Does::ProvesUnder(Some("aa")),
            _ => good(assignment),
        });
        assert_eq!((frontier(&driver), halted(&driver)), (2, None), "{told}");
    }
}

/// Also of a stage that others read.
#[test]
fn a_forged_segment_is_joined_by_nobody() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w", "cpu");
    driver.block(1);
    let segment = driver.claim("w").expect("a segment").task.id().clone();
    forge(&driver, &segment, |result| result.artifact.bytes = 0);
    driver.work("w", good);
    assert!(halted(&driver).expect("a halt").contains("its proof has no bytes"));
    assert_eq!(frontier(&driver), 1);
}

/// A judge whose verifier accepts the honest proofs of this test.
#[derive(Default)]
struct Judge {
    asked: Cell<u32>,
    unavailable: Cell<bool>,
}

impl Verifies for &Judge {
    async fn verify(&mut self, proof: &CommittedProof) -> Result<Option<String>, AttemptError> {
        self.asked.set(self.asked.get() + 1);
        let failed =
            |kind, message: &str| AttemptError::Failed { kind, message: message.into(), log: Vec::new() };
        if self.unavailable.get() {
            return Err(failed(FailureKind::Unavailable, "not now"));
        }
        assert_eq!((proof.prover_name.as_str(), proof.inputs.len()), ("miden-join", 3));
        match proof.proof.artifact.sha256.starts_with("5a") {
            true => Ok(Some("0a".into())),
            false => Err(failed(FailureKind::Transient, "it does not verify")),
        }
    }
}

/// Ready to be judged.
fn joined(driver: &mut Driver) -> TaskId {
    *driver = Driver::new(DEMO).judged();
    driver.worker("w", "cpu");
    driver.block(1);
    driver.work("w", good);
    let tasks = driver.take_to_judge();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    tasks.into_iter().next().expect("the join")
}

fn ask(driver: &Driver, judge: &Judge, id: &TaskId) -> Judged {
    let judged = now(driver.yard.judge(&mut &*judge, "j", id)).expect("judging");
    driver.settle();
    judged
}

#[test]
fn a_block_is_committed_once_the_judge_has_looked_at_it() {
    let mut driver = Driver::new(DEMO);
    let (join, judge) = (joined(&mut driver), Judge::default());
    assert_eq!(frontier(&driver), 1);
    let told = now(driver.yard.explain(&named("demo"), 1)).expect("an explanation").to_string();
    assert!(told.contains("the judge has not looked at demo:b:1:a1:0/join/0 yet"), "{told}");
    // What told the judge may be lost, and who looks again tells it.
    driver.pass(600_000);
    driver.sweep();
    assert_eq!(Vec::from_iter(driver.take_to_judge()), std::slice::from_ref(&join));
    judge.unavailable.set(true);
    assert_eq!(ask(&driver, &judge, &join), Judged::Later("not now".into()));
    assert_eq!(frontier(&driver), 1);
    judge.unavailable.set(false);
    let segment = TaskId::new(&join.scope, "segment", 0);
    assert_eq!(ask(&driver, &judge, &segment), Judged::Nothing, "nothing that is not handed on");
    assert_eq!(ask(&driver, &judge, &join), Judged::Stands);
    assert_eq!((frontier(&driver), halted(&driver)), (2, None));
    let asked = judge.asked.get();
    assert_eq!(ask(&driver, &judge, &join), Judged::Before);
    assert_eq!(judge.asked.get(), asked, "once is enough");
}

#[test]
fn a_forged_proof_is_never_committed_where_a_judge_looks() {
    // Without one, whoever has a worker's credential commits four bytes of its own.
    let mut driver = Driver::new(DEMO);
    let join = at_the_join(&mut driver);
    forge(&driver, &join, |_| {});
    assert_eq!((frontier(&driver), halted(&driver)), (2, None));
    let mut driver = Driver::new(DEMO).judged();
    let (join, judge) = (at_the_join(&mut driver), Judge::default());
    forge(&driver, &join, |_| {});
    assert_eq!(frontier(&driver), 1);
    assert!(matches!(ask(&driver, &judge, &join), Judged::Refused(_)));
    let reason = halted(&driver).expect("a halt");
    for part in
        ["the judge refused demo:b:1:a1:0/join/0", "worker w", "it does not verify", "proofyard redo 1"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    // Not by patience either.
    now(driver.yard.resume(&named("demo"))).expect("resuming");
    driver.settle();
    driver.pass(600_000);
    driver.sweep();
    assert_eq!((frontier(&driver), halted(&driver).is_some()), (1, true));
    now(driver.yard.record_redo(&named("demo"), 1)).expect("redoing");
    now(driver.yard.resume(&named("demo"))).expect("resuming");
    driver.settle();
    driver.worker("later", "cpu");
    driver.work("later", good);
    for id in driver.take_to_judge() {
        ask(&driver, &judge, &id);
    }
    assert_eq!((frontier(&driver), halted(&driver)), (2, None));
}

/// The judge says what a proof has, and its values must be those that are handed on.
#[test]
fn other_public_values_than_the_proof_has_are_refused() {
    let mut driver = Driver::new(DEMO).judged();
    let (join, judge) = (at_the_join(&mut driver), Judge::default());
    forge(&driver, &join, |result| {
        result.artifact.sha256 = "5a".repeat(32);
        result.public_values = Some("0b".into());
    });
    let Judged::Refused(reason) = ask(&driver, &judge, &join) else { panic!("it is not refused") };
    assert_eq!(reason, "its proof has public values 0a, and those recorded are 0b");
    assert_eq!((frontier(&driver), halted(&driver).is_some()), (1, true));
}

/// After the judge's look, and before the commit: also where its word came and nobody took the next step yet.
#[test]
fn what_is_changed_after_the_judgement_is_not_committed() {
    for is_proved in [false, true] {
        let mut driver = Driver::new(DEMO);
        let (join, judge) = (joined(&mut driver), Judge::default());
        if is_proved {
            // Proved, and its commit waits for an operator.
            now(transact(&driver.yard.port, async |tx| {
                let state: ChainState =
                    tx.check(&ChainState::key_of(&named("demo"))).await?.expect("the chain");
                let halt = Halt { reason: "a test".into(), scope: None, at_ms: 0 };
                tx.put(&ChainState { halted: Some(halt), ..state })
            }))
            .expect("halting");
            assert_eq!(ask(&driver, &judge, &join), Judged::Stands);
        } else {
            now(driver.yard.judge(&mut &judge, "j", &join)).expect("judging");
            while driver.yard.port.next_wake().is_some() {}
        }
        assert_eq!(frontier(&driver), 1);
        forge(&driver, &join, |result| result.artifact.sha256 = "6b".repeat(32));
        if is_proved {
            now(driver.yard.resume(&named("demo"))).expect("resuming");
            driver.settle();
        }
        let reason = halted(&driver).expect("a halt");
        assert!(reason.contains("is not what the judge looked at"), "{reason}");
        assert_eq!(frontier(&driver), 1);
    }
}

#[test]
fn a_judgement_is_written_once() {
    let mut driver = Driver::new(DEMO);
    let (join, judge) = (joined(&mut driver), Judge::default());
    assert_eq!(ask(&driver, &judge, &join), Judged::Stands);
    let first: Judgement =
        now(read(&driver.yard.port, &Judgement::key_of(&join))).expect("a read").expect("a word");
    assert!(first.is_of(&task(&driver, &join).into_accepted().expect("a result")));
    forge(&driver, &join, |result| result.artifact.sha256 = "6b".repeat(32));
    assert_eq!(ask(&driver, &judge, &join), Judged::Before);
    let again: Judgement =
        now(read(&driver.yard.port, &Judgement::key_of(&join))).expect("a read").expect("a word");
    assert_eq!(again, first);
}
