//! A store that is far away, over the one in memory: each round takes time, and what one invocation has read it knows.

use std::cell::{Cell, RefCell};

use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_core::record::RetrySelection;
use proofyard_core::state::TaskId;
use proofyard_core::view::View;
use proofyard_core::yard::Yard;

use super::{driver, pipeline, prove};
use crate::common::memory::Memory;
use crate::common::now;

/// What a call to DynamoDB takes.
pub const ROUND_MS: u64 = 4;
/// Keys that one call reads.
const KEYS_A_ROUND: usize = 100;

pub struct Far {
    memory: Memory,
    view: RefCell<View>,
    rounds: Cell<u64>,
}

impl Far {
    pub fn new(memory: &Memory) -> Self {
        Self { memory: memory.clone(), view: RefCell::default(), rounds: Cell::new(0) }
    }

    pub fn rounds(&self) -> u64 {
        self.rounds.get()
    }

    fn round(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.memory.pass(ROUND_MS);
    }
}

#[async_trait(?Send)]
impl Port for Far {
    fn now_ms(&self) -> u64 {
        self.memory.now_ms()
    }
    fn random(&self) -> u64 {
        self.memory.random()
    }
    fn forget_reads(&self) -> bool {
        self.view.borrow_mut().forget()
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        Ok(self.get_many(std::slice::from_ref(key)).await?.remove(0))
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let mut unknown = Vec::new();
        let mut found = Vec::new();
        for key in keys {
            let known = self.view.borrow().known(key);
            if known.is_none() {
                unknown.push(key);
            }
            found.push(match known {
                Some(stored) => stored,
                None => self.memory.get(key).await?,
            });
        }
        for page in unknown.chunks(KEYS_A_ROUND) {
            self.round();
            for key in page {
                let stored = self.memory.get(key).await?;
                self.view.borrow_mut().learn(key, stored);
            }
        }
        Ok(found)
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        self.round();
        self.memory.range(range).await
    }
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        self.round();
        self.forget_reads();
        self.memory.due(shard, after, until_ms, limit).await
    }
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.round();
        self.memory.reschedule(key, version, due_ms).await
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        self.round();
        let outcome = self.memory.commit(batch).await;
        self.view.borrow_mut().committed(batch, &outcome);
        outcome
    }
    async fn send(&self, wakes: &[Wake]) {
        self.memory.send(wakes).await;
    }
}

#[test]
fn what_was_read_earlier_refuses_nothing_that_is_there_by_now() {
    let driver = driver(&pipeline("window = 4", &prove()));
    let yard = Yard::new(Far::new(&driver.yard.port));
    let task: TaskId = "c:b:10:a10:0/prove/0".parse().unwrap();
    assert!(now(yard.port.get(&task.task_key())).unwrap().is_none());
    driver.block(10);
    let retry = |task: &TaskId| now(yard.retry(&RetrySelection::One(task.clone())));
    assert!(retry(&task).is_ok(), "it is there, though it was read before");
    let other: TaskId = "c:b:11:a11:0/prove/0".parse().unwrap();
    let refused = retry(&other).unwrap_err().to_string();
    assert!(refused.contains("c:b:11:a11:0/prove/0"), "{refused}");
}
