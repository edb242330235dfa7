//! A prover's process under its guard.

use std::ffi::OsStr;
use std::io::{self, ErrorKind as IoError, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::error::{ErrorKind, Fault};
use super::launch::{Launch, Limits};
use super::orphans;
use super::watch::Watch;
use crate::guard::{EXIT_HOST_FAULT, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND};
use crate::processes::{Process, with_environment};

/// The environment variable that marks all processes that one guard started, so that they are found if the guard itself is
/// killed.
const MARK: &str = "PROOFYARD_GUARD";

/// A guard needs milliseconds to kill everything. One that takes this long hangs, or waits for a process that hangs in the
/// kernel.
const GUARD_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) enum Stdin {
    /// The prover reads what `send` writes.
    Open,
    /// The prover reads nothing.
    Closed,
}

/// A running guard. Dropping it kills the prover and all that it started.
pub(crate) struct Guarded {
    guard: Child,
    /// The guard's stdin: when it is closed, the guard kills the prover.
    lifeline: Option<UnixStream>,
    mark: String,
    grace: Duration,
}

impl Guarded {
    pub fn start(
        launch: &Launch,
        arguments: &[String],
        stdin: Stdin,
    ) -> Result<(Guarded, ChildStdout, ChildStderr), Fault> {
        let cannot = |error: io::Error| {
            let guard = launch.guard.program.display();
            let message = format!("cannot start its guard {guard}: {error}");
            Fault::of_io(ErrorKind::CouldNotStart, &error, message)
        };
        let mark = new_mark();
        let (lifeline, guards_end) = UnixStream::pair().map_err(cannot)?;
        lifeline.set_nonblocking(true).map_err(cannot)?;
        let mut command = guard_command(launch, arguments, stdin);
        command
            .env(MARK, &mark)
            .stdin(OwnedFd::from(guards_end))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut guard = orphans::start_guard(&mut command).map_err(cannot)?;
        let streams = guard.stdout.take().zip(guard.stderr.take());
        let grace = Duration::from_millis(launch.limits.grace_ms);
        let guarded = Guarded { guard, lifeline: Some(lifeline), mark, grace };
        let (stdout, stderr) = streams.ok_or_else(|| cannot(io::Error::other("no pipes")))?;
        Ok((guarded, stdout, stderr))
    }

    pub fn pid(&self) -> Result<Pid, Fault> {
        Pid::from_raw(self.guard.id().cast_signed())
            .ok_or_else(|| Fault::new(ErrorKind::CouldNotStart, "its guard has no pid"))
    }

    /// Writes a request, however slowly the prover reads. Returns early, without an error, if the prover has ended: reading
    /// its answer finds out how.
    pub fn send(&mut self, line: &[u8], watch: &mut Watch<'_>) -> Result<(), Fault> {
        let mut left = line;
        while let (false, Some(lifeline)) = (left.is_empty(), &mut self.lifeline) {
            match lifeline.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == IoError::WouldBlock => {
                    let timeout = Timespec::try_from(watch.next_check_in()).unwrap_or_default();
                    let _ = poll(&mut [PollFd::new(lifeline, PollFlags::OUT)], Some(&timeout));
                    watch.check()?;
                }
                Err(error) if error.kind() == IoError::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for the guard to end, and so for the prover and all that it started.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let pid = self.pid().ok()?;
        loop {
            if let Ok(Some(status)) = self.guard.try_wait() {
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let Ok(ended) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            let timeout = Timespec::try_from(left).ok()?;
            let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&timeout));
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }

    pub fn is_guard_killed(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(Some(status)) if status.signal().is_some())
    }

    /// Ends the prover's stdin: it has its grace period to end by itself.
    pub fn end_input(&self) {
        if let Some(lifeline) = &self.lifeline {
            let _ = lifeline.shutdown(Shutdown::Write);
        }
    }

    /// Ends the prover's stdin, and gives it its grace period to end by itself.
    pub fn end(mut self) -> Option<ExitStatus> {
        self.end_input();
        self.wait(self.grace + GUARD_TIMEOUT)
    }

    /// Kills the prover and all that it started, at once. Idempotent.
    pub fn kill(&mut self) {
        self.lifeline = None;
        if self.wait(GUARD_TIMEOUT).is_none() {
            let _ = self.guard.kill();
        }
        // If the guard itself was killed, its work is done here.
        let status = self.wait(GUARD_TIMEOUT);
        if status.is_none_or(|status| status.signal().is_some()) {
            self.kill_marked();
            orphans::end_guard(self.guard.id());
            orphans::kill_orphans();
        }
    }

    fn kill_marked(&self) {
        let deadline = Instant::now() + GUARD_TIMEOUT;
        while Instant::now() < deadline {
            let left = with_environment(MARK, &self.mark);
            if left.is_empty() {
                return;
            }
            left.iter().for_each(Process::kill);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
        orphans::end_guard(self.guard.id());
    }
}

fn guard_command(launch: &Launch, arguments: &[String], stdin: Stdin) -> Command {
    let mut command = Command::new(&launch.guard.program);
    // In a process group of its own, so that a signal to the yard's group (Ctrl-C) does not kill the guard before its work.
    command.args(&launch.guard.leading_arguments).process_group(0);
    command.arg("--grace-ms").arg(launch.limits.grace_ms.to_string());
    if let Some(bytes) = launch.limits.file_bytes {
        command.arg("--file-bytes").arg(bytes.to_string());
    }
    if matches!(stdin, Stdin::Closed) {
        command.arg("--no-stdin");
    }
    command.args(launch.confinement.to_arguments());
    command.arg("--").args(arguments);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_inherited(name)));
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    if let Some(gpus) = &launch.gpus {
        let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
        command.env("CUDA_VISIBLE_DEVICES", gpus.join(","));
    }
    if let Some(folder) = &launch.working_dir {
        command.current_dir(folder);
    }
    command
}

/// Whether a prover gets this variable of the yard's own environment. Any other one may be a secret, such as AWS's
/// credentials or an API key; a pipeline's `environment_from` names those that a prover needs.
fn is_inherited(name: &OsStr) -> bool {
    const NAMES: &[&str] = &[
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "TMPDIR",
        "TMP",
        "TEMP",
        "HOSTNAME",
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "JAVA_HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "GOMAXPROCS",
    ];
    const BEGINNINGS: &[&str] = &[
        "LC_",
        "LD_",
        "XDG_",
        "RUST_",
        "RAYON_",
        "TOKIO_",
        "MALLOC_",
        "OMP_",
        "KMP_",
        "GOMP_",
        "MKL_",
        "OPENBLAS_",
        "CUDA_",
        "NVIDIA_",
        "NCCL_",
        "GPU_",
        "HIP_",
        "HSA_",
        "ROCR_",
        "ROCM_",
        "PROOFYARD_",
    ];
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// A mark that no other guard on this machine has.
fn new_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now_ns}-{count}", std::process::id())
}

/// What a guard's exit status says about its prover. `answered` says whether the prover has ever answered.
pub(crate) fn how_it_ended(status: Option<ExitStatus>, answered: bool, limits: &Limits) -> Fault {
    const NOT_STARTED: [i32; 2] = [EXIT_NOT_FOUND as i32, EXIT_NOT_EXECUTABLE as i32];
    let died = |exit, signal, message: String| Fault::new(ErrorKind::Died { exit, signal }, message);
    let Some(status) = status else { return died(None, None, "it closed its output and did not end".into()) };
    match (status.code(), limits.file_bytes) {
        (Some(code), _) if !answered && code == i32::from(EXIT_HOST_FAULT) => {
            Fault::new(ErrorKind::HostFault, "this machine has no memory, or no process, left to start it")
        }
        (Some(code), _) if !answered && NOT_STARTED.contains(&code) => {
            Fault::new(ErrorKind::CouldNotStart, format!("it could not be started (exit code {code})"))
        }
        (Some(code), Some(limit_bytes)) if code == 128 + Signal::XFSZ.as_raw() => {
            let message = format!("it wrote a file of more than {limit_bytes} bytes");
            Fault::new(ErrorKind::OutputTooLarge { limit_bytes }, message)
        }
        // Signals go up to 64; a shell reports them in the same way.
        (Some(code @ 129..=192), _) => {
            died(None, Some(code - 128), format!("it was killed by signal {}", code - 128))
        }
        (Some(code), _) => died(Some(code), None, format!("it ended with exit code {code}")),
        (None, _) => died(None, status.signal(), "its guard was killed".into()),
    }
}
