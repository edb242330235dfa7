//! The worker on AWS: claims a pool's tasks by rank, proves, verifies, stores the proof in the bucket, records the result.
//!
//! The same program runs as a worker that stays (`idle_out`), and as a job for one task (`max_tasks`). A job names no task:
//! it claims the one of lowest rank when it runs. When the machine is to be taken back (a spot notice) or the job is stopped
//! (SIGTERM), the worker drains: it claims nothing more, finishes what it can in time, and releases the rest for others.

mod home;
mod judge;
mod price;
mod spot;

use std::env;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use proofyard_aws::objects::artifacts::ObjectArtifacts;
use proofyard_aws::{AwsHome, ConnectError};
use proofyard_core::cadence::SPOT_GRACE_MS;
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::state::ChainName;
use proofyard_energy::meter_of_this_machine;
use proofyard_prover::runner::{GuardCommand, User, adopt_orphans};
use proofyard_worker::artifacts::ArtifactError;
use proofyard_worker::bell::{Bell, idle_look};
use proofyard_worker::isolation::{Host, Isolation, IsolationError, Wanted, WantedKind, needed_by};
use proofyard_worker::{PoolWorker, WorkDir, WorkerPlan};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::home::{JobHome, JobHost};
use crate::price::{KnownPrice, has_metadata};
use crate::spot::{POLL_EVERY, SpotNotice};

/// How often it is checked whether a signal has arrived.
const SIGNAL_POLL: Duration = Duration::from_millis(100);
/// How long a poll of the wake queue waits for messages, and the pause after one that failed.
const WAKE_POLL: Duration = Duration::from_secs(5);
/// How long a worker's start waits for the price of its machine.
const PRICE_PATIENCE: Duration = Duration::from_secs(1);
const GIB: u64 = 1 << 30;

/// Works for one pool.
#[derive(Args, Clone, Debug)]
pub struct WorkerArguments {
    /// Which pool's tasks to take; `judge` verifies once more what is to be handed on, and takes none.
    #[arg(long, value_name = "NAME")]
    pub pool: String,
    /// Ends after N tasks; without it, the worker stays.
    #[arg(long, value_name = "N")]
    pub max_tasks: Option<u64>,
    /// Ends when there was no work for this long.
    #[arg(long, value_name = "MS")]
    pub idle_out_ms: Option<u64>,
    /// How long running proofs may take after a spot notice, which comes two minutes before the end.
    #[arg(long, value_name = "MS", default_value_t = SPOT_GRACE_MS)]
    pub spot_grace_ms: u64,
    /// How long running proofs may take after SIGTERM, which AWS Batch sends 30 s before SIGKILL.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    pub term_grace_ms: u64,
    /// Where provers write and artifacts are cached; without it, in the system's temporary folder.
    #[arg(long, value_name = "DIR", env = "PROOFYARD_SCRATCH")]
    pub scratch: Option<PathBuf>,
    /// Provers run as this user in the first slot, and as the next uid in each further one: they see nothing of the
    /// worker's credentials.
    #[arg(long, value_name = "UID:GID", env = "PROOFYARD_PROVER_USER")]
    pub prover_user: Option<User>,
    /// Verifiers run as this user, likewise, so that no prover can answer for one.
    #[arg(long, value_name = "UID:GID", env = "PROOFYARD_VERIFIER_USER")]
    pub verifier_user: Option<User>,
    /// What keeps provers from their verifiers: users (of their own, as root), landlock,
    /// namespaces, none, or auto, the best of these.
    #[arg(long, value_name = "HOW", env = "PROOFYARD_ISOLATION", default_value = "auto")]
    pub isolation: WantedKind,
    /// About how much of the artifacts is kept there.
    #[arg(long, value_name = "GIB", default_value_t = 32)]
    pub cache_gib: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error(
        "no pipeline of yard {yard} has a pool {pool}; `proofyard status --aws {yard}` shows what there is"
    )]
    NoPool { yard: String, pool: String },
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("{warning}; the pipeline of chain {chain} is strict, so nothing is proved here")]
    Strict { chain: ChainName, warning: String },
    #[error("{doing}")]
    Io { doing: &'static str, source: io::Error },
}

impl WorkerError {
    /// Where this program does not find itself, to be started as a guard.
    pub fn no_program(source: io::Error) -> Self {
        Self::Io { doing: "this program's own path is not known", source }
    }
}

impl Coded for WorkerError {
    fn code(&self) -> Code {
        match self {
            Self::Connect(error) => error.code(),
            Self::Yard(error) => error.code(),
            Self::Artifacts(error) => error.code(),
            Self::NoPool { .. } => Code::NoPool,
            Self::Isolation(error) => error.code(),
            Self::Strict { .. } => Code::StrictWithoutIsolation,
            Self::Io { .. } => Code::ProcessFault,
        }
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> WorkerError {
    move |source| WorkerError::Io { doing, source }
}

/// Logs go to stderr: standard output is for metrics.
pub fn log_in_json() {
    proofyard_aws::clients::log_lines::log_in_json(std::io::stderr);
}

/// Works until the worker ends by itself, or must end.
pub fn work(arguments: &WorkerArguments, yard: Option<&str>, guard: GuardCommand) -> Result<(), WorkerError> {
    adopt_orphans()
        .map_err(failed("this process cannot take over the processes that provers leave behind"))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&stop)).map_err(failed("signals cannot be listened to"))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed("threads cannot be started"))?;
    let aws = runtime.block_on(async {
        match yard {
            Some(yard) => AwsHome::connect(yard).await,
            None => AwsHome::from_environment().await,
        }
    })?;
    // A worker's environment does not say whether there is a judge, which decides whether the worker may advance.
    let aws = runtime.block_on(aws.with_judge_found())?.on_a_host_of_its_own();
    match arguments.pool.as_str() {
        JUDGE_POOL => judge::work(arguments, aws, &runtime, guard, &stop),
        _ => work_for_pool(arguments, aws, &runtime, guard, &stop),
    }
}

fn work_for_pool(
    arguments: &WorkerArguments,
    aws: AwsHome,
    runtime: &Runtime,
    guard: GuardCommand,
    stop: &AtomicBool,
) -> Result<(), WorkerError> {
    let pool = runtime.block_on(aws.yard.pool(&arguments.pool))?;
    let pool = pool.ok_or_else(|| WorkerError::NoPool {
        yard: aws.names.yard().to_owned(),
        pool: arguments.pool.clone(),
    })?;
    let idle_look = idle_look(Some(runtime.block_on(aws.tick_of_pool_ms(&arguments.pool))?));
    let chains = runtime.block_on(aws.yard.chains_of_pool(&arguments.pool))?;
    let (job, price) = (env::var("AWS_BATCH_JOB_ID").ok(), KnownPrice::default());
    let (priced, is_priced) = oneshot::channel();
    if job.is_some() && has_metadata() {
        let gpus = pool.slots.saturating_mul(pool.gpus_per_slot);
        runtime.spawn(price.clone().watch(aws.config().clone(), arguments.pool.clone(), gpus, priced));
    } else {
        drop(priced);
    }
    let place = ProverSite::prepare(arguments, &aws, runtime, &guard, &chains, pool.slots)?;
    let host = JobHost {
        artifacts: Arc::clone(&place.artifacts),
        runtime: runtime.handle().clone(),
        bell: Bell::default(),
        job,
        pool: arguments.pool.clone(),
        // A yard with a judge does not trust workers' results, and so does not let workers advance either.
        advances: pool.workers_advance && !aws.yard.is_judged(),
        idle_look,
        price,
        aws,
    };
    // So that the first attempt has it; where it is not known by then, later ones do.
    _ = runtime.block_on(async { timeout(PRICE_PATIENCE, is_priced).await });
    let home = Arc::new(JobHome::new(host));
    let energy = meter_of_this_machine(pool.gpus_per_slot > 0);
    let worker = Arc::new(PoolWorker::new(WorkerPlan {
        id_prefix: home
            .host
            .job
            .as_ref()
            .map_or("worker".to_owned(), |job| format!("job-{job}-{}", attempt())),
        pool_name: arguments.pool.clone(),
        pool,
        alone: false,
        max_tasks: arguments.max_tasks,
        idle_out: arguments.idle_out_ms.map(Duration::from_millis),
        guard,
        work_dir: Arc::clone(&place.work_dir),
        isolation: Arc::clone(&place.isolation),
        energy: Arc::new(energy),
        first_slot: 0,
        accounts: None,
    }));
    run(arguments, &home, &worker, stop)?;
    drop((worker, home, place));
    Ok(())
}

/// Which attempt of its AWS Batch job this is.
fn attempt() -> String {
    env::var("AWS_BATCH_JOB_ATTEMPT").unwrap_or_default()
}

/// What provers and verifiers of this machine need: artifacts, folders to write to, isolation.
struct ProverSite {
    artifacts: Arc<ObjectArtifacts>,
    work_dir: Arc<WorkDir>,
    isolation: Arc<Isolation>,
    /// Removed when the worker ends.
    _scratch: TempDir,
}

impl ProverSite {
    fn prepare(
        arguments: &WorkerArguments,
        aws: &AwsHome,
        runtime: &Runtime,
        guard: &GuardCommand,
        chains: &[ChainName],
        slots: u32,
    ) -> Result<Self, WorkerError> {
        let scratch = match &arguments.scratch {
            Some(scratch) => TempDir::with_prefix_in("worker-", scratch),
            None => TempDir::with_prefix("proofyard-worker-"),
        };
        let scratch = scratch.map_err(failed("no folder can be made for provers to write to"))?;
        let wanted =
            Wanted::from_options(arguments.isolation, arguments.prover_user, arguments.verifier_user)?;
        if wanted.may_be_users() {
            // Other users may reach what is in it, but not list it.
            set_permissions(scratch.path(), Permissions::from_mode(0o711))
                .map_err(failed("the folder that provers write to cannot be opened to them"))?;
        }
        let kept = scratch.path().join("kept");
        std::fs::create_dir(&kept).map_err(failed("no folder can be made for artifacts"))?;
        let mut pipelines = Vec::new();
        for chain in chains {
            pipelines.push(runtime.block_on(aws.yard.chain(chain))?.1);
        }
        let mut needed = needed_by(pipelines.iter().map(|pipeline| &**pipeline), guard.program.parent());
        needed.extend([scratch.path().to_owned(), kept.clone()]);
        let host = Host { guard, folder: scratch.path(), needed: &needed, slots };
        let isolation = Isolation::choose(wanted, &host)?;
        if let Some(warning) = isolation.warning() {
            if let Some(strict) = pipelines.iter().find(|pipeline| pipeline.chain.strict) {
                return Err(WorkerError::Strict { chain: strict.chain.name.clone(), warning });
            }
            warn!(pool = arguments.pool, warning, "provers are not isolated");
        }
        let artifacts = ObjectArtifacts::new(
            aws.objects.clone(),
            &kept,
            arguments.cache_gib.saturating_mul(GIB),
            runtime.handle().clone(),
        )?;
        let work_dir = WorkDir::emptied(scratch.path().join("work"));
        let work_dir =
            work_dir.and_then(|made| if isolation.has_users() { made.opened_to_others() } else { Ok(made) });
        let work_dir = work_dir.map_err(failed("no folder can be made for provers to write to"))?;
        let pool = &arguments.pool;
        info!(pool, isolation = isolation.to_string(), "what keeps provers from their verifiers");
        Ok(Self {
            artifacts: Arc::new(artifacts),
            work_dir: Arc::new(work_dir),
            isolation: Arc::new(isolation),
            _scratch: scratch,
        })
    }
}

fn run(
    arguments: &WorkerArguments,
    home: &Arc<JobHome>,
    worker: &Arc<PoolWorker>,
    stop: &AtomicBool,
) -> Result<(), WorkerError> {
    worker.register(&**home)?;
    info!(
        pool = home.host.pool,
        worker = worker.id().as_str(),
        slots = worker.slots(),
        "the worker claims tasks"
    );
    thread::scope(|scope| {
        let lease = scope.spawn(|| worker.keep_lease(&**home));
        scope.spawn(|| poll_wake_queue(home));
        scope.spawn(|| watch_for_the_end(arguments, home, worker, stop));
        let slots: Vec<_> =
            (0..worker.slots()).map(|slot| scope.spawn(move || worker.run_slot(&**home, slot))).collect();
        let panicked = slots.into_iter().filter_map(|slot| slot.join().err()).count();
        if panicked > 0 {
            error!(panicked, "slots ended in a panic; their tasks are released");
        }
        home.host.bell.stop();
        drop(lease);
    });
    let ended = worker.unregister(&**home);
    deliver_last_wakes(home);
    info!(pool = home.host.pool, worker = worker.id().as_str(), "the worker has ended");
    Ok(ended?)
}

/// Delivers the wakes of the worker's end, which has listed its tasks again.
fn deliver_last_wakes(home: &JobHome) {
    use proofyard_worker::WorkerHome;
    home.block_on(home.host.aws.deliver());
}

/// Rings the bell for each message of the pool's wake queue, which says only that there may be work.
fn poll_wake_queue(home: &JobHome) {
    use proofyard_worker::WorkerHome;
    let queue = home.host.aws.names.wake_queue(&home.host.pool);
    while !home.is_stopped() {
        let tokens = home.block_on(home.host.aws.queues.receive(&queue, WAKE_POLL.as_secs() as u32));
        match tokens {
            Ok(tokens) if tokens.is_empty() => {}
            Ok(tokens) => {
                home.host.bell.ring();
                let tokens: Vec<_> = tokens.iter().collect();
                if let Err(error) = home.block_on(home.host.aws.queues.delete(&queue, &tokens)) {
                    home.log_error("tokens", &error);
                }
            }
            Err(error) => {
                home.log_error("tokens", &error);
                home.pause(WAKE_POLL);
            }
        }
    }
}

/// Drains the worker once there is a signal or a spot notice.
fn watch_for_the_end(arguments: &WorkerArguments, home: &JobHome, worker: &PoolWorker, stop: &AtomicBool) {
    use proofyard_worker::WorkerHome;
    let spot = home.host.job.is_some().then(SpotNotice::new);
    let mut polled = Instant::now();
    while !home.is_stopped() {
        if stop.load(Ordering::Relaxed) {
            warn!(pool = home.host.pool, worker = worker.id().as_str(), "asked to stop");
            return worker.drain(home, Instant::now() + Duration::from_millis(arguments.term_grace_ms));
        }
        if let Some(spot) = spot.as_ref().filter(|_| polled.elapsed() >= POLL_EVERY) {
            polled = Instant::now();
            if let Some(notice) = home.block_on(spot.poll()) {
                warn!(
                    pool = home.host.pool,
                    worker = worker.id().as_str(),
                    notice,
                    "this machine is taken back"
                );
                home.print_metrics(&[("SpotNotices", "Count", json!(1))]);
                return worker.drain(home, Instant::now() + Duration::from_millis(arguments.spot_grace_ms));
            }
        }
        home.pause(SIGNAL_POLL);
    }
}
