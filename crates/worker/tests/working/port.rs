//! The port in memory, for many threads, which fails when a test wants it.

use std::sync::Mutex;

use proofyard_core::port::{
    Action, Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_core::state::KeyFamily;

use self::memory::Memory;

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../../../../tests/domain/tests/domain/common/memory.rs"]
mod memory;

const START_MS: u64 = 1_000_000_000;

pub struct SharedMemory {
    memory: Memory,
    fails: Mutex<Option<KeyFamily>>,
    /// How many of the next durable commits fail.
    durable_fails: Mutex<u32>,
    /// The next commit that writes this text fails.
    text_fails: Mutex<Option<String>>,
}

impl SharedMemory {
    pub fn new() -> Self {
        Self {
            memory: Memory::new(START_MS, 7),
            fails: Mutex::default(),
            durable_fails: Mutex::default(),
            text_fails: Mutex::default(),
        }
    }

    /// The next read of an item of this family fails.
    pub fn fail_once(&self, family: KeyFamily) {
        *self.fails.lock().unwrap() = Some(family);
    }

    /// The next commits that must be on disk fail.
    pub fn fail_durable(&self, times: u32) {
        *self.durable_fails.lock().unwrap() = times;
    }

    /// The next commit of an item with this text fails.
    pub fn fail_writing(&self, text: &str) {
        *self.text_fails.lock().unwrap() = Some(text.to_owned());
    }

    fn takes_a_fault(&self) -> bool {
        let mut fails = self.durable_fails.lock().unwrap();
        let left = fails.checked_sub(1);
        *fails = left.unwrap_or(0);
        left.is_some()
    }

    pub fn next_wake(&self) -> Option<Wake> {
        self.memory.next_wake()
    }
}

#[async_trait(?Send)]
impl Port for SharedMemory {
    fn now_ms(&self) -> u64 {
        self.memory.now_ms()
    }
    fn random(&self) -> u64 {
        self.memory.random()
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        if self.fails.lock().unwrap().take_if(|family| KeyFamily::of(key) == Some(*family)).is_some() {
            return Err(PortError::Unavailable("a test's fault".into()));
        }
        self.memory.get(key).await
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        self.memory.range(range).await
    }
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        self.memory.due(shard, after, until_ms, limit).await
    }
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.memory.reschedule(key, version, due_ms).await
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        if batch.durable && self.takes_a_fault() {
            return Err(PortError::Unavailable("a test's fault".into()));
        }
        let writes = |text: &mut String| {
            batch.ops.iter().any(|op| match &op.action {
                Action::Put { value, .. } => String::from_utf8_lossy(value).contains(text.as_str()),
                _ => false,
            })
        };
        if self.text_fails.lock().unwrap().take_if(writes).is_some() {
            return Err(PortError::Unavailable("a test's fault".into()));
        }
        self.memory.commit(batch).await
    }
    async fn send(&self, wakes: &[Wake]) {
        self.memory.send(wakes).await;
    }
}
