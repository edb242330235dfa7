//! A running yard on one machine: the handlers on threads, over this home's port.
//!
//! Slots claim and work, and take their block's next steps; advancers take the steps that wakes hint at; the sweeper
//! visits what is due each tick; each sink hands on; a feeder records a blocks file. All of them may die at any moment:
//! what they leave behind is the next process's to find in the store.

mod feed;
mod handing;
mod local;
mod socket;
mod wakes;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proofyard_core::Yard;
use proofyard_core::error::Error;
use proofyard_core::pipeline::{Output, Pipeline, Pool};
use proofyard_core::port::{PortError, Wake};
use proofyard_core::record::ResultOutcome;
pub use proofyard_prover::runner::GuardCommand;
use proofyard_worker::artifacts::{ArtifactError, Artifacts};
use proofyard_worker::isolation::{Ground, Isolation, IsolationError, Wanted, needed_by};
use proofyard_worker::{Finished, Overheads, PoolWorker, WorkDir, WorkerHome, WorkerPlan};

pub use self::feed::{Feed, FeedError, check_blocks, check_goes_on};
use self::handing::LocalSink;
pub use self::handing::read_sink_file;
use self::local::{forget_worker, local_workers, remember_worker};
use self::socket::Listener;
pub use self::socket::{AskError, ask, is_running};
use self::wakes::Wakes;
use crate::lock::{DataDir, DataDirError, STATE_FILE};
use crate::store::SqliteStore;
use crate::{LocalPort, block_on};

/// How often the sweeper looks; items that are due later cost it nothing.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How long one look may take; the next goes on where it stopped.
const SWEEP_FOR_MS: u64 = 10_000;
/// How often an idle slot or sink looks without having been woken, in real-time pipelines and in others.
const REAL_TIME_LOOK: Duration = Duration::from_secs(1);
const QUIET_LOOK: Duration = Duration::from_secs(20);
/// A stopping thread is looked for this often.
const STOP_LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error("{} cannot be {doing}: {source}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("pool {pool} is declared in two ways; pipelines of one yard must declare it alike")]
    PoolsDiffer { pool: String },
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("prover {prover} needs {name} (`environment_from`), and the environment here has no such text")]
    NoVariable { prover: String, name: String },
}

/// What the machine says while it runs: trouble that it goes on after.
pub type Complaints = dyn Fn(&str) + Send + Sync;

/// What all threads share.
pub(crate) struct Shared {
    pub yard: Yard<LocalPort>,
    pub artifacts: Arc<Artifacts>,
    pub wakes: Arc<Wakes>,
    pub overheads: Overheads,
    pub proofs_accepted: AtomicU64,
    pub idle_look: Duration,
    complaints: Box<Complaints>,
}

impl Shared {
    /// Takes all steps that wait.
    pub fn drain(&self) {
        while let Some(wake) = self.wakes.take() {
            self.step(&wake);
        }
    }
}

impl WorkerHome for Shared {
    type Port = LocalPort;
    type Artifacts = Artifacts;

    fn yard(&self) -> &Yard<LocalPort> {
        &self.yard
    }

    fn artifacts(&self) -> &Arc<Artifacts> {
        &self.artifacts
    }

    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        block_on(handler)
    }

    fn will_register(&self, worker: &str) -> Result<(), Error> {
        block_on(remember_worker(&self.yard.port, worker))
    }

    fn gave_up(&self, worker: &str) -> Result<(), Error> {
        block_on(forget_worker(&self.yard.port, worker))
    }

    fn step(&self, wake: &Wake) {
        if let Err(error) = block_on(self.yard.advance(wake)) {
            // The scope stays due: the sweeper tries again.
            self.complain("advance", &error);
        }
    }

    fn complain(&self, what: &str, error: &dyn Display) {
        (self.complaints)(&format!("{what}: {error}"));
    }

    fn is_stopped(&self) -> bool {
        self.wakes.is_stopped()
    }

    fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.wakes.is_stopped() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return true };
            thread::sleep(left.min(STOP_LOOK));
        }
        false
    }

    fn rung(&self) -> u64 {
        self.wakes.rung()
    }

    fn ring(&self) {
        self.wakes.ring();
    }

    fn wait_for_work(&self, rung: u64, at_most: Duration) {
        self.wakes.wait_for_work(rung, self.idle_look.min(at_most));
    }

    fn recorded(&self, finished: Finished<'_>) {
        let is_proof = finished.assignment.stage().output == Output::Proof;
        if is_proof && *finished.outcome == ResultOutcome::Accepted {
            self.proofs_accepted.fetch_add(1, Ordering::Relaxed);
        }
        self.overheads.add(finished.sample);
    }
}

/// A yard on this machine: opened, perhaps working.
pub struct Machine {
    shared: Arc<Shared>,
    data_dir: DataDir,
    workers: Vec<Arc<PoolWorker>>,
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Takes the data directory for this process; nothing runs yet.
    pub fn open(
        data_dir: &Path,
        create: bool,
        complaints: impl Fn(&str) + Send + Sync + 'static,
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
            idle_look: QUIET_LOOK,
            complaints: Box::new(complaints),
        };
        Ok(Self { shared: Arc::new(shared), data_dir, workers: Vec::new(), threads: Vec::new() })
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

    /// Proofs that this process made, had verified and saw accepted.
    pub fn proofs_accepted(&self) -> u64 {
        self.shared.proofs_accepted.load(Ordering::Relaxed)
    }

    /// Why nothing can be written any more, if that is so; what still runs comes to nothing, and a new start may help.
    pub fn failure(&self) -> Option<String> {
        self.shared.yard.port.failure()
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Takes all steps that wait, on this thread; for a machine that is not started.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Finds what is to keep provers from their verifiers, and from this yard, when these pipelines are worked on here.
    pub fn isolate(
        &self,
        wanted: Wanted,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
    ) -> Result<Isolation, MachineError> {
        let path = std::path::absolute(self.data_dir());
        let folder = path.map_err(|source| self.cannot("opened", source))?;
        let before = fs::metadata(&folder).map_err(|source| self.cannot("opened", source))?.permissions();
        if wanted.may_be_users() {
            // Other users go through it to what is theirs.
            let opened = Permissions::from_mode(before.mode() | 0o011);
            fs::set_permissions(&folder, opened).map_err(|source| self.cannot("opened", source))?;
        }
        let mut needed = needed_by(pipelines, guard.program.parent());
        needed.extend([folder.clone(), self.shared.artifacts.root().to_owned()]);
        let needed: Vec<PathBuf> = needed.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        let slots = pools_of(pipelines)?.values().map(|pool| pool.slots).fold(0, u32::saturating_add);
        let ground = Ground { guard, folder: &folder, needed: &needed, slots };
        let isolation = Isolation::choose(wanted, &ground);
        if !isolation.as_ref().is_ok_and(Isolation::has_users) {
            fs::set_permissions(&folder, before).map_err(|source| self.cannot("closed", source))?;
        }
        Ok(isolation?)
    }

    /// Starts to work: what a dead process held is free first, then slots, sweeper and sinks run, and operators are
    /// listened to. File sinks with relative names write below `sink_base`.
    pub fn start(
        &mut self,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
        isolation: Isolation,
        sink_base: &Path,
    ) -> Result<(), MachineError> {
        let pools = pools_of(pipelines)?;
        expect_environment(pipelines)?;
        if let Some(shared) = Arc::get_mut(&mut self.shared)
            && pipelines.iter().any(|pipeline| pipeline.chain.tick_ms <= 1_000)
        {
            shared.idle_look = REAL_TIME_LOOK;
        }
        let work_dir = self.empty_work_dir(&isolation)?;
        let isolation = Arc::new(isolation);
        for id in block_on(local_workers(&self.shared.yard.port))? {
            block_on(self.shared.yard.expire_worker(&id, true))?;
            block_on(forget_worker(&self.shared.yard.port, &id))?;
        }
        for _ in 0..advancers() {
            self.spawn("advancer", |shared| {
                while let Some(wake) = shared.wakes.wait_for_step() {
                    shared.step(&wake);
                }
            })?;
        }
        self.spawn("sweeper", sweep)?;
        let mut first_slot = 0;
        for (name, pool) in pools {
            let slots = pool.slots;
            let plan = local_plan(name, pool, guard, &work_dir);
            let plan = WorkerPlan { isolation: Arc::clone(&isolation), first_slot, ..plan };
            first_slot += slots;
            let worker = Arc::new(PoolWorker::new(plan));
            worker.register(&*self.shared)?;
            let keeper = Arc::clone(&worker);
            self.spawn("heartbeat", move |shared| keeper.keep_lease(shared))?;
            for slot in 0..worker.slots() {
                let worker = Arc::clone(&worker);
                self.spawn("slot", move |shared| worker.run_slot(shared, slot))?;
            }
            self.workers.push(worker);
        }
        for pipeline in pipelines {
            for (name, sink) in &pipeline.sinks {
                let sink = LocalSink {
                    chain: pipeline.chain.name.clone(),
                    name: name.clone(),
                    target: sink.target.clone(),
                    base: sink_base.to_owned(),
                };
                self.spawn("sink", move |shared| sink.run(shared))?;
            }
        }
        let listener = Listener::open(self.data_dir(), work_dir.path())?;
        self.spawn("socket", move |shared| listener.serve(shared))
    }

    /// Records the lines of a blocks file that [`check_blocks`] saw, on a thread of its own; the handle answers how it
    /// ended.
    pub fn feed(&self, chain: &str, feed: Feed) -> Result<JoinHandle<Result<(), FeedError>>, MachineError> {
        let (shared, chain) = (Arc::clone(&self.shared), chain.to_owned());
        let feeder = move || feed::feed(&shared, &chain, &feed);
        thread::Builder::new().name("feeder".into()).spawn(feeder).map_err(|source| self.no_thread(source))
    }

    /// Stops: running provers are killed and their tasks released, so that the next start takes them at once.
    pub fn stop(mut self) -> Result<(), MachineError> {
        self.shared.wakes.stop();
        self.workers.iter().for_each(|worker| worker.cancel_all());
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; what it held is freed below.
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

    fn empty_work_dir(&self, isolation: &Isolation) -> Result<Arc<WorkDir>, MachineError> {
        let path = self.data_dir().join("work");
        let failed = |source| MachineError::Io {
            path: path.clone(),
            doing: "emptied (remove it yourself, and start again)",
            source,
        };
        let emptied = std::path::absolute(&path).and_then(WorkDir::emptied).map_err(&failed)?;
        let opened = if isolation.has_users() { emptied.opened_to_others() } else { Ok(emptied) };
        Ok(Arc::new(opened.map_err(failed)?))
    }
}

/// A yard to look at, whether or not a process works on it; nothing can be changed through it.
pub fn look(data_dir: &Path) -> Result<Yard<LocalPort>, MachineError> {
    expect_yard(data_dir)?;
    let store = Arc::new(SqliteStore::looking(data_dir)?);
    Ok(Yard::new(LocalPort::new(store, |_| {})))
}

/// Before anything is made in a directory that is somebody else's.
fn expect_yard(data_dir: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { path: data_dir.to_owned(), doing: "opened", source };
    match fs::metadata(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataDirError::Missing(data_dir.to_owned()))
        }
        Err(error) => Err(failed(error)),
        Ok(found) if !found.is_dir() => Err(DataDirError::NotADirectory(data_dir.to_owned())),
        Ok(_) => match data_dir.join(STATE_FILE).try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DataDirError::NoYard(data_dir.to_owned())),
            Err(error) => Err(failed(error)),
        },
    }
}

/// Steps of different scopes go side by side; more threads than processors would only meet conflicts.
fn advancers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn sweep(shared: &Shared) {
    while shared.pause(SWEEP_EVERY) {
        match block_on(shared.yard.sweep_within(SWEEP_FOR_MS)) {
            Ok(swept) => {
                swept
                    .errors
                    .iter()
                    .for_each(|(key, error)| shared.complain(&format!("visit to {key}"), error));
            }
            Err(error) => shared.complain("sweep", &error),
        }
    }
}

/// This process is all of its pool's workers, and works until it is stopped.
fn local_plan(pool_name: String, pool: Pool, guard: &GuardCommand, work_dir: &Arc<WorkDir>) -> WorkerPlan {
    WorkerPlan {
        id_prefix: "local".to_owned(),
        pool_name,
        pool,
        alone: true,
        max_tasks: None,
        idle_out: None,
        guard: guard.clone(),
        work_dir: Arc::clone(work_dir),
        isolation: Arc::new(Isolation::nothing()),
        first_slot: 0,
    }
}

/// Before anything is proved that could only fail.
fn expect_environment(pipelines: &[Pipeline]) -> Result<(), MachineError> {
    for (prover, plan) in pipelines.iter().flat_map(|pipeline| &pipeline.provers) {
        if let Some(name) = plan.environment_from.iter().find(|name| std::env::var(name).is_err()) {
            return Err(MachineError::NoVariable { prover: prover.clone(), name: name.clone() });
        }
    }
    Ok(())
}

/// The pools of all pipelines of this yard.
fn pools_of(pipelines: &[Pipeline]) -> Result<BTreeMap<String, Pool>, MachineError> {
    let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
    for (name, pool) in pipelines.iter().flat_map(|pipeline| &pipeline.pools) {
        match pools.get(name) {
            Some(known) if known != pool => return Err(MachineError::PoolsDiffer { pool: name.clone() }),
            _ => {
                pools.insert(name.clone(), pool.clone());
            }
        }
    }
    Ok(pools)
}
