//! The port with the weakest guarantees that a home may give. A read by key is true at one moment between call and
//! answer; a range is read a few items at a time, with other commits in between; a commit may conflict spuriously, or its
//! outcome may stay unknown; the `due` index lags; wakes are lost, repeated, late and out of order; and a process may die
//! at every await.

use proofyard_core::port::{
    Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Version, Wake, async_trait,
};
use proofyard_core::state::{Judgement, KeyFamily, TaskId};
use serde_json::Value;

use crate::executor::Simulation;
use crate::store::Table;

/// The port of whichever process calls it.
#[derive(Clone)]
pub struct WeakPort {
    simulation: Simulation,
}

impl WeakPort {
    pub fn new(simulation: &Simulation) -> Self {
        Self { simulation: simulation.clone() }
    }

    /// What may happen at each await: time passes, others run, this process dies.
    async fn await_point(&self, crash_per_10k: u32, crash: &'static str) {
        let simulation = &self.simulation;
        let (pauses, sleep_ms) = {
            let faults = simulation.faults();
            let pauses = 1 + simulation.random(|random| random.below(faults.extra_pauses + 1));
            let mut sleep_ms =
                simulation.pace() * simulation.random(|random| random.skewed(faults.latency_max_ms));
            if simulation.chance(faults.stall) {
                simulation.count("fault: stall");
                sleep_ms = simulation.random(|random| random.below(faults.stall_max_ms));
            }
            (pauses, sleep_ms)
        };
        simulation.note_call();
        for _ in 0..pauses {
            simulation.pause().await;
        }
        if sleep_ms > 0 {
            simulation.sleep(sleep_ms).await;
        }
        if simulation.chance(crash_per_10k) {
            simulation.count(crash);
            simulation.kill_current();
            simulation.pause().await;
        }
    }

    async fn before_read(&self) {
        let crash_per_10k = self.simulation.faults().crash_elsewhere;
        self.await_point(crash_per_10k, "fault: crash between reads").await;
    }

    fn may_be_unavailable(&self) -> Result<(), PortError> {
        let per_10k = self.simulation.faults().unavailable;
        if !self.simulation.chance(per_10k) {
            return Ok(());
        }
        self.simulation.count("fault: unavailable");
        Err(PortError::Unavailable("throttled".into()))
    }

    /// A hostile worker may change its task's item at any time, also after the judge has verified it, and only for a moment.
    /// A handler that advances then may read that.
    fn as_shown(&self, key: &Key, stored: Stored) -> Stored {
        let simulation = &self.simulation;
        let per_10k = simulation.faults().forge;
        let is_advancing = || matches!(simulation.caller().name, "advance" | "sweep");
        let is_task = KeyFamily::of(key) == Some(KeyFamily::Task);
        let Some(task) = TaskId::of_key(key).filter(|_| is_task && per_10k > 0 && is_advancing()) else {
            return stored;
        };
        if simulation.table().get(&Judgement::key_of(&task)).is_none() || !simulation.chance(per_10k) {
            return stored;
        }
        let Ok(mut task) = serde_json::from_slice::<Value>(&stored.value) else { return stored };
        let Some(artifact) = task.pointer_mut("/accepted/artifact/sha256") else { return stored };
        *artifact = "f".repeat(64).into();
        simulation.count("fault: judged result changed");
        Stored { value: serde_json::to_vec(&task).unwrap_or_default(), ..stored }
    }

    fn index_lag_ms(&self) -> u64 {
        let lag_max_ms = self.simulation.faults().due_lag_max_ms;
        let lag_ms = self.simulation.random(|random| random.skewed(lag_max_ms));
        if lag_ms > 0 {
            self.simulation.count("fault: due index late");
        }
        lag_ms
    }

    /// The store receives a batch.
    fn apply(&self, batch: &Batch) -> CommitOutcome {
        let simulation = &self.simulation;
        if let Some(malformed) = Table::malformed(batch) {
            simulation.violate(format!("a commit that no home takes: {malformed}"));
        }
        if !simulation.table().allows(batch) {
            simulation.count("port: conflict");
            simulation.trace(|| format!("conflict: {}", describe(batch)));
            return CommitOutcome::Conflict;
        }
        simulation.trace(|| format!("commit {}", describe(batch)));
        let now_ms = simulation.now_ms();
        let by = simulation.caller();
        simulation.table_mut().apply(batch, by, now_ms, || self.index_lag_ms());
        simulation.count("port: commit");
        CommitOutcome::Committed
    }
}

#[async_trait(?Send)]
impl Port for WeakPort {
    fn now_ms(&self) -> u64 {
        self.simulation.process_now_ms()
    }

    fn has_yards_clock(&self) -> bool {
        !self.simulation.process_has_own_clock()
    }

    fn random(&self) -> u64 {
        self.simulation.random(|random| random.number())
    }

    fn forget_reads(&self) -> bool {
        let forgot = self.simulation.in_invocation(|invocation| invocation.view.forget()).unwrap_or(false);
        forgot.then(|| self.simulation.count("port: forgot its view"));
        forgot
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        if let Some(stored) = self.simulation.in_invocation(|invocation| invocation.view.known(key)).flatten()
        {
            self.simulation.count("port: read from a view");
            return Ok(stored);
        }
        self.before_read().await;
        self.may_be_unavailable()?;
        let stored = self.simulation.table().get(key).map(|row| self.as_shown(key, row.stored()));
        self.simulation.in_invocation(|invocation| invocation.view.learn(key, stored.clone()));
        self.simulation.pause().await;
        Ok(stored)
    }

    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let mut found: Vec<(String, Stored)> = Vec::new();
        loop {
            self.before_read().await;
            self.may_be_unavailable()?;
            let limit = self.simulation.random(|random| random.between(1, 4)) as usize;
            let limit = limit.min(range.limit - found.len());
            let after = found.last().map(|(sort, _)| sort.as_str());
            let chunk = self.simulation.table().chunk(range, after, limit);
            let is_last = chunk.len() < limit;
            found.extend(chunk);
            if is_last || found.len() >= range.limit {
                return Ok(found);
            }
            self.simulation.count("port: range read in pieces");
        }
    }

    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        self.before_read().await;
        self.may_be_unavailable()?;
        let now_ms = self.simulation.now_ms();
        let due = self.simulation.table_mut().due(shard, after, until_ms, limit, now_ms);
        if self.simulation.caller().name == "sweep" {
            for due in &due {
                self.simulation.note_due_read(until_ms, &due.key);
                self.simulation.trace(|| format!("due by {until_ms}: {} at {}", due.key, due.due_ms));
            }
        }
        if after.is_some() && !due.is_empty() {
            self.simulation.count("port: due index read in pages");
        }
        Ok(due)
    }

    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        self.before_read().await;
        self.may_be_unavailable()?;
        let seen_from_ms = self.simulation.now_ms() + self.index_lag_ms();
        let by = self.simulation.caller();
        let moved = self.simulation.table_mut().reschedule(key, version, by, due_ms, seen_from_ms);
        if !moved {
            self.simulation.count("port: rescheduled what had changed");
        }
        self.simulation.pause().await;
        Ok(moved)
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        let outcome = self.try_commit(batch).await;
        self.simulation.in_invocation(|invocation| invocation.view.committed(batch, &outcome));
        outcome
    }

    async fn sync(&self) -> Result<(), PortError> {
        let commits = self.simulation.table().commits();
        self.before_read().await;
        self.may_be_unavailable()?;
        self.simulation.table_mut().sync(commits);
        self.simulation.count("port: sync");
        Ok(())
    }

    async fn send(&self, wakes: &[Wake]) {
        if self
            .simulation
            .in_invocation(|invocation| invocation.wakes.extend(wakes.iter().cloned()))
            .is_none()
        {
            self.send_out(wakes).await;
        }
    }
}

impl WeakPort {
    async fn try_commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        let simulation = &self.simulation;
        let crash_per_10k = simulation.faults().crash_before_commit;
        self.await_point(crash_per_10k, "fault: crash before a commit").await;
        self.may_be_unavailable()?;
        let (spurious_conflict, unknown_not_done, unknown_done, crash_after) = {
            let faults = simulation.faults();
            (
                faults.spurious_conflict,
                faults.unknown_not_done,
                faults.unknown_done,
                faults.crash_after_commit,
            )
        };
        if simulation.chance(spurious_conflict) {
            simulation.count("fault: conflict for nothing");
            return Ok(CommitOutcome::Conflict);
        }
        if simulation.chance(unknown_not_done) {
            simulation.count("fault: unknown, not done");
            simulation.trace(|| format!("unknown, not done: {}", describe(batch)));
            return Ok(CommitOutcome::Unknown);
        }
        let outcome = self.apply(batch);
        if outcome != CommitOutcome::Committed {
            simulation.pause().await;
            return Ok(outcome);
        }
        // What is synced from here on covers this commit; meanwhile others see it, and a power loss may take it back.
        let commits = simulation.table().commits();
        // A process that dies here has committed, and its wakes are not sent.
        self.await_point(crash_after, "fault: crash after a commit").await;
        if simulation.chance(unknown_done) {
            simulation.count("fault: unknown, done");
            simulation.trace(|| "its outcome is unknown to the caller".into());
            return Ok(CommitOutcome::Unknown);
        }
        if batch.durable {
            simulation.table_mut().sync(commits);
        }
        Ok(outcome)
    }

    /// Sends each wake as a message, which may be lost, repeated and late.
    pub async fn send_out(&self, wakes: &[Wake]) {
        let simulation = &self.simulation;
        for wake in wakes {
            let (drop, repeat, delay_max_ms) = {
                let faults = simulation.faults();
                (faults.wake_drop, faults.wake_repeat, faults.wake_delay_max_ms)
            };
            // In the phase without wakes, those to the judge still arrive: nothing else makes it look.
            let is_only_way = drop == 10_000 && matches!(wake, Wake::Judge { .. });
            if !is_only_way && simulation.chance(drop) {
                simulation.count("fault: wake dropped");
                simulation.trace(|| format!("dropped: {wake:?}"));
                continue;
            }
            let mut copies = 1;
            while copies < 4 && simulation.chance(repeat) {
                simulation.count("fault: wake repeated");
                copies += 1;
            }
            for _ in 0..copies {
                // Each copy has a delay of its own, so that copies and wakes overtake each other.
                let delay_ms = simulation.random(|random| random.skewed(delay_max_ms));
                if delay_ms > 0 {
                    simulation.count("fault: wake late");
                }
                simulation.send_later(simulation.now_ms() + delay_ms, wake.clone());
            }
            simulation.pause().await;
        }
    }
}

fn describe(batch: &Batch) -> String {
    use proofyard_core::port::Action;
    let ops: Vec<String> = batch
        .ops
        .iter()
        .map(|op| match &op.action {
            Action::Check => format!("?{}", op.key),
            Action::Delete => format!("-{}", op.key),
            Action::Put { value, due_ms } => {
                let due = due_ms.map(|due_ms| format!(" due {due_ms}")).unwrap_or_default();
                format!("+{}{due} {}", op.key, String::from_utf8_lossy(value))
            }
        })
        .collect();
    ops.join("\n                     ")
}
