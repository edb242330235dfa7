//! What this process, and the children that it has waited for, have used; as Linux tells it in `/proc`.

use std::fs;
use std::time::Duration;

/// Processor time since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub own: Duration,
    /// Of children that have ended, and theirs.
    pub children: Duration,
}

/// `/proc` counts in hundredths of a second on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    /// Zero where there is no such file.
    pub fn now() -> Self {
        Self::of("self")
    }

    fn of(process: &str) -> Self {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold spaces. Behind it the first field is the third of proc(5).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |field: usize| -> u32 { fields.get(field - 3).and_then(|ticks| ticks.parse().ok()).unwrap_or(0) };
        Self { own: TICK * (ticks(14) + ticks(15)), children: TICK * (ticks(16) + ticks(17)) }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            children: self.children.saturating_sub(before.children),
        }
    }
}

/// What another process, and its children that have ended, have used.
pub fn cpu_of_process(id: u32) -> Duration {
    let Cpu { own, children } = Cpu::of(&id.to_string());
    own + children
}

/// From here on the peak is counted anew, where the kernel allows it.
pub(crate) fn forget_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that the process has had at once.
pub(crate) fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
