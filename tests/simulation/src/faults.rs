//! Which faults a seed has, and how often. Each kind is off in some seeds and frequent in others, so that no kind
//! hides another; all of them stop at the end of the busy phase.

use proofyard_memory_store::Random;

/// Rates are per 10,000.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub spurious_conflict: u32,
    pub unknown_done: u32,
    pub unknown_not_done: u32,
    pub unavailable: u32,
    /// Every port call returns pending once, and up to this many times more.
    pub extra_pauses: u64,
    pub latency_max_ms: u64,
    /// A call hangs so long that a lease may run out meanwhile.
    pub stall: u32,
    pub stall_max_ms: u64,
    pub crash_before_commit: u32,
    pub crash_after_commit: u32,
    pub crash_elsewhere: u32,
    pub wake_drop: u32,
    pub wake_repeat: u32,
    pub wake_delay_max_ms: u64,
    pub due_lag_max_ms: u64,
    pub clock_skew_max_ms: u64,
    /// A read of a task that was judged shows another result, as if a hostile worker had written it since. Drawn only where
    /// there is a judge.
    pub forge: u32,
}

impl Faults {
    pub fn draw(random: &mut Random) -> Self {
        let mut rate = |often: u32| *random.pick(&[0, 0, often / 10, often / 3, often]);
        Self {
            spurious_conflict: rate(1_000),
            unknown_done: rate(600),
            unknown_not_done: rate(400),
            unavailable: rate(300),
            stall: rate(200),
            crash_before_commit: rate(600),
            crash_after_commit: rate(1_000),
            crash_elsewhere: rate(60),
            wake_drop: rate(6_000),
            wake_repeat: rate(3_000),
            extra_pauses: *random.pick(&[0, 1, 3]),
            latency_max_ms: *random.pick(&[0, 2, 30, 300, 300]),
            stall_max_ms: *random.pick(&[5_000, 60_000]),
            wake_delay_max_ms: *random.pick(&[0, 50, 2_000, 30_000]),
            due_lag_max_ms: *random.pick(&[0, 20, 500, 5_000]),
            clock_skew_max_ms: *random.pick(&[0, 0, 100]),
            forge: 0,
        }
    }

    /// No faults; handlers still interleave.
    pub fn none() -> Self {
        Self { extra_pauses: 1, ..Self::default() }
    }
}
