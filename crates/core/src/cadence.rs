//! How often, and for how long, functions and workers on AWS do what no message asks of them. They keep to it, and so does
//! `crates/plan`, which predicts them.

/// How often, at most, one process counts a pool's workers after tasks were listed; and as often the sweeper.
pub const COUNT_WORKERS_EVERY_MS: u64 = 3_000;

/// How many tasks are counted beyond those that a pool's workers could take at once.
pub const MAX_WAITING_TASKS: usize = 4_096;

/// How often, at most, one process prints gauges: they are read from the state, which costs calls, and CloudWatch keeps one
/// value a minute.
pub const GAUGES_EVERY_MS: u64 = 15_000;

/// The lower limit of any sweep, and the upper limit of one that has no deadline.
pub const SHORTEST_SWEEP_MS: u64 = 1_000;
pub const LONGEST_SWEEP_MS: u64 = 20_000;

/// How long a worker takes the steps that one result leads to; the rest is left to the collector.
pub const WORKER_STEPS_MS: u64 = 10_000;

/// After an error of the storage or of its machine a slot of a worker pauses so long, and then tries again.
pub const SLOT_PAUSE_MS: u64 = 500;

/// How long running proofs may take after a spot notice, which comes two minutes before the end.
pub const SPOT_GRACE_MS: u64 = 100_000;
