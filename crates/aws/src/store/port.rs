//! The domain's port on AWS: the table, this machine's clock and randomness, and an outbox for wakes.
//!
//! There are two kinds of port. [`AwsPort::new`] makes one that reads the table each time; its clones share one outbox.
//! [`AwsPort::for_one_invocation`] makes one that reads nothing twice and has an outbox of its own. Its cache may be as old as
//! the invocation's own last commit, so the invocation must not take a step that follows from a later commit of another
//! process, unless it clears the cache first.

use std::sync::Arc;
use std::time::Duration;

use proofyard_core::outbox::Outbox;
use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_core::transaction::step_aside_ms;

use super::read_cache::ReadCache;
use super::table::Table;
use crate::clients::host::{Source, system_now_ms, system_random};

/// Clones are the same port. Clock and randomness can be given for tests.
#[derive(Clone)]
pub struct AwsPort {
    table: Table,
    outbox: Arc<Outbox>,
    /// What an invocation has read; `None` where every read asks the table.
    reads: Option<Arc<ReadCache>>,
    now_ms: Source,
    random: Source,
    has_yards_clock: bool,
}

impl AwsPort {
    /// Reads the table each time.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            outbox: Arc::default(),
            reads: None,
            now_ms: Arc::new(system_now_ms),
            random: Arc::new(system_random),
            has_yards_clock: true,
        }
    }

    /// The same table, clock and randomness, with an empty read cache and an empty outbox.
    pub fn for_one_invocation(&self) -> Self {
        Self { outbox: Arc::default(), reads: Some(Arc::default()), ..self.clone() }
    }

    pub fn with_clock(self, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { now_ms: Arc::new(now_ms), ..self }
    }

    pub fn with_random(self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), ..self }
    }

    /// For a worker and for an operator, whose hosts have clocks of their own; AWS keeps those of the functions.
    pub fn on_a_host_of_its_own(self) -> Self {
        Self { has_yards_clock: false, ..self }
    }

    /// Wakes that are not delivered yet.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Takes over the wakes of `others`, whose commits may be later than what this port has read: it reads again.
    pub fn take_over(&self, others: &Outbox) {
        let wakes = others.take_all();
        if !wakes.is_empty() {
            self.forget_reads();
            self.outbox.put(wakes);
        }
    }

    fn known(&self, key: &Key) -> Option<Option<Stored>> {
        self.reads.as_ref().and_then(|reads| reads.known(key))
    }

    fn learn(&self, key: &Key, stored: &Option<Stored>) {
        if let Some(reads) = &self.reads {
            reads.learn(key, stored);
        }
    }
}

#[async_trait(?Send)]
impl Port for AwsPort {
    fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }
    fn has_yards_clock(&self) -> bool {
        self.has_yards_clock
    }
    fn random(&self) -> u64 {
        (self.random)()
    }
    fn forget_reads(&self) -> bool {
        self.reads.as_ref().is_some_and(|reads| reads.forget())
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        if let Some(stored) = self.known(key) {
            return Ok(stored);
        }
        let stored = self.table.get(key).await?;
        self.learn(key, &stored);
        Ok(stored)
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let mut found: Vec<Option<Option<Stored>>> = keys.iter().map(|key| self.known(key)).collect();
        let unknown = keys.iter().zip(&found).filter(|(_, known)| known.is_none());
        let unknown: Vec<Key> = unknown.map(|(key, _)| key.clone()).collect();
        let mut read = self.table.get_many(&unknown).await?.into_iter();
        for (key, place) in keys.iter().zip(&mut found).filter(|(_, known)| known.is_none()) {
            let stored = read.next().flatten();
            self.learn(key, &stored);
            *place = Some(stored);
        }
        Ok(found.into_iter().map(Option::flatten).collect())
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        self.table.range(range).await
    }
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        // A sweep reads far more than it writes; what it read for the last page it needs no more.
        self.forget_reads();
        self.table.due(shard, after, until_ms, limit).await
    }
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.table.reschedule(key, version, due_ms).await
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        let now_s = self.now_ms() / 1_000;
        let outcome = self.table.commit(batch, now_s, &*self.random).await;
        if let Some(reads) = &self.reads {
            reads.committed(batch, &outcome);
        }
        outcome
    }
    async fn step_aside(&self, tries: u32) {
        tokio::time::sleep(Duration::from_millis(step_aside_ms(tries, self.random()))).await;
    }
    async fn send(&self, wakes: &[Wake]) {
        self.outbox.put(wakes.iter().cloned());
    }
}
