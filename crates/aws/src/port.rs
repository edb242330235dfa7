//! The port of this home: the table, this machine's clock, randomness, and an outbox for wakes.

use std::sync::Arc;
use std::time::Duration;

use proofyard_core::port::{Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake};
use proofyard_worker::host::{system_now_ms, system_random};

use crate::errand::Errand;
use crate::job_workers;
use crate::outbox::Outbox;
use crate::table::Table;

/// The longest wait after a first conflict; it doubles with each, up to the other.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 320;

/// Where time or randomness comes from.
pub type Source = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Clones are the same port. Clock and randomness can be given for tests.
#[derive(Clone)]
pub struct AwsPort {
    table: Table,
    outbox: Arc<Outbox>,
    now_ms: Source,
    random: Source,
    has_yards_clock: bool,
}

impl AwsPort {
    pub fn new(table: Table, outbox: Arc<Outbox>) -> Self {
        Self {
            table,
            outbox,
            now_ms: Arc::new(system_now_ms),
            random: Arc::new(system_random),
            has_yards_clock: true,
        }
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

    /// Wakes that no errand took yet.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

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
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        if let Some(stored) = Errand::known(key) {
            return Ok(stored);
        }
        let stored = self.table.get(key).await?;
        Errand::learn(key, &stored);
        Ok(stored)
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let mut found: Vec<Option<Option<Stored>>> = keys.iter().map(Errand::known).collect();
        let unknown = keys.iter().zip(&found).filter(|(_, known)| known.is_none());
        let unknown: Vec<Key> = unknown.map(|(key, _)| key.clone()).collect();
        let mut read = self.table.get_many(&unknown).await?.into_iter();
        for (key, place) in keys.iter().zip(&mut found).filter(|(_, known)| known.is_none()) {
            let stored = read.next().flatten();
            Errand::learn(key, &stored);
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
        // A sweep reads far more than it writes: what it knows of the last page it needs no more.
        Errand::forget();
        self.table.due(shard, after, until_ms, limit).await
    }
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.table.reschedule(key, version, due_ms).await
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        let now_s = self.now_ms() / 1_000;
        let expires_s = |key: &Key| job_workers::kept_s(key).map(|kept_s| now_s + kept_s);
        let outcome = self.table.commit(batch, &expires_s, &*self.random).await;
        Errand::committed(batch, &outcome);
        outcome
    }
    async fn step_aside(&self, tries: u32) {
        let longest_ms = FIRST_WAIT_MS.saturating_mul(1 << tries.min(16)).min(LONGEST_WAIT_MS);
        tokio::time::sleep(Duration::from_millis(self.random() % longest_ms)).await;
    }
    async fn send(&self, wakes: &[Wake]) {
        Errand::with_outbox(&self.outbox, |outbox| outbox.put(wakes.iter().cloned()));
    }
}
