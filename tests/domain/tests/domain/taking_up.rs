//! What an attempt stored and never recorded, and the next one takes up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::common::driver::Driver;
use crate::common::now;
use proofyard_core::record::{FailureKind, ResultOutcome};
use proofyard_core::state::{ArtifactRef, Task, TaskResult};
use proofyard_core::work::{Assignment, AttemptError, Executor, Performed, Proved, Proving};

const DEMO: &str = include_str!("pipeline/demo.toml");
const ANEW: &str = "0a";
const BEFORE: &str = "0b";
/// What the earlier attempt took.
const EARLIER: Proving = Proving { started_ms: 5, prove_ms: 7_000 };

/// A home that remembers a proof of an earlier attempt, and a verifier with an opinion of it.
struct Remembers {
    verdict: Result<(), AttemptError>,
    /// The name of its match field; the next stage needs `program`.
    program: &'static str,
    found: Cell<bool>,
    proved: Cell<bool>,
    rejected: RefCell<Option<String>>,
}

impl Remembers {
    fn with(verdict: Result<(), AttemptError>) -> Self {
        let (found, proved, rejected) = Default::default();
        Self { verdict, program: "program", found, proved, rejected }
    }
}

impl Executor for &Remembers {
    /// Public values.
    type Output = &'static str;

    async fn prove(&mut self, _: &Assignment) -> Result<Proved<&'static str>, AttemptError> {
        self.proved.set(true);
        Ok(made(ANEW, "program"))
    }

    async fn verify(
        &mut self,
        _: &Assignment,
        proved: &Proved<&'static str>,
    ) -> Result<String, AttemptError> {
        match &self.verdict {
            Err(trouble) if proved.output == BEFORE => Err(trouble.clone()),
            _ => Ok(proved.output.to_owned()),
        }
    }

    async fn store(&mut self, _: &Assignment, _: &Proved<&'static str>) -> Result<ArtifactRef, AttemptError> {
        Ok(ArtifactRef { sha256: "5a".repeat(32), bytes: 1 })
    }

    async fn find_unrecorded(
        &mut self,
        _: &Assignment,
    ) -> Result<Option<Proved<&'static str>>, AttemptError> {
        self.found.set(true);
        Ok(Some(Proved { proving: Some(EARLIER), ..made(BEFORE, self.program) }))
    }

    async fn reject_unrecorded(&mut self, _: &Assignment, why: &str) {
        *self.rejected.borrow_mut() = Some(why.to_owned());
    }
}

fn made(output: &'static str, program: &str) -> Proved<&'static str> {
    let fields = [(program, "x"), ("post_state", "x")];
    Proved {
        output,
        claimed_public_values: None,
        verification_key: None,
        proof_system: None,
        security_bits: None,
        trusted_setup: None,
        cycles: None,
        list: None,
        fields: fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        proving: None,
    }
}

/// The first task's attempt of this number, as the home has it done; and the public values that are recorded then.
fn attempt(number: u32, home: &Remembers) -> (Performed, Option<String>) {
    let (performed, result) = performed(number, home);
    (performed, result.and_then(|result| result.public_values))
}

/// The same, with all that is recorded.
fn performed(number: u32, home: &Remembers) -> (Performed, Option<TaskResult>) {
    let mut driver = Driver::new(DEMO);
    driver.worker("w", "cpu");
    driver.block(1);
    let mut assignment = driver.claim("w").expect("a task");
    while assignment.attempt < number {
        let Assignment { worker, slot, claim, task, .. } = &assignment;
        now(driver.yard.record_release(worker, *slot, claim, task.id())).expect("a release");
        assignment = driver.claim("w").expect("the same task");
    }
    let performed = now(driver.yard.perform(&mut &*home, &assignment)).expect("performing");
    let key = assignment.task.id().task_key();
    let task = now(proofyard_core::transaction::read::<Task>(&driver.yard.port, &key));
    (performed, task.expect("a table").expect("the task").into_accepted())
}

fn recorded(values: &str) -> (Performed, Option<String>) {
    (Performed::Recorded(ResultOutcome::Accepted), Some(values.to_owned()))
}

fn refused() -> AttemptError {
    AttemptError::Failed { kind: FailureKind::Permanent, message: "no".into(), log: Vec::new() }
}

#[test]
fn a_first_attempt_looks_for_nothing() {
    let home = Remembers::with(Ok(()));
    assert_eq!(attempt(1, &home), recorded(ANEW));
    assert!(home.proved.get() && !home.found.get());
}

#[test]
fn what_its_verifier_accepts_is_not_proved_again() {
    let home = Remembers::with(Ok(()));
    assert_eq!(attempt(2, &home), recorded(BEFORE));
    assert!(!home.proved.get() && home.rejected.take().is_none());
}

/// Else a block whose worker died would be reported as proved within milliseconds.
#[test]
fn what_is_taken_up_took_what_the_attempt_took_that_made_it() {
    let (_, result) = performed(2, &Remembers::with(Ok(())));
    let result = result.expect("a result");
    assert_eq!((result.started_ms, result.prove_ms), (Some(EARLIER.started_ms), EARLIER.prove_ms));
}

#[test]
fn what_its_verifier_refuses_is_proved_again_and_counts_against_nobody() {
    let home = Remembers::with(Err(refused()));
    assert_eq!(attempt(2, &home), recorded(ANEW));
    assert!(home.proved.get());
    assert_eq!(home.rejected.take().as_deref(), Some("no"));
}

#[test]
fn what_is_no_output_of_its_stage_is_proved_again() {
    let home = Remembers { program: "another name", ..Remembers::with(Ok(())) };
    assert_eq!(attempt(2, &home), recorded(ANEW));
    let why = home.rejected.take().expect("a reason");
    assert!(why.contains("no match field `program`"), "{why}");
}

#[test]
fn trouble_that_passes_does_not_have_it_proved_again() {
    let home = Remembers::with(Err(AttemptError::Cancelled));
    assert_eq!(attempt(2, &home), (Performed::Released, None));
    let home = Remembers::with(Err(AttemptError::HostFault { message: "full".into() }));
    assert_eq!(attempt(2, &home), (Performed::HostFault { message: "full".into() }, None));
    assert!(!home.proved.get() && home.rejected.take().is_none());
}
