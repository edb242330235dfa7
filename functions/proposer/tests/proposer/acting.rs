//! Stages with an action: each task is one transaction, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proofyard_aws::queues::Outgoing;
use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::block;
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::named;
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Op, Port};
use proofyard_core::state::{ArtifactRef, Task, TaskId};
use proofyard_core::transaction::read;
use proofyard_follow_tests::anvil::Anvil;
use proofyard_proposer::LEASE_MS;
use proofyard_telling::hide_until;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::evm::{deployed, view, word};
use crate::ledger::Ledger;
use crate::yard::{OF_SECRET, ProposingYard, proposer, sent, soon};

/// As docs/sinks.md has it: a look's own, and to receive its message, find none behind it and delete it.
const CALLS_A_LOOK: u64 = 38 + 3;

/// Each block is one task, whose proof commits it, and then one call.
pub fn recording(ledger: &Ledger, keys: &str) -> String {
    format!(
        "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 64\n\
         [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\"\n\
         [stage.record]\nstrategy = \"match\"\nfrom = \"prove\"\naction = \"contract\"\ncontract = \"{}\"\n\
         rpc = [\"{}\"]\nchain_id = 31337\nconfirmations = 1\nfunction = \"submit(uint256 height, bytes proof)\"\n\
         arguments = [\"{{to}}\", \"{{proof}}\"]\nerrors = [\"Closed(uint256)\"]\nbackoff_ms = 1\n{OF_SECRET}\n{keys}\n\
         [prover.p]\ncommand = [\"prover\"]\n[pool.cpu]\nslots = 1\n\
         [sink.file]\nstage = \"prove\"\nfile = \"out.jsonl\"\n",
        ledger.address,
        ledger.anvil.url(),
    )
}

/// As examples/succinct-oracle.toml has it, in ranges of two.
fn checkpointing(l1: &Anvil, oracle: &str) -> String {
    let on_l1 = format!(
        "contract = \"{oracle}\"\nrpc = [\"{}\"]\nchain_id = 31337\nkey_from = \"KEY\"\nconfirmations = 2\n",
        l1.url()
    );
    format!(
        r#"
[chain]
name = "c"
start_height = 1
window = 16

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[stage.range]
strategy = "sequential"
from = "prove"
size = 2
prover = "p"
pool = "cpu"

[stage.checkpoint]
strategy = "match"
from = "range"
action = "contract"
{on_l1}
function = "checkpointBlockHash(uint256 _blockNumber)"
arguments = ["{{l1.number-1}}"]
errors = ["L1BlockHashNotAvailable(uint256 number)"]

[stage.checkpoint.read.l1]
method = "eth_getBlockByNumber"
params = ["latest", false]

[stage.checkpoint.after.l1_hash]
function = "historicBlockHashes(uint256) returns (bytes32)"
arguments = ["{{l1.number-1}}"]

[stage.aggregate]
strategy = "match"
from = ["range", "checkpoint"]
prover = "p"
pool = "cpu"

[prover.p]
command = ["prover"]

[pool.cpu]
slots = 1

[sink.propose]
stage = "aggregate"
{on_l1}
function = "proposeL2Output(bytes32 _configName, bytes32 _outputRoot, uint256 _l2BlockNumber, uint256 _l1BlockNumber, bytes _proof, address _proverAddress)"
arguments = ["0x6d61696e00000000000000000000000000000000000000000000000000000000", "{{to:u256}}", "{{to}}", "{{results.checkpoint.arguments.0}}", "{{proof}}", "{{account}}"]
send_if = ["{{latest}}", "==", "{{from-1}}"]

[sink.propose.read.latest]
function = "latestBlockNumber() returns (uint256)"
"#
    )
}

fn record_of(height: u64) -> TaskId {
    format!("c:b:{height}:{}:0/record/0", block(height, "a", "a").hash).parse().unwrap()
}

impl ProposingYard {
    async fn task(&self, height: u64) -> Task {
        let yard = &self.driver.home.begin().home.yard;
        let task: Option<Task> = read(&yard.port, &record_of(height).task_key()).await.unwrap();
        task.unwrap_or_else(|| panic!("task of {height}"))
    }

    async fn explained(&self, height: u64) -> String {
        self.driver.home.begin().home.yard.explain(&named("c"), height).await.unwrap().to_string()
    }

    /// What a task's call came to.
    async fn outcome(&self, artifact: &ArtifactRef) -> Value {
        let mut bytes = Vec::new();
        self.driver.home.objects.get_file(artifact, &mut bytes).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Who holds the task is lost, as a sweeper finds once a lease is over.
    async fn lose_worker(&self, height: u64) {
        for attempt in self.task(height).await.attempts() {
            self.driver.home.begin().home.yard.expire_worker(&attempt.worker, true).await.unwrap();
        }
    }

    /// Ticks, and all functions, until this many of the blocks have their transaction on record.
    async fn until_recorded(&self, heights: std::ops::RangeInclusive<u64>) {
        let began = Instant::now();
        loop {
            let mut missing = Vec::new();
            for height in heights.clone() {
                let task = self.task(height).await;
                missing.extend((!task.is_accepted()).then_some(task));
            }
            if missing.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{missing:?}");
            self.sweep().await;
            self.tell().await;
            self.driver.drain_all().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[test]
fn a_claim_holds_for_as_long_as_the_function_may_run() {
    let spec: Value = serde_json::from_str(include_str!("../../../../infra/spec/yard.json")).unwrap();
    assert_eq!(spec.pointer("/functions/proposer/timeout_s").unwrap(), LEASE_MS / 1_000);
}

#[tokio::test]
async fn what_a_checkpoint_came_to_is_proved_with_and_proposed() {
    let l1 = Anvil::start();
    l1.mine_fast(3);
    l1.ask("evm_setIntervalMining", &json!([1]));
    let oracle = deployed(&l1, "SuccinctOracle", &[word(0), word(2)].concat());
    let latest = || view(&l1, &oracle, "latestBlockNumber()", "");
    let yard = ProposingYard::of(&checkpointing(&l1, &oracle), 5).await;
    let (began, mut has_waited) = (Instant::now(), false);
    while latest() < 4 {
        assert!(began.elapsed() < PATIENCE, "{}", yard.explained(2).await);
        yard.sweep().await;
        yard.tell().await;
        has_waited |= yard.explained(2).await.contains("waits for a block");
        yard.driver.work_all("w").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(has_waited, "explain says for what it waits");
    assert_eq!(view(&l1, &oracle, "checkpoints()", ""), 2);
    for to in [2, 4] {
        assert_eq!(view(&l1, &oracle, "times(uint256)", &word(to)), 1);
        let number = view(&l1, &oracle, "l1BlockOf(uint256)", &word(to));
        let held = view(&l1, &oracle, "historicBlockHashes(uint256)", &word(number));
        assert!(l1.hash(number).ends_with(&format!("{held:016x}")), "the sink named what was put on record");
    }
}

#[tokio::test]
async fn a_wait_of_many_looks_uses_up_nothing_but_time() {
    const LOOKS: u64 = 8;
    let ledger = Ledger::start_by_hand();
    let yard = ProposingYard::of(&recording(&ledger, "max_attempts = 1"), 1).await;
    let mut totals = Vec::new();
    for look in 1..=LOOKS {
        yard.driver.http.take_counts();
        yard.tell().await;
        let counts = yard.driver.http.take_counts();
        println!("{counts:?}");
        totals.push(counts.values().sum::<u64>());
        let task = yard.task(1).await;
        let said = &task.notes().last().unwrap().message;
        assert!(said.contains("waits for a block"), "{said}");
        assert_eq!((u64::from(task.started()), task.failures(), task.losses()), (look, 0, 0));
        let pause_ms = task.due_ms().unwrap().saturating_sub(yard.driver.home.yard.port.now_ms());
        assert!(pause_ms <= 2_000, "no pause grows by it: {pause_ms}");
        tokio::time::sleep(Duration::from_millis(pause_ms + 10)).await;
        yard.sweep().await;
    }
    assert!(totals.iter().all(|total| *total <= CALLS_A_LOOK), "{totals:?}");
    assert!(yard.explained(1).await.contains("waits for a block"));
    let status = yard.driver.home.begin().home.yard.status(&named("c"), true).await.unwrap();
    assert_eq!(status.pools_without_workers, [""; 0], "nobody is missed between two looks");
    ledger.mine(1);
    yard.until_recorded(1..=1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
    let task = yard.task(1).await;
    let outcome = yard.outcome(&task.accepted().unwrap().artifact).await;
    assert_eq!(outcome["arguments"][0], "1");
    assert!(outcome["transaction"].is_string(), "{outcome}");
}

/// It is ended at one of its calls to AWS after another, and its claim lapses.
#[tokio::test]
async fn a_function_that_is_killed_at_any_call_does_no_task_twice() {
    const BLOCKS: u64 = 24;
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, "max_losses = 100"), BLOCKS).await;
    let (mut kills, mut calls) = (0, 0);
    for call in 0..60 {
        yard.sweep().await;
        if yard.driver.home.yard.waiting_calls("record", 1).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        calls = call;
        kills += u64::from(yard.tell_until_killed(call).await);
        for height in 1..=BLOCKS {
            yard.lose_worker(height).await;
        }
    }
    println!("{kills} kills, the last at call {calls}");
    assert!(kills >= 30, "{kills}");
    yard.until_recorded(1..=BLOCKS).await;
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 1));
    assert_eq!((ledger.calls(), sent(&ledger)), (BLOCKS, BLOCKS));
}

/// One that is taken for dead goes on beside the one that has its task now.
#[tokio::test]
async fn two_functions_at_one_task_are_one_transaction() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, "max_losses = 100"), 1).await;
    let (both, written) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&written);
    yard.driver.http.breaks(move |operation, body| {
        let is_first = operation == "TransactWriteItems"
            && body.contains("page#raw-")
            && count.fetch_add(1, Ordering::Relaxed) < 2;
        if is_first { Fate::Together(Arc::clone(&both)) } else { Fate::Made }
    });
    let (messages, other) = (yard.received().await, proposer(&yard.driver.home));
    let queue = other.names.propose_queue();
    let later = async {
        while written.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        yard.lose_worker(1).await;
        other.take_batch(&queue, &messages, soon()).await
    };
    tokio::join!(yard.proposer.take_batch(&queue, &messages, soon()), later);
    yard.driver.http.works();
    yard.proposer.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(written.load(Ordering::Relaxed) >= 2, "both have signed");
    yard.until_recorded(1..=1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}

/// Both are woken for the same task at the same time.
#[tokio::test]
async fn one_message_in_two_functions_is_one_claim() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, ""), 1).await;
    let (both, claimed) = (Arc::new(Barrier::new(2)), AtomicUsize::new(0));
    yard.driver.http.breaks(move |operation, body| {
        let is_first = operation == "TransactWriteItems"
            && body.contains("0000")
            && body.contains("record/0")
            && claimed.fetch_add(1, Ordering::Relaxed) < 2;
        if is_first { Fate::Together(Arc::clone(&both)) } else { Fate::Made }
    });
    let (messages, other) = (yard.received().await, proposer(&yard.driver.home));
    let queue = other.names.propose_queue();
    let (one, two) =
        (yard.proposer.take_batch(&queue, &messages, soon()), other.take_batch(&queue, &messages, soon()));
    tokio::join!(one, two);
    yard.driver.http.works();
    yard.proposer.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap();
    yard.until_recorded(1..=1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
    assert_eq!(yard.task(1).await.losses(), 0);
}

#[tokio::test]
async fn a_contract_that_reverts_parks_its_task_and_holds_up_nothing_else() {
    let ledger = Ledger::start();
    ledger.tell("close(uint256)", 7);
    let yard = ProposingYard::of(&recording(&ledger, "max_attempts = 2"), 1).await;
    let began = Instant::now();
    while !yard.task(1).await.is_parked() {
        assert!(began.elapsed() < PATIENCE, "{}", yard.explained(1).await);
        yard.tell().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        yard.sweep().await;
    }
    assert_eq!(yard.task(1).await.failures(), 2);
    let said = yard.explained(1).await;
    assert!(said.contains("parked") && said.contains("submit would revert: Closed(7)"), "{said}");
    assert_eq!(sent(&ledger), 0, "nothing is spent");
    ledger.tell("close(uint256)", 0);
    // The chain, and the tasks of other blocks, go on.
    yard.prove(2..=3).await;
    yard.until_recorded(2..=3).await;
    assert_eq!((ledger.times(1), ledger.times(2), ledger.times(3)), (0, 1, 1));
}

/// A wake that is lost costs a tick.
#[tokio::test]
async fn the_sweeper_finds_what_nobody_was_told_of() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, ""), 1).await;
    let lost = yard.received().await;
    assert!(!lost.is_empty(), "the listing woke it");
    let queue = yard.proposer.names.propose_queue();
    yard.proposer.queues.delete(&queue, &lost.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(yard.received().await.is_empty());
    yard.driver.home.sweep().await.unwrap();
    yard.driver.take_steps().await.unwrap();
    yard.tell().await;
    assert_eq!(sent(&ledger), 1);
}

/// Its workers may start at any time, and take what is theirs alone.
#[tokio::test]
async fn a_pool_that_is_deployed_under_the_stages_name_takes_none_of_its_calls() {
    let ledger = Ledger::start();
    let pipeline = recording(&ledger, "").replace("[stage.record]", "[stage.gpu]");
    let yard = ProposingYard::of(&pipeline, 1).await;
    let home = &yard.driver.home;
    // Its queue is known, as to a function that has woken its workers.
    let token = Outgoing { body: "{}".to_owned(), ..Outgoing::default() };
    home.queues.send(&home.names.wake_queue("gpu"), &[token]).await.unwrap();
    for message in yard.received().await {
        yard.proposer.queues.delete(&yard.proposer.names.propose_queue(), &[&message]).await.unwrap();
    }
    let registration = WorkerRegistration {
        worker: "of-batch".into(),
        pool: "gpu".to_owned(),
        slots: 1,
        alone: true,
        lease_ms: LEASE_MS,
        isolation: None,
    };
    home.yard.register_worker(&registration).await.unwrap();
    let request = ClaimRequest { worker: "of-batch".into(), slot: 0, claim: "claim".to_owned() };
    let claimed = home.begin().home.yard.claim(&request).await.unwrap();
    assert!(matches!(claimed, ClaimOutcome::Nothing), "{claimed:?}");
    assert_eq!(home.yard.waiting_tasks("gpu", 1).await.unwrap(), 0, "no job is submitted for it");
    yard.driver.home.begin().home.sweep().await.unwrap();
    yard.tell().await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1), "the sweeper has woken the proposer");
}

fn proof_of(height: u64) -> TaskId {
    record_of(height).to_string().replace("record", "prove").parse().unwrap()
}

impl ProposingYard {
    /// What proved the block is in the table under this value, and was under that.
    async fn put_proof_of(&self, height: u64, value: &[u8]) -> Vec<u8> {
        let id = proof_of(height);
        let port = &self.driver.home.begin().home.yard.port;
        let stored = port.get(&id.task_key()).await.unwrap().unwrap();
        let action = Action::Put { value: value.to_vec(), due_ms: None };
        let op = Op { key: id.task_key(), expect: Expect::Version(stored.version), action };
        let batch = Batch { version: port.random(), ops: vec![op], durable: true };
        assert!(matches!(port.commit(&batch).await.unwrap(), CommitOutcome::Committed));
        stored.value
    }
}

#[tokio::test]
async fn a_task_whose_inputs_are_damaged_waits_and_keeps_no_other() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, ""), 2).await;
    let proved = yard.put_proof_of(1, b"{").await;
    yard.tell().await;
    let task = yard.task(1).await;
    let said = &task.notes().last().unwrap().message;
    assert!(said.contains("T#") && said.contains("cannot be read"), "it names the item: {said}");
    assert_eq!((task.is_parked(), task.is_listed(), task.failures(), task.losses()), (false, false, 0, 0));
    assert!(task.due_ms().is_some(), "it is looked at again");
    yard.until_recorded(2..=2).await;
    assert_eq!((ledger.times(1), ledger.times(2)), (0, 1));
    yard.put_proof_of(1, &proved).await;
    yard.until_recorded(1..=1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 2));
}

/// The table is silent when the task's inputs are asked for.
#[tokio::test]
async fn a_task_whose_inputs_cannot_be_read_now_is_free_at_once() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, ""), 1).await;
    let messages = yard.received().await;
    let key = proof_of(1).task_key();
    yard.driver.http.breaks(move |operation, body| {
        let is_read = matches!(operation, "GetItem" | "BatchGetItem");
        let is_of_it = body.contains(&key.partition) && body.contains(&format!("\"{}\"", key.sort));
        if is_read && is_of_it { Fate::NotSent } else { Fate::Made }
    });
    let queue = yard.proposer.names.propose_queue();
    let again = yard.proposer.take_batch(&queue, &messages, soon()).await;
    yard.driver.http.works();
    assert_eq!(again.len(), 1, "its message comes again");
    let task = yard.task(1).await;
    assert_eq!((task.is_listed(), task.attempts().len(), task.failures(), task.losses()), (true, 0, 0, 0));
    let hidden: Vec<_> = messages.iter().map(|message| (message, 0)).collect();
    yard.proposer.queues.retry_after(&queue, &hidden).await.unwrap();
    yard.until_recorded(1..=1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}

/// As it is where a function is ended in the middle.
#[tokio::test]
async fn a_message_is_hidden_for_no_longer_than_its_function_may_run() {
    let ledger = Ledger::start();
    let yard = ProposingYard::of(&recording(&ledger, ""), 1).await;
    let (queue, messages) = (yard.proposer.names.propose_queue(), yard.received().await);
    assert_eq!(messages.len(), 1);
    let began = Instant::now();
    hide_until(&yard.proposer, &queue, &messages, began + Duration::from_secs(2)).await;
    let mut again = Vec::new();
    while again.is_empty() {
        assert!(began.elapsed() < PATIENCE, "the queue itself hides it for six minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = yard.received().await;
    }
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "not while the function may run: {:?}",
        began.elapsed()
    );
    assert_eq!(again[0].id, messages[0].id);
}
