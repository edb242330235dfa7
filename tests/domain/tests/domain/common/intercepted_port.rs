//! The port of the store in memory, seen from a host whose clock is off, or with others acting just before a call.

use std::cell::{Cell, RefCell};

use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};

use super::memory::Memory;

/// What is about to be done.
pub enum Call<'a> {
    Reschedule(&'a Key),
    Commit(&'a Batch),
}

/// What others do just before the first call of a kind arrives.
struct Before {
    is_it: fn(&Call<'_>) -> bool,
    act: Box<dyn FnOnce()>,
}

pub struct InterceptedPort {
    pub memory: Memory,
    /// How far its clock is off, where it is not the yard's.
    off_ms: Option<i64>,
    before: RefCell<Option<Before>>,
    reads: Cell<usize>,
}

impl InterceptedPort {
    pub fn with_clock_skew(memory: &Memory, off_ms: i64) -> Self {
        Self {
            memory: memory.clone(),
            off_ms: Some(off_ms),
            before: RefCell::default(),
            reads: Cell::default(),
        }
    }

    /// `act` comes just before the first call that is one.
    pub fn acting_before(
        memory: &Memory,
        is_it: fn(&Call<'_>) -> bool,
        act: impl FnOnce() + 'static,
    ) -> Self {
        let before = Before { is_it, act: Box::new(act) };
        Self {
            memory: memory.clone(),
            off_ms: None,
            before: RefCell::new(Some(before)),
            reads: Cell::default(),
        }
    }

    /// Its reads are counted.
    pub fn counting(memory: &Memory) -> Self {
        Self { memory: memory.clone(), off_ms: None, before: RefCell::default(), reads: Cell::default() }
    }

    pub fn reads(&self) -> usize {
        self.reads.get()
    }

    /// Whether others have acted.
    pub fn has_intercepted(&self) -> bool {
        self.before.borrow().is_none()
    }

    fn arrives(&self, call: &Call<'_>) {
        let before = self.before.borrow_mut().take_if(|before| (before.is_it)(call));
        if let Some(before) = before {
            (before.act)();
        }
    }
}

#[async_trait(?Send)]
impl Port for InterceptedPort {
    fn now_ms(&self) -> u64 {
        self.memory.now_ms().saturating_add_signed(self.off_ms.unwrap_or(0))
    }
    fn has_yards_clock(&self) -> bool {
        self.off_ms.is_none()
    }
    fn random(&self) -> u64 {
        self.memory.random()
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.reads.set(self.reads.get() + 1);
        self.memory.get(key).await
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        self.reads.set(self.reads.get() + 1);
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
        self.arrives(&Call::Reschedule(key));
        self.memory.reschedule(key, version, due_ms).await
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        self.arrives(&Call::Commit(batch));
        self.memory.commit(batch).await
    }
    async fn send(&self, wakes: &[Wake]) {
        self.memory.send(wakes).await;
    }
}
