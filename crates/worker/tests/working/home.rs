//! A home in memory with its artifacts in a folder, one chain of one-task blocks, and a toy prover.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::Yard;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::pipeline::Pipeline;
use proofyard_core::port::Wake;
use proofyard_core::state::{ArtifactRef, Block, ScopeId, Task, TaskId, Worker, WorkerId};
use proofyard_core::transaction::read;
use proofyard_programs::programs;
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::artifacts::{ArtifactError, ArtifactStore, Artifacts, Draft};
use proofyard_worker::bell::Bell;
use proofyard_worker::host::system_now_ms;
use proofyard_worker::isolation::Isolation;
use proofyard_worker::{Finished, WorkDir, WorkerHome, WorkerPlan};
use tempfile::TempDir;

use super::port::SharedMemory;

/// How long tests wait for what must happen; idle slots poll no sooner.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

pub struct TestHome {
    yard: Yard<SharedMemory>,
    artifacts: Arc<FlakyStore>,
    pipeline: Pipeline,
    folder: TempDir,
    bell: Bell,
    /// What its machine costs an hour.
    price_microusd: Option<u64>,
    /// Events and logged errors: what they are about, and what they say.
    events: Mutex<Vec<(String, String)>>,
}

impl TestHome {
    /// So many blocks of one task each; their prover is the toy with these arguments.
    pub fn new(toy: &[&str], blocks: u64) -> Self {
        Self::with_pool(toy, blocks, "")
    }

    /// The same with more in the pool.
    pub fn with_pool(toy: &[&str], blocks: u64, pool: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let yard = Yard::new(SharedMemory::new());
        let text = format!(
            "[chain]\nname = \"test\"\nstart_height = 1\nwindow = 100\n\n\
             [stage.task]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"toy\"\npool = \"cpu\"\n\n\
             [prover.toy]\ncommand = {:?}\n\n[pool.cpu]\nslots = 1\nlease_ms = 300\n{pool}\n",
            [&["proofyard-toy-prover"], toy].concat()
        );
        let pipeline = now(yard.record_pipeline(&text)).unwrap();
        let home = Self {
            yard,
            artifacts: Arc::new(FlakyStore::new(folder.path())),
            pipeline,
            folder,
            bell: Bell::default(),
            price_microusd: None,
            events: Mutex::default(),
        };
        (1..=blocks).for_each(|height| home.block(height));
        home
    }

    /// On a machine that costs so much an hour.
    pub fn priced(self, microusd: u64) -> Self {
        Self { price_microusd: Some(microusd), ..self }
    }

    pub fn port(&self) -> &SharedMemory {
        &self.yard.port
    }

    pub fn store(&self) -> &FlakyStore {
        &self.artifacts
    }

    /// A worker with so many slots that never ends by itself.
    pub fn plan(&self, slots: u32) -> WorkerPlan {
        let pool = self.pipeline.pools["cpu"].clone();
        let work = self.folder.path().join("work");
        let program = programs().join("proofyard-guard");
        WorkerPlan {
            id_prefix: "job-7".to_owned(),
            pool_name: "cpu".to_owned(),
            pool: proofyard_core::pipeline::Pool { slots, ..pool },
            alone: false,
            max_tasks: None,
            idle_out: None,
            guard: GuardCommand { program, leading_arguments: Vec::new() },
            work_dir: Arc::new(WorkDir::emptied(work).unwrap()),
            isolation: Arc::new(Isolation::nothing()),
            energy: Arc::default(),
            first_slot: 0,
            accounts: None,
        }
    }

    /// Records the block at this height, and lists its task.
    pub fn block(&self, height: u64) {
        let block = Block {
            height,
            hash: format!("hash{height}").into(),
            parent: format!("hash{}", height - 1).into(),
            timestamp_s: height,
            segments: 1,
            fields: Default::default(),
            payload: self.artifacts.folder.put_bytes(br#"{"block":{}}"#).unwrap(),
        };
        now(self.yard.record_block(&"test".parse().unwrap(), &block)).unwrap();
        self.take_all_steps();
    }

    /// The blocks' tasks, in order.
    pub fn tasks(&self) -> Vec<Task> {
        (1..)
            .map_while(|height| {
                let scope =
                    ScopeId::of_block(&"test".parse().unwrap(), height, &format!("hash{height}").into(), 0);
                now(read(&self.yard.port, &TaskId::new(&scope, "task", 0).task_key())).unwrap()
            })
            .collect()
    }

    pub fn wait_for(&self, what: &str, is_there: impl Fn(&[Task]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there(&self.tasks()) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}: {:#?}", self.tasks());
            thread::sleep(LOOK);
        }
    }

    pub fn worker(&self, id: &WorkerId) -> Worker {
        now(read(&self.yard.port, &Worker::key_of(id))).unwrap().expect("a registered worker")
    }

    pub fn has_worker(&self, id: &WorkerId) -> bool {
        now(read::<Worker>(&self.yard.port, &Worker::key_of(id))).unwrap().is_some()
    }

    /// The events about this.
    pub fn events(&self, about: &str) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|(of, _)| of == about).map(|(_, said)| said.clone()).collect()
    }

    pub fn stop(&self) {
        self.bell.stop();
    }

    /// As after a stop and a new start.
    pub fn start_again(&mut self) {
        self.bell = Bell::default();
    }

    pub fn yard(&self) -> &Yard<SharedMemory> {
        &self.yard
    }

    fn note(&self, about: &str, said: impl Display) {
        self.events.lock().unwrap().push((about.to_owned(), said.to_string()));
    }

    pub fn take_all_steps(&self) {
        while let Some(wake) = self.yard.port.next_wake() {
            match wake {
                Wake::Pool { .. } | Wake::Sink { .. } => self.bell.ring(),
                Wake::Judge { .. } => {}
                Wake::Chain { .. } | Wake::Scope { .. } => now(self.yard.advance(&wake)).unwrap(),
            }
        }
    }
}

impl WorkerHome for TestHome {
    type Artifacts = FlakyStore;

    fn yard(&self) -> &Yard {
        &self.yard
    }
    fn artifacts(&self) -> &Arc<FlakyStore> {
        &self.artifacts
    }
    fn bell(&self) -> &Bell {
        &self.bell
    }
    fn idle_look(&self) -> Duration {
        PATIENCE
    }
    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        now(handler)
    }
    fn will_register(&self, worker: &WorkerId) -> Result<(), Error> {
        assert!(!self.has_worker(worker));
        self.note("registers", worker);
        Ok(())
    }
    fn unregistered(&self, worker: &WorkerId) -> Result<(), Error> {
        assert!(!self.has_worker(worker));
        self.note("unregistered", worker);
        Ok(())
    }
    fn price_microusd_per_hour(&self) -> Option<u64> {
        self.price_microusd
    }
    fn take_steps(&self, wake: &Wake) {
        now(self.yard.advance(wake)).unwrap();
        self.take_all_steps();
    }
    fn log_error(&self, what: &str, error: &dyn std::error::Error) {
        self.note(what, with_causes(error));
    }
    fn recorded(&self, finished: Finished<'_>) {
        assert_eq!(*finished.assignment.task.id(), finished.sample.task);
        self.note("recorded", &finished.sample.task);
    }
}

/// A store of artifacts that fails like one on another machine, when a test wants it.
pub struct FlakyStore {
    folder: Artifacts,
    fails: Mutex<Option<bool>>,
    /// When something was last fetched.
    fetched_ms: AtomicU64,
}

impl FlakyStore {
    fn new(directory: &Path) -> Self {
        Self {
            folder: Artifacts::open(directory).unwrap(),
            fails: Mutex::default(),
            fetched_ms: AtomicU64::default(),
        }
    }

    pub fn fetched_ms(&self) -> u64 {
        self.fetched_ms.load(Ordering::SeqCst)
    }

    /// The next artifact cannot be fetched.
    pub fn fail_once(&self, passes: bool) {
        *self.fails.lock().unwrap() = Some(passes);
    }
}

impl ArtifactStore for FlakyStore {
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        match self.fails.lock().unwrap().take() {
            Some(passes) => Err(ArtifactError::Remote {
                artifact: self.name_of(artifact),
                doing: "fetched",
                source: "a test's fault".into(),
                passes,
            }),
            None => {
                let fetched = self.folder.fetch(artifact);
                // As from another machine.
                thread::sleep(LOOK);
                self.fetched_ms.store(system_now_ms(), Ordering::SeqCst);
                fetched
            }
        }
    }
    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError> {
        self.folder.draft(content, max_bytes, source)
    }
    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError> {
        self.folder.keep(draft)
    }
    fn name_of(&self, artifact: &ArtifactRef) -> String {
        format!("far://{}", artifact.sha256)
    }
}

/// Runs a future that never has to wait: the memory port answers at once.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing in memory waits"),
    }
}
