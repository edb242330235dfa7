//! The domain's port in virtual time: each call waits as long as DynamoDB would take, then reads or writes the table in
//! memory, and is counted. What an invocation has read it reads no second time, as on AWS.

use std::rc::{Rc, Weak};

use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_core::transaction::step_aside_ms;

use crate::cloud::{Cloud, START_MS};
use crate::invocation::Invocation;
use crate::latencies::{Latencies, Latency};
use crate::usage::{calls_of, half_reads_of, writes_of};

/// Keys that one `BatchGetItem` takes, and how many of those go side by side.
const KEYS_A_BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 8;

/// Of one invocation.
#[derive(Clone)]
pub(crate) struct CloudPort {
    /// The cloud holds a yard, and so a port.
    cloud: Weak<Cloud>,
    invocation: Rc<Invocation>,
}

impl CloudPort {
    pub fn new(cloud: &Rc<Cloud>, invocation: Rc<Invocation>) -> Self {
        Self { cloud: Rc::downgrade(cloud), invocation }
    }

    fn cloud(&self) -> Result<Rc<Cloud>, PortError> {
        self.cloud.upgrade().ok_or_else(|| PortError::Broken("the run is over".into()))
    }

    fn known(&self, key: &Key) -> Option<Option<Stored>> {
        self.invocation.view.borrow().as_ref().and_then(|view| view.known(key))
    }

    fn learn(&self, key: &Key, stored: &Option<Stored>) {
        if let Some(view) = self.invocation.view.borrow_mut().as_mut() {
            view.learn(key, stored.clone());
        }
    }

    /// Waits as long as a call takes, with the caller's own time for it.
    async fn wait(&self, cloud: &Cloud, latency: impl Fn(&Latencies) -> &Latency, items: usize) {
        let us = cloud.draw_us(latency, items) + self.invocation.cpu_us(cloud);
        cloud.executor.sleep_us(us).await;
    }

    /// DynamoDB has no such keys.
    fn is_empty(key: &Key) -> bool {
        key.partition.is_empty() || key.sort.is_empty()
    }
}

fn bytes_of(stored: &Option<Stored>) -> usize {
    stored.as_ref().map_or(0, |stored| stored.value.len())
}

#[async_trait(?Send)]
impl Port for CloudPort {
    fn forget_reads(&self) -> bool {
        self.invocation.forget_reads()
    }
    fn now_ms(&self) -> u64 {
        START_MS + self.cloud.upgrade().map_or(0, |cloud| cloud.now_us() / 1_000)
    }

    fn has_yards_clock(&self) -> bool {
        self.invocation.has_yards_clock()
    }

    fn random(&self) -> u64 {
        self.cloud.upgrade().map_or(0, |cloud| cloud.random.borrow_mut().number())
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        if let Some(stored) = self.known(key) {
            return Ok(stored);
        }
        let cloud = self.cloud()?;
        if Self::is_empty(key) {
            return Ok(None);
        }
        self.wait(&cloud, |all| &all.dynamodb_get, 1).await;
        let stored = cloud.table.borrow().get(key);
        self.invocation.count(|usage| {
            usage.calls += 1;
            usage.rounds += 1;
            usage.half_reads += half_reads_of(bytes_of(&stored));
        });
        self.learn(key, &stored);
        Ok(stored)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let cloud = self.cloud()?;
        let mut unknown: Vec<&Key> =
            keys.iter().filter(|key| !Self::is_empty(key) && self.known(key).is_none()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let batches = unknown.len().div_ceil(KEYS_A_BATCH);
        for side_by_side in unknown.chunks(KEYS_A_BATCH * BATCHES_AT_ONCE) {
            let waits = side_by_side
                .chunks(KEYS_A_BATCH)
                .map(|batch| cloud.draw_us(|all| &all.dynamodb_batch_get, batch.len()));
            let us = waits.max().unwrap_or(0) + self.invocation.cpu_us(&cloud);
            cloud.executor.sleep_us(us).await;
        }
        let found: Vec<Option<Stored>> = {
            let table = cloud.table.borrow();
            keys.iter().map(|key| self.known(key).unwrap_or_else(|| table.get(key))).collect()
        };
        for (key, stored) in keys.iter().zip(&found) {
            self.learn(key, stored);
        }
        self.invocation.count(|usage| {
            usage.calls += batches as u64;
            usage.rounds += batches.div_ceil(BATCHES_AT_ONCE) as u64;
            let asked = keys.iter().zip(&found).filter(|(key, _)| unknown.binary_search(key).is_ok());
            usage.half_reads += asked.map(|(_, stored)| half_reads_of(bytes_of(stored))).sum::<u64>();
        });
        Ok(found)
    }

    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let cloud = self.cloud()?;
        if range.limit == 0 || range.to.as_ref().is_some_and(|to| *to <= range.from) {
            return Ok(Vec::new());
        }
        self.wait(&cloud, |all| &all.dynamodb_query, 1).await;
        let found = cloud.table.borrow().range(range);
        self.invocation.count(|usage| {
            usage.calls += 1;
            usage.rounds += 1;
            usage.half_reads += half_reads_of(found.iter().map(|(_, stored)| stored.value.len()).sum());
        });
        Ok(found)
    }

    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        let cloud = self.cloud()?;
        self.invocation.forget_reads();
        self.wait(&cloud, |all| &all.dynamodb_query, 1).await;
        let now_ms = self.now_ms();
        let found = cloud.table.borrow_mut().due(shard, after, until_ms, limit, now_ms);
        self.invocation.count(|usage| {
            usage.calls += 1;
            usage.rounds += 1;
            usage.half_reads += half_reads_of(found.len() * 128) / 2;
        });
        Ok(found)
    }

    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        let cloud = self.cloud()?;
        self.wait(&cloud, |all| &all.dynamodb_put, 1).await;
        let now_ms = self.now_ms();
        let moved = cloud.table.borrow_mut().reschedule(key, version, due_ms, now_ms);
        self.invocation.count(|usage| {
            usage.calls += 1;
            usage.rounds += 1;
            usage.writes += 3;
        });
        Ok(moved)
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        let cloud = self.cloud()?;
        batch.check_shape()?;
        let ops = calls_of(batch).count();
        match ops {
            0 => {}
            1 => self.wait(&cloud, |all| &all.dynamodb_put, 1).await,
            several => self.wait(&cloud, |all| &all.dynamodb_transact, several).await,
        }
        let outcome = cloud.table.borrow_mut().commit(batch, self.now_ms());
        if ops > 0 {
            self.invocation.count(|usage| {
                usage.calls += 1;
                usage.rounds += 1;
                usage.writes += writes_of(batch);
            });
        }
        if outcome == CommitOutcome::Committed {
            cloud.observed.borrow_mut().committed(batch, cloud.now_us());
        }
        let answer = Ok(outcome);
        if let Some(view) = self.invocation.view.borrow_mut().as_mut() {
            view.committed(batch, &answer);
        }
        answer
    }

    async fn step_aside(&self, tries: u32) {
        if let Some(cloud) = self.cloud.upgrade() {
            cloud.executor.sleep_us(step_aside_ms(tries, self.random()) * 1_000).await;
        }
    }

    async fn send(&self, wakes: &[Wake]) {
        self.invocation.outbox.put(wakes.iter().cloned());
    }
}
