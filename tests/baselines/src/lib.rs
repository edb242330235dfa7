//! What people queue proving with today, under the loads of `proofyard bench`: NATS JetStream as push0 describes itself,
//! PostgreSQL as Bento's task table uses it, and Redis streams. Written anew, with each system's own means.
//!
//! [`run()`] starts one [`System`]'s server in an empty folder, has a [`Load`] done through it, and stops it. All do the same
//! for a task: claim it, sleep as long as a proof takes, complete it durably, and count the segments of its block in the same
//! system, so that the last one releases the task that joins them. What is measured of it, and how, is `proofyard-bench`'s.
//!
//! - `systems`: a file for each; [`Queue`]: what a worker asks of it;
//! - `programs`: where servers are found, on whose account they run, that none is left behind;
//! - `load`: the workers, and that each task was done once.

mod load;
mod programs;
mod queue;
mod systems;

use std::path::Path;

use proofyard_bench::{BaselineMeasured, BenchError, Cpu, Load};

pub use programs::Programs;
pub use queue::{Queue, Task};
pub use systems::System;

/// Why a system was not measured.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It is not here, or cannot do that: the rest can be measured.
    #[error("{0}")]
    LeftOut(String),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} {what}")]
    Server { program: &'static str, what: String },
    #[error("NATS")]
    Nats(#[source] async_nats::Error),
    #[error("PostgreSQL")]
    PostgreSql(#[from] postgres::Error),
    #[error("Redis")]
    Redis(#[from] redis::RedisError),
    /// A figure of a system that does something else would mean nothing.
    #[error("the tasks were not done as they must be: {0}")]
    Unsound(String),
}

impl BaselineError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn nats(error: impl Into<async_nats::Error>) -> Self {
        Self::Nats(error.into())
    }
}

/// Has a load done through a system, whose server lives in this empty folder meanwhile. `stop` is asked now and then whether
/// to give up.
pub fn run(
    system: System,
    programs: &Programs,
    folder: &Path,
    load: &Load,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<BaselineMeasured, BaselineError> {
    load.check()?;
    let before = Cpu::now();
    let server = system.start(programs, folder, load.workers, stop)?;
    let (version, own, of_starting) = (server.version().to_owned(), Cpu::now(), server.process().cpu());
    let starting = own.since(before).children + of_starting;
    let dispatching = load::run(server.as_ref(), load, stop);
    let clients = Cpu::now().since(own).own;
    // The server's own time counts as that of a child once it has been waited for.
    drop(server);
    let servers = Cpu::now().since(before).children.saturating_sub(starting);
    let per_task = |time: std::time::Duration| time.as_secs_f64() * 1_000.0 / load.tasks() as f64;
    Ok(BaselineMeasured {
        version,
        dispatching: dispatching?,
        clients_cpu_ms_a_task: per_task(clients),
        servers_cpu_ms_a_task: per_task(servers),
    })
}
