//! What is used of AWS, in the units that it bills, by the step that used it; and what that costs.

use std::ops::{Add, Sub};

use proofyard_core::port::{Action, Batch, Expect};
use serde::Serialize;

use crate::latencies::Prices;

/// Of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Invocations, or a worker's turns, heartbeats and starts.
    pub times: u64,
    pub calls: u64,
    /// Calls that were waited for one after another; what goes side by side is one.
    pub rounds: u64,
    /// DynamoDB's read units, in halves: a read of the index is not consistent.
    pub half_reads: u64,
    /// Write units, the index's included.
    pub writes: u64,
    pub object_puts: u64,
    pub object_gets: u64,
    pub fifo_requests: u64,
    pub standard_requests: u64,
    pub webhook_requests: u64,
    pub function_calls: u64,
    /// A gigabyte for a millisecond each, in thousandths.
    pub gb_microseconds: u64,
}

const READ_UNIT_BYTES: usize = 4_096;
const WRITE_UNIT_BYTES: usize = 1_024;

/// Half read units of a consistent read of so many bytes.
pub(crate) fn half_reads_of(bytes: usize) -> u64 {
    2 * bytes.div_ceil(READ_UNIT_BYTES).max(1) as u64
}

/// Write units of a commit; an entry of the index that is written counts two more, as where the local AWS's calls are
/// counted. All of it is twice in a transaction.
pub(crate) fn writes_of(batch: &Batch) -> u64 {
    let ops: Vec<_> = calls_of(batch).collect();
    let each = |op: &&proofyard_core::port::Op| match &op.action {
        Action::Put { value, due_ms } => {
            let item = value.len() + op.key.partition.len() + op.key.sort.len();
            item.div_ceil(WRITE_UNIT_BYTES).max(1) as u64 + if due_ms.is_some() { 2 } else { 0 }
        }
        Action::Check | Action::Delete => 1,
    };
    let is_delete = ops.len() == 1 && ops[0].action == Action::Delete;
    let once: u64 = ops.iter().map(each).sum();
    // A single delete takes its entry of the index away, too.
    if ops.len() == 1 { once + u64::from(is_delete) } else { 2 * once }
}

/// What of a commit is asked of DynamoDB.
pub(crate) fn calls_of(batch: &Batch) -> impl Iterator<Item = &proofyard_core::port::Op> {
    batch.ops.iter().filter(|op| op.expect != Expect::Any || op.action != Action::Check)
}

/// What a month, or a block, costs, in USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Dollars {
    pub dynamodb: f64,
    pub s3: f64,
    pub sqs: f64,
    pub lambda: f64,
    pub webhook: f64,
    pub machines: f64,
}

impl Dollars {
    pub fn of(usage: &Usage, prices: &Prices) -> Self {
        let millions = |count: u64, usd: f64| count as f64 * usd / 1e6;
        Self {
            dynamodb: millions(usage.half_reads, prices.read_units.usd) / 2.0
                + millions(usage.writes, prices.write_units.usd),
            s3: millions(usage.object_puts, prices.object_puts.usd)
                + millions(usage.object_gets, prices.object_gets.usd),
            sqs: millions(usage.fifo_requests, prices.fifo_requests.usd)
                + millions(usage.standard_requests, prices.standard_requests.usd),
            lambda: millions(usage.function_calls, prices.function_calls.usd)
                + millions(usage.gb_microseconds, prices.gb_seconds.usd) / 1e6,
            webhook: millions(usage.webhook_requests, prices.webhook_requests.usd),
            machines: 0.0,
        }
    }

    /// All but the machines.
    pub fn calls(&self) -> f64 {
        self.dynamodb + self.s3 + self.sqs + self.lambda + self.webhook
    }

    pub fn all(&self) -> f64 {
        self.calls() + self.machines
    }

    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            dynamodb: self.dynamodb * factor,
            s3: self.s3 * factor,
            sqs: self.sqs * factor,
            lambda: self.lambda * factor,
            webhook: self.webhook * factor,
            machines: self.machines * factor,
        }
    }
}

macro_rules! by_field {
    ($trait:ident, $method:ident, $op:tt) => {
        impl $trait for Usage {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self {
                    times: self.times $op other.times,
                    calls: self.calls $op other.calls,
                    rounds: self.rounds $op other.rounds,
                    half_reads: self.half_reads $op other.half_reads,
                    writes: self.writes $op other.writes,
                    object_puts: self.object_puts $op other.object_puts,
                    object_gets: self.object_gets $op other.object_gets,
                    fifo_requests: self.fifo_requests $op other.fifo_requests,
                    standard_requests: self.standard_requests $op other.standard_requests,
                    webhook_requests: self.webhook_requests $op other.webhook_requests,
                    function_calls: self.function_calls $op other.function_calls,
                    gb_microseconds: self.gb_microseconds $op other.gb_microseconds,
                }
            }
        }
    };
}

by_field!(Add, add, +);
by_field!(Sub, sub, -);

/// Who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Ingest,
    Dispatcher,
    /// A worker's turn that got a task.
    Worker,
    Collector,
    Sweeper,
    /// A worker's look for a task that found none.
    IdleLook,
    Heartbeat,
    /// Registering and leaving.
    WorkerStart,
    /// What workers ask their wake queue, and mappings their queues.
    Polls,
}

impl Step {
    pub const ALL: [Self; 9] = [
        Self::Ingest,
        Self::Dispatcher,
        Self::Worker,
        Self::Collector,
        Self::Sweeper,
        Self::IdleLook,
        Self::Heartbeat,
        Self::WorkerStart,
        Self::Polls,
    ];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Dispatcher => "dispatcher",
            Self::Worker => "worker, a task",
            Self::Collector => "collector",
            Self::Sweeper => "sweeper",
            Self::IdleLook => "worker, an idle look",
            Self::Heartbeat => "worker, a heartbeat",
            Self::WorkerStart => "worker, a start or end",
            Self::Polls => "polls of queues",
        }
    }
}
