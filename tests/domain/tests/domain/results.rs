//! What a result may be, whoever brings it.

use proofyard_core::pipeline::MAX_VERIFICATION_KEY_BYTES;
use proofyard_core::record::{MAX_PROOF_SYSTEM_BYTES, MAX_PUBLIC_VALUES_BYTES, ResultReport};
use proofyard_core::state::{ArtifactRef, TaskResult};
use proofyard_core::work::Assignment;

use crate::common::driver::Driver;
use crate::common::now;

const DEMO: &str = include_str!("pipeline/demo.toml");

fn result(assignment: &Assignment) -> TaskResult {
    TaskResult {
        artifact: ArtifactRef { sha256: "5a".repeat(32), bytes: 1 },
        public_values: Some("00".repeat(MAX_PUBLIC_VALUES_BYTES)),
        verification_key: Some("00".repeat(MAX_VERIFICATION_KEY_BYTES)),
        proof_system: Some("s".repeat(MAX_PROOF_SYSTEM_BYTES)),
        security_bits: None,
        trusted_setup: None,
        cycles: None,
        list: None,
        fields: [("program".to_owned(), "x".to_owned())].into(),
        prover: assignment.prover_name.clone(),
        worker: assignment.worker.clone(),
        attempt: assignment.attempt,
        claimed_ms: 0,
        started_ms: None,
        prove_ms: 0,
        verify_ms: 0,
        at_ms: 0,
    }
}

/// A good result of a claimed task.
pub fn report(assignment: &Assignment) -> ResultReport {
    let (task, slot, claim) = (assignment.task.id().clone(), assignment.slot, assignment.claim.clone());
    ResultReport { task, slot, claim, result: result(assignment), metered: None }
}

#[test]
fn a_result_that_is_no_proof_or_takes_too_much_room_is_a_failed_attempt() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w", "cpu");
    driver.block(1);
    let assignment = driver.claim("w").expect("a task");
    let fault = |change: &dyn Fn(&mut TaskResult)| {
        let mut result = result(&assignment);
        change(&mut result);
        now(driver.yard.fault_of(&assignment.task, &result)).expect("a verdict")
    };
    assert_eq!(fault(&|_| {}), None);
    let told = |told: &str| Some(told.to_owned());
    assert_eq!(fault(&|result| result.artifact.bytes = 0), told("its proof has no bytes"));
    let values = "00".repeat(MAX_PUBLIC_VALUES_BYTES + 1);
    let told_values = "its public values take 8193 bytes; at most 8192 may be";
    assert_eq!(fault(&|result| result.public_values = Some(values.clone())), told(told_values));
    let key = "00".repeat(MAX_VERIFICATION_KEY_BYTES + 1);
    let told_key = "its verification key takes 4097 bytes; at most 4096 may be";
    assert_eq!(fault(&|result| result.verification_key = Some(key.clone())), told(told_key));
    let system = "s".repeat(MAX_PROOF_SYSTEM_BYTES + 1);
    let told_system = "its proof system's name takes 65 bytes; at most 64 may be";
    assert_eq!(fault(&|result| result.proof_system = Some(system.clone())), told(told_system));
    // Also where nobody asked before.
    let mut result = result(&assignment);
    result.public_values = Some(values);
    let Assignment { slot, claim, task, .. } = &assignment;
    let report =
        ResultReport { task: task.id().clone(), slot: *slot, claim: claim.clone(), result, metered: None };
    let refused = now(driver.yard.record_result(&report)).expect_err("a refusal").to_string();
    assert!(refused.contains(told_values), "{refused}");
}
