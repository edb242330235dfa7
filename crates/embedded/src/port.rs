//! The port of this home: the store, this machine's clock, randomness, and wakes within the process.

use std::sync::Arc;

use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_worker::host::{system_now_ms, system_random};

use crate::crash_point::{CrashPoint, Side};
use crate::store::SqliteStore;

type Source = Arc<dyn Fn() -> u64 + Send + Sync>;
type Wakes = Arc<dyn Fn(&[Wake]) + Send + Sync>;

/// Shared by all of a yard's threads; clones are the same port. Clock and randomness can be given for tests.
#[derive(Clone)]
pub struct LocalPort {
    store: Arc<SqliteStore>,
    now_ms: Source,
    random: Source,
    send: Wakes,
    crash_point: Option<Arc<CrashPoint>>,
}

impl LocalPort {
    /// `send` delivers wakes; it is called after their commit, on the thread that committed.
    pub fn new(store: Arc<SqliteStore>, send: impl Fn(&[Wake]) + Send + Sync + 'static) -> Self {
        Self {
            store,
            now_ms: Arc::new(system_now_ms),
            random: Arc::new(system_random),
            send: Arc::new(send),
            crash_point: None,
        }
    }

    pub fn with_clock(self, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { now_ms: Arc::new(now_ms), ..self }
    }

    pub fn with_random(self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), ..self }
    }

    /// With the crash point that the environment names, if any.
    pub(crate) fn with_crash_point(self) -> Self {
        Self { crash_point: CrashPoint::from_environment().map(Arc::new), ..self }
    }

    fn pass(&self, batch: &Batch, side: Side) {
        if let Some(point) = &self.crash_point {
            point.pass(batch, side);
        }
    }

    pub fn store(&self) -> &SqliteStore {
        &self.store
    }
}

impl LocalPort {
    /// Why the state cannot be written any more; `None` while it can.
    pub fn failure(&self) -> Option<PortError> {
        self.store.failure()
    }
}

#[async_trait(?Send)]
impl Port for LocalPort {
    fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }
    fn random(&self) -> u64 {
        (self.random)()
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.store.get(key)
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        self.store.get_many(keys)
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        self.store.range(range)
    }
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        self.store.due(shard, after, until_ms, limit)
    }
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.store.reschedule(key, version, due_ms)
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        self.pass(batch, Side::Before);
        let outcome = self.store.commit(batch)?;
        if outcome == CommitOutcome::Committed {
            self.pass(batch, Side::After);
        }
        Ok(outcome)
    }
    async fn sync(&self) -> Result<(), PortError> {
        self.store.sync()
    }
    async fn send(&self, wakes: &[Wake]) {
        (self.send)(wakes);
    }
}
