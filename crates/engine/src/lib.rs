//! The engine API between a consensus client and its execution client, as a source of blocks with their witnesses (EIP-8025).
//!
//! A [`Listener`] stands where the execution client did: the consensus client's calls go on to that one with the client's own
//! token, and the answers go back byte for byte ([`proxy`]). A payload that the execution client calls valid becomes a block, and
//! the witness that was asked for with it lies ready for provers.
//!
//! ```text
//!  consensus client ──> call ───────────────────────> execution client
//!                        │ written down meanwhile          │
//!                        v                                 v
//!                      files  <── witness, as it comes ── answer, without the witness ──> consensus client
//!                        │
//!                        └──> recorder: witness kept, block recorded, call forgotten; then head, safe, finalized
//! ```
//!
//! Nothing of ours stops a call: what the disk does not take is held in memory, and what is lost is counted and shown.

mod cut;
mod guest_input;
mod keep;
mod payload;
mod proxy;
mod record;
mod request;
mod shared;
mod trie;
mod upstream;
mod witness;

pub use self::guest_input::{GuestBlock, GuestInputError, write_guest_input};

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proofyard_blocks::Rules;
use proofyard_core::error::{Code, Coded};
use proofyard_core::pipeline::EngineSource;
use proofyard_core::state::ChainName;
use proofyard_intake::Intake;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;

use self::keep::{Folder, Keeper};
use self::proxy::{Asking, Proxy};
use self::record::{Known, Recorder};
use self::shared::Shared;
use self::upstream::Upstream;
use self::witness::Witnesses;

/// Threads that calls run on.
const THREADS: usize = 2;
/// Connections at once; a consensus client has a few.
const MOST_CONNECTIONS: usize = 256;
/// After what keeps a connection from being accepted, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While the folder of what came cannot be opened.
const OPEN_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("`listen` is {at}, where another program listens already, such as a second `proofyard run`")]
    Taken { at: std::net::SocketAddr },
    #[error("`listen` is {at}, where nobody can listen here")]
    NoListening { at: std::net::SocketAddr, source: io::Error },
    #[error("`execution` is {url}, which is no URL; write it as http://127.0.0.1:8552")]
    NoUrl { url: String },
}

impl Coded for EngineError {
    fn code(&self) -> Code {
        match self {
            Self::Taken { .. } | Self::NoListening { .. } => Code::AddressNotFree,
            Self::NoUrl { .. } => Code::BadEndpoint,
        }
    }
}

/// The place where the consensus client calls, taken and not yet served.
pub struct Listener {
    socket: TcpListener,
    source: EngineSource,
    upstream: Upstream,
}

impl Listener {
    pub fn bind(source: &EngineSource) -> Result<Self, EngineError> {
        let at = source.listen;
        let socket = TcpListener::bind(at).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => EngineError::Taken { at },
            _ => EngineError::NoListening { at, source: error },
        })?;
        let timeout = Duration::from_millis(source.timeout_ms);
        let upstream = Upstream::new(&source.execution, timeout)
            .ok_or_else(|| EngineError::NoUrl { url: source.execution.clone() })?;
        Ok(Self { socket, source: source.clone(), upstream })
    }

    /// Lets calls through, and records what came, until `is_stopped`. What is not recorded yet lies in `folder` meanwhile. Calls go
    /// through from the first moment on, also while the folder or the state cannot be written.
    pub fn run<I: Intake>(
        self,
        intake: &I,
        chain: &ChainName,
        rules: &Rules,
        folder: &Path,
        is_stopped: impl Fn() -> bool,
        no_source: impl Fn(io::Error) -> I::Error,
    ) -> Result<(), I::Error> {
        let shared = Arc::new(Shared::default());
        let (keeper, start_writing) = Keeper::new(Arc::clone(&shared));
        let witnesses = Arc::new(Mutex::new(None));
        let (execution, listen) =
            (self.upstream.name().to_owned(), format!("engine API at {}", self.source.listen));
        let wait = self.source.witness.as_ref().map(|witness| Duration::from_millis(witness.wait_ms));
        let proxy = Proxy {
            upstream: self.upstream,
            keeper,
            shared: Arc::clone(&shared),
            body_bytes: usize::try_from(self.source.body_bytes).unwrap_or(usize::MAX),
            wait,
            asking: Mutex::new(Asking::default()),
            witnesses: Arc::clone(&witnesses),
        };
        let calls = serve(self.socket, Arc::new(proxy), &shared).map_err(&no_source)?;
        let opened = loop {
            match open(folder, &self.source) {
                Ok(opened) => break Some(opened),
                Err(_) if is_stopped() || shared.is_over() => break None,
                Err(error) => {
                    shared.disk_fails(&error);
                    thread::sleep(OPEN_PAUSE);
                }
            }
        };
        let Some((kept, known_witnesses)) = opened else {
            shared.end();
            return joined(calls).map_err(no_source);
        };
        for stage in [keep::Stage::Valid, keep::Stage::Refused] {
            let last = kept.all(stage).unwrap_or_default().last().copied();
            shared.ids_after(last.unwrap_or_default());
        }
        *witnesses.lock().unwrap_or_else(PoisonError::into_inner) = known_witnesses.clone();
        start_writing(&kept).map_err(&no_source)?;
        let mut recorder = Recorder {
            intake,
            chain,
            rules,
            shared: &shared,
            folder: kept,
            witnesses: known_witnesses,
            execution: &execution,
            listen: &listen,
            state: Known::default(),
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(&no_source)?;
        runtime.block_on(recorder.run(is_stopped));
        shared.end();
        joined(calls).map_err(no_source)
    }
}

fn open(folder: &Path, source: &EngineSource) -> io::Result<(Folder, Option<Witnesses>)> {
    let most = source.witness.as_ref().map_or(0, |witness| witness.most_bytes);
    let calls = Folder::open(folder.join("calls"), most)?;
    let witnesses = match &source.witness {
        Some(witness) => Some(Witnesses::open(&folder.join("witnesses"), witness.keep_bytes)?),
        None => None,
    };
    Ok((calls, witnesses))
}

fn joined(calls: JoinHandle<()>) -> io::Result<()> {
    calls.join().map_err(|_| io::Error::other("the thread that lets calls through panicked"))
}

/// Serves on threads of its own until what is shared is over.
fn serve(socket: TcpListener, proxy: Arc<Proxy>, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    socket.set_nonblocking(true)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("engine-calls")
        .enable_all()
        .build()?;
    let shared = Arc::clone(shared);
    thread::Builder::new().name("engine-calls".into()).spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return shared.end() };
            let accepting = tokio::spawn(accept(listener, proxy));
            while !shared.is_over() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            accepting.abort();
        });
        // Calls that are on their way have no one who would record them.
        runtime.shutdown_background();
    })
}

async fn accept(listener: tokio::net::TcpListener, proxy: Arc<Proxy>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let service = service_fn(move |request| Arc::clone(&proxy).serve(request));
            // A consensus client may be silent for long.
            let mut connection = http1::Builder::new();
            connection.header_read_timeout(None);
            // What ends a connection early is the client's to know.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}
