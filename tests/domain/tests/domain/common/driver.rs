//! Drives a yard: records blocks, takes the steps that wakes hint at, and runs tasks with a prover of the test's
//! making.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::record::{BlockOutcome, FailureKind};
use proofyard_core::state::{ArtifactRef, Block, ChainName, List, Metered, PoolTasks, TaskId};
use proofyard_core::work::{Assignment, AttemptError, Executor, Performed, Proved};
use proofyard_core::{Wake, Yard, pipeline};

use super::memory::Memory;
use super::now;

/// The clock at the start of each test.
pub const START_MS: u64 = 1_000_000_000;
pub const PROVE_MS: u64 = 300;
pub const VERIFY_MS: u64 = 20;
pub const LEASE_MS: u64 = 600_000;

pub struct Driver {
    pub yard: Yard<Memory>,
    pub chain: ChainName,
    /// What provers say of their proofs.
    pub says: Says,
    /// What is measured of each attempt.
    pub metered: Option<Metered>,
    claims: u64,
    /// What the judge was woken for.
    to_judge: RefCell<BTreeSet<TaskId>>,
}

#[derive(Clone, Default)]
pub struct Says {
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    pub trusted_setup: Option<bool>,
    /// How long its proof takes to be stored.
    pub store_ms: u64,
}

/// What a prover does with a task.
pub enum Does {
    /// A proof with these public values.
    Proves(&'static str),
    /// A proof that names this verification key, or none.
    ProvesUnder(Option<&'static str>),
    /// A proof that reports this `program`.
    ProvesOf(&'static str),
    /// A list of so many elements.
    Partitions(u32),
    Fails(FailureKind, &'static str),
}

impl Driver {
    pub fn new(pipeline: &str) -> Self {
        let yard = Yard::new(Memory::new(START_MS, 7));
        let chain = now(yard.record_pipeline(pipeline)).expect("a good pipeline").chain.name;
        let to_judge = RefCell::default();
        let driver = Self { yard, chain, says: Says::default(), metered: None, claims: 0, to_judge };
        driver.settle();
        driver
    }

    /// Where a judge looks at what is handed on.
    pub fn judged(self) -> Self {
        Self { yard: self.yard.with_judge(true), ..self }
    }

    /// Where workers take only such tasks.
    pub fn taking(self, tasks: PoolTasks) -> Self {
        Self { yard: self.yard.taking(tasks), ..self }
    }

    pub fn take_to_judge(&self) -> BTreeSet<TaskId> {
        self.to_judge.take()
    }

    pub fn pass(&self, ms: u64) {
        self.yard.port.pass(ms);
    }

    /// Takes every step that a wake hints at, until no wake is left.
    pub fn settle(&self) {
        while let Some(wake) = self.yard.port.next_wake() {
            now(self.yard.advance(&wake)).expect("advancing");
            if let Wake::Judge { task } = wake {
                self.to_judge.borrow_mut().insert(task);
            }
        }
    }

    /// One visit of the sweeper, and what follows from it.
    pub fn sweep(&self) {
        let swept = now(self.yard.sweep()).expect("sweeping");
        assert!(swept.errors.is_empty(), "{:?}", swept.errors);
        self.settle();
    }

    pub fn block(&self, height: u64) -> BlockOutcome {
        self.send(&block(height, "a", "a"))
    }

    pub fn blocks(&self, heights: std::ops::RangeInclusive<u64>) {
        for height in heights {
            assert_eq!(self.block(height), BlockOutcome::Appended);
        }
    }

    pub fn send(&self, block: &Block) -> BlockOutcome {
        let outcome = now(self.yard.record_block(&self.chain, block)).expect("recording a block");
        self.settle();
        outcome
    }

    pub fn end(&self) {
        now(self.yard.record_end(&self.chain)).expect("recording the end");
        self.settle();
    }

    pub fn worker(&self, worker: &str, pool: &str) {
        let registration = WorkerRegistration {
            worker: worker.into(),
            pool: pool.to_owned(),
            slots: 64,
            alone: false,
            lease_ms: LEASE_MS,
            isolation: None,
        };
        now(self.yard.register_worker(&registration)).expect("registering");
        // As in a yard that runs, a sweeper sees it.
        now(self.yard.sweep()).expect("sweeping");
    }

    /// Claims the next task for a fresh slot and leaves it running.
    pub fn claim(&mut self, worker: &str) -> Option<Assignment> {
        self.claims += 1;
        let claim = format!("claim-{}", self.claims);
        let request = ClaimRequest { worker: worker.into(), slot: (self.claims % 64) as u32, claim };
        match now(self.yard.claim(&request)).expect("claiming") {
            ClaimOutcome::Claimed(task) => Some(now(self.yard.assignment(&request, *task)).expect("inputs")),
            _ => None,
        }
    }

    /// Works on a claimed task as the prover says.
    pub fn perform(&self, assignment: &Assignment, does: Does) -> Performed {
        let performed = self.record(assignment, does);
        self.settle();
        performed
    }

    /// The same, without the steps that follow from it.
    pub fn record(&self, assignment: &Assignment, does: Does) -> Performed {
        let mut fake = Fake { memory: &self.yard.port, does, says: self.says.clone(), metered: self.metered };
        now(self.yard.perform(&mut fake, assignment)).expect("performing")
    }

    /// Claims and works until nothing is listed that the worker may run; says how many tasks it took.
    pub fn work(&mut self, worker: &str, does: impl Fn(&Assignment) -> Does) -> usize {
        let mut tasks = 0;
        while let Some(assignment) = self.claim(worker) {
            self.perform(&assignment, does(&assignment));
            tasks += 1;
        }
        tasks
    }
}

/// A block of the branch `own`, whose parent is of the branch `parent`; three segments.
pub fn block(height: u64, own: &str, parent: &str) -> Block {
    Block {
        height,
        hash: format!("{own}{height}").into(),
        parent: format!("{parent}{}", height.wrapping_sub(1)).into(),
        timestamp_s: height.saturating_add(1_700_000_000),
        segments: 3,
        fields: BTreeMap::new(),
        payload: artifact(100),
    }
}

fn artifact(bytes: u64) -> ArtifactRef {
    ArtifactRef { sha256: "5a".repeat(32), bytes }
}

/// What a test's prover usually does: data is a list of two, and a proof says its height.
pub fn good(assignment: &Assignment) -> Does {
    match assignment.stage().output {
        pipeline::Output::Data => Does::Partitions(2),
        pipeline::Output::Proof => Does::Proves("0a"),
    }
}

struct Fake<'a> {
    memory: &'a Memory,
    does: Does,
    says: Says,
    metered: Option<Metered>,
}

impl Executor for Fake<'_> {
    type Output = ();

    async fn prove(&mut self, _: &Assignment) -> Result<Proved<()>, AttemptError> {
        self.memory.pass(PROVE_MS);
        let (mut program, mut verification_key) = ("x", None);
        let (claimed_public_values, list) = match &self.does {
            Does::Proves(values) => (Some((*values).to_owned()), None),
            Does::ProvesOf(name) => {
                program = name;
                (Some("0a".to_owned()), None)
            }
            Does::ProvesUnder(key) => {
                verification_key = key.map(str::to_owned);
                (Some("0a".to_owned()), None)
            }
            Does::Partitions(count) => (None, Some(List { count: *count, sha256: "11".repeat(32) })),
            Does::Fails(kind, message) => {
                let log = vec!["loading keys".to_owned(), (*message).to_owned()];
                return Err(AttemptError::Failed { kind: *kind, message: (*message).to_owned(), log });
            }
        };
        Ok(Proved {
            output: (),
            claimed_public_values,
            verification_key,
            proof_system: self.says.proof_system.clone(),
            security_bits: self.says.security_bits,
            trusted_setup: self.says.trusted_setup,
            cycles: None,
            list,
            fields: [("program", program), ("post_state", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            proving: None,
        })
    }

    async fn verify(&mut self, _: &Assignment, proved: &Proved<()>) -> Result<String, AttemptError> {
        self.memory.pass(VERIFY_MS);
        Ok(proved.claimed_public_values.clone().unwrap_or_default())
    }

    async fn store(&mut self, _: &Assignment, _: &Proved<()>) -> Result<ArtifactRef, AttemptError> {
        self.memory.pass(self.says.store_ms);
        Ok(artifact(1_000))
    }

    fn metered(&mut self) -> Option<Metered> {
        self.metered
    }
}
