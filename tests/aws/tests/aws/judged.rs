//! Whoever holds a worker's credential writes a result of its own: the judge, under another role, looks before anything is
//! committed.

use proofyard_aws::queues::Outgoing;
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::named;
use proofyard_aws_tests::toy::{ToyYard, artifact};
use proofyard_aws_tests::wait_for;
use proofyard_core::Wake;
use proofyard_core::port::Port;
use proofyard_core::state::{Judgement, Marker, Task, TaskId, TaskResult};
use proofyard_core::transaction::{read, transact};

const FORGED: &[u8] = b"fake";

/// All that a worker's role may do for a block of its own making: an artifact, the task, its marker, and a word of it.
fn forge(yard: &ToyYard, id: &TaskId) {
    yard.runtime.block_on(async {
        let worker = Driver::in_role(&yard.aws, "worker-cpu").await;
        let artifact = artifact(FORGED);
        worker.home.objects.put_bytes(&artifact, FORGED.to_vec()).await.unwrap();
        transact(&worker.home.yard.port, async |tx| {
            let mut task: Task = tx.check(&id.task_key()).await?.expect("the task");
            let result: TaskResult = serde_json::from_value(serde_json::json!({
                "artifact": &artifact, "public_values": "00", "verification_key": null, "proof_system": null,
                "security_bits": null, "cycles": null, "list": null, "prover": "p", "worker": "hostile", "attempt": 1,
                "claimed_ms": 0, "prove_ms": 0, "verify_ms": 0, "at_ms": 0,
            }))
            .unwrap();
            tx.peek::<Marker>(&id.marker_key()).await?;
            tx.delete(id.marker_key());
            task.accept(result, None);
            tx.put(&task)
        })
        .await
        .unwrap();
        let word = Message::Wake(Wake::Scope { scope: id.scope.clone() });
        let word = Outgoing {
            body: serde_json::to_string(&word).unwrap(),
            group: Some("forged".to_owned()),
            deduplication: Some(format!("{:016x}", worker.home.yard.port.random())),
            ..Outgoing::default()
        };
        worker.home.queues.send(&worker.home.names.results_queue(), &[word]).await.unwrap();
    });
}

fn judgement(yard: &ToyYard, id: &TaskId) -> Option<Judgement> {
    yard.runtime.block_on(read(&yard.driver.home.yard.port, &Judgement::key_of(id))).unwrap()
}

fn halted(yard: &ToyYard) -> Option<String> {
    let state = yard.runtime.block_on(yard.driver.home.yard.chain_state(&named("c"))).unwrap();
    state.halted.map(|halt| halt.reason)
}

#[test]
fn a_result_that_a_workers_credential_forges_is_committed_by_nobody_where_a_judge_looks() {
    let yard = ToyYard::new(&[], "", "");
    let task = yard.block(1);
    forge(&yard, &task);
    assert_eq!(yard.committed(), [1], "without one it is");
    drop(yard);
    let yard = ToyYard::new(&[], "", "").judged();
    let task = yard.block(1);
    forge(&yard, &task);
    assert_eq!(yard.committed(), [0_u64; 0]);
    let judge = yard.judge("judge");
    let said = wait_for("a judgement", || judgement(&yard, &task));
    assert!(said.refused.is_some() && said.artifact == artifact(FORGED), "{said:?}\n{}", judge.log());
    assert_eq!(yard.committed(), [0_u64; 0]);
    let reason = halted(&yard).expect("a halt");
    for part in ["the judge refused", "worker hostile", "proofyard redo 1"] {
        assert!(reason.contains(part), "{reason}");
    }
    // What a worker's credential may not do: speak for the judge.
    yard.runtime.block_on(async {
        let worker = Driver::in_role(&yard.aws, "worker-cpu").await;
        let forged = transact(&worker.home.yard.port, async |tx| {
            let id = TaskId::new(&task.scope, "other", 0);
            tx.put(&Judgement { id, refused: None, ..said.clone() })
        });
        forged.await.unwrap_err();
    });
    // Proved anew by an honest worker, it is committed.
    yard.runtime.block_on(yard.driver.home.yard.record_redo(&named("c"), 1)).unwrap();
    yard.resume();
    let mut worker = yard.worker("worker", |command| {
        command.args(["--max-tasks", "1"]);
    });
    assert!(worker.ended().success(), "{}", worker.log());
    wait_for("a commit", || (yard.committed() == [1]).then_some(()));
    assert_eq!(halted(&yard), None, "{}", judge.log());
}
