//! A running yard on one machine: the handlers on threads, over this home's port.
//!
//! | thread | does | file |
//! | --- | --- | --- |
//! | slots | claim and work, and take their block's next steps | `proofyard-worker` |
//! | heartbeats | keep the workers' leases | `proofyard-worker` |
//! | advancers | take the steps that wakes ask for | `threads` |
//! | sweeper | visits what is due | `threads` |
//! | sinks | tell others of results and blocks | `sinks`, `proofyard-sinks` |
//! | source | takes a blocks file, or follows a node | `feed`, `proofyard-intake` |
//! | socket | carries out what operators ask for | `socket` |
//!
//! Any thread may write the state, but only through the handlers; the store serialises them. All of them may die at any
//! moment: the next process finds what is left to do in the store.

mod error;
mod feed;
mod intake;
mod isolating;
mod local_workers;
mod looking;
mod pools;
mod shared;
mod sinks;
mod socket;
mod starting;
mod threads;
mod wakes;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use proofyard_core::Yard;
use proofyard_core::port::PortError;
use proofyard_core::state::ChainName;
use proofyard_prover::message::CancelReason;
use proofyard_prover::runner::Cancel;
pub use proofyard_prover::runner::GuardCommand;
pub use proofyard_sinks::read_sink_file;
use proofyard_worker::artifacts::Artifacts;
use proofyard_worker::bell::idle_look;
use proofyard_worker::{Overheads, PoolWorker};

pub use self::error::MachineError;
pub use self::feed::{Feed, FeedError, check_blocks, check_goes_on};
pub use self::intake::LocalIntake;
use self::looking::expect_yard;
pub use self::looking::look;
pub use self::shared::OnError;
pub(crate) use self::shared::Shared;
pub use self::socket::{AskError, ask, is_running};
use self::wakes::Wakes;
use crate::LocalPort;
use crate::lock::DataDir;
use crate::store::SqliteStore;

/// How a source ended.
pub type Source = JoinHandle<Result<(), FeedError>>;

/// A yard on this machine: opened by this process, and working once it is started.
pub struct Machine {
    shared: Arc<Shared>,
    data_dir: DataDir,
    workers: Vec<Arc<PoolWorker>>,
    /// Ends what sinks are told at the moment.
    cancel_sinks: Cancel,
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Locks the data directory for this process; nothing runs yet. Errors after which the machine goes on are given to
    /// `on_error`.
    pub fn open(
        data_dir: &Path,
        create: bool,
        on_error: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, MachineError> {
        if !create {
            expect_yard(data_dir)?;
        }
        let data_dir = DataDir::open(data_dir, create)?;
        let store = Arc::new(SqliteStore::open(&data_dir)?);
        let artifacts = Arc::new(Artifacts::open(data_dir.path())?);
        let wakes = Arc::new(Wakes::default());
        let sent = Arc::clone(&wakes);
        let port = LocalPort::new(store, move |wakes| sent.send(wakes)).with_crash_point();
        let shared = Shared {
            yard: Yard::new(port),
            artifacts,
            wakes,
            overheads: Overheads::default(),
            proofs_accepted: AtomicU64::new(0),
            idle_look: idle_look(None),
            on_error: Box::new(on_error),
            on_steps: OnceLock::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            data_dir,
            workers: Vec::new(),
            cancel_sinks: Cancel::new(),
            threads: Vec::new(),
        })
    }

    pub fn yard(&self) -> &Yard<LocalPort> {
        &self.shared.yard
    }

    pub fn artifacts(&self) -> &Artifacts {
        &self.shared.artifacts
    }

    pub fn overheads(&self) -> &Overheads {
        &self.shared.overheads
    }

    /// Has this called each time that steps were taken, on the thread that took them: for who measures when they were. Only
    /// the first one counts.
    pub fn on_steps(&self, call: impl Fn(&Yard<LocalPort>) + Send + Sync + 'static) {
        let _ = self.shared.on_steps.set(Box::new(call));
    }

    /// How many proofs of this process were accepted.
    pub fn proofs_accepted(&self) -> u64 {
        self.shared.proofs_accepted.load(Ordering::Relaxed)
    }

    /// Why the state cannot be written any more; `None` while it can. Work that still runs cannot be recorded then; a new
    /// start may help.
    pub fn failure(&self) -> Option<PortError> {
        self.shared.yard.port.failure()
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Takes all queued steps, on this thread; for a machine that is not started.
    pub fn take_queued_steps(&self) {
        self.shared.take_queued_steps();
    }

    /// Takes the lines of a blocks file that [`check_blocks`] has checked, on a thread of its own; the handle answers how
    /// that ended.
    pub fn feed(&self, chain: &ChainName, feed: Feed) -> Result<Source, MachineError> {
        let chain = chain.clone();
        self.run_source(move |intake| feed::feed(intake, &chain, &feed))
    }

    /// Runs a source on a thread of its own, which ends once the machine stops or the source has no more.
    pub fn run_source(
        &self,
        source: impl FnOnce(&LocalIntake) -> Result<(), FeedError> + Send + 'static,
    ) -> Result<Source, MachineError> {
        let intake = LocalIntake::new(Arc::clone(&self.shared));
        let run = move || source(&intake);
        thread::Builder::new().name("source".into()).spawn(run).map_err(|source| self.no_thread(source))
    }

    /// Stops: running provers are killed and their tasks released, so that the next start can claim them at once.
    pub fn stop(mut self) -> Result<(), MachineError> {
        self.shared.wakes.stop();
        self.workers.iter().for_each(|worker| worker.cancel_all());
        self.cancel_sinks.cancel(CancelReason::Stopping);
        for thread in self.threads.drain(..) {
            // A thread that panicked has logged it; its tasks are released below.
            let _ = thread.join();
        }
        for worker in &self.workers {
            worker.unregister(&*self.shared)?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), MachineError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.into()).spawn(move || work(&shared));
        self.threads.push(thread.map_err(|source| self.no_thread(source))?);
        Ok(())
    }

    fn no_thread(&self, source: io::Error) -> MachineError {
        self.cannot("worked on by another thread", source)
    }

    fn cannot(&self, doing: &'static str, source: io::Error) -> MachineError {
        MachineError::Io { path: self.data_dir().to_owned(), doing, source }
    }
}
