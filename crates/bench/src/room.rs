//! Whether this machine has room for a load: open files, processes, memory. Asked before a run, since one that ends for want of
//! them says so late and unclearly.

use std::fs;

use crate::{BenchError, Load, ProverKind};

/// What a load takes, roughly, and on the safe side.
struct Need {
    open_files: u64,
    processes: u64,
    memory_bytes: u64,
}

/// Of this process without any worker.
const OPEN_FILES: u64 = 64;
const MEMORY_BYTES: u64 = 64 << 20;

/// Of each worker with a prover that stays, and a verifier: two pipes and the guard's for each; each has a guard, and of this
/// process's threads a worker has its slot, two that sync, and those that read what provers say.
const OPEN_FILES_A_WORKER: u64 = 10;
const PROCESSES_A_WORKER: u64 = 4;
const THREADS_A_WORKER: u64 = 7;
const PROCESS_BYTES: u64 = 1 << 20;
const THREAD_BYTES: u64 = 64 << 10;

impl Need {
    fn of(load: &Load) -> Self {
        let workers = u64::from(load.workers);
        let (open_files, processes, threads) = match load.prover {
            ProverKind::Stream => (OPEN_FILES_A_WORKER, PROCESSES_A_WORKER, THREADS_A_WORKER),
            // One of them at a time.
            ProverKind::Files => (OPEN_FILES_A_WORKER / 2, PROCESSES_A_WORKER / 2, THREADS_A_WORKER),
            ProverKind::InProcess => (1, 0, 1),
        };
        Self {
            open_files: OPEN_FILES + workers * open_files,
            // Threads count as processes.
            processes: workers * (processes + threads),
            memory_bytes: MEMORY_BYTES + workers * (processes * PROCESS_BYTES + threads * THREAD_BYTES),
        }
    }
}

/// An error that says what is lacking.
pub fn expect_room(load: &Load) -> Result<(), BenchError> {
    let need = Need::of(load);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let lacks = [
        ("open files", need.open_files, limit(&limits, "Max open files")),
        ("processes", need.processes, limit(&limits, "Max processes")),
        ("MB of memory", need.memory_bytes >> 20, available_mib(&memory)),
    ];
    match lacks.into_iter().find(|(_, needs, has)| has.is_some_and(|has| has < *needs)) {
        Some((what, needs, Some(has))) => {
            let workers = load.workers;
            Err(BenchError::NoRoom(format!("{workers} workers need about {needs} {what}, and it has {has}")))
        }
        _ => Ok(()),
    }
}

/// The limit in force; `None` where there is none.
fn limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn available_mib(memory: &str) -> Option<u64> {
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             unlimited            unlimited            processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!((limit(limits, "Max open files"), limit(limits, "Max processes")), (Some(1_024), None));
        assert_eq!(available_mib("MemFree: 1 kB\nMemAvailable:    4096 kB\n"), Some(4));
    }
}
