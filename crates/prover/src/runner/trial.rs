//! Trying a confinement on this machine: a process is confined, and tries what it can still do.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::getpid;

use super::error::{ErrorKind, Fault};
use super::guarded::{Guarded, Stdin, how_it_ended};
use super::launch::{GuardCommand, Launch, Limits};
use crate::confinement::{Confinement, Trial};
use crate::guard::TRY;
use crate::processes::Process;

/// How long a trial may take; it takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any list of paths.
const ANSWER_BYTES: u64 = 1 << 20;

/// What a process under this confinement could still do to this process and to `folder`, which is the yard's; and which of
/// the `needed` paths it cannot reach. The error says why nothing can run under this confinement.
pub fn try_confinement(
    guard: &GuardCommand,
    confinement: Confinement,
    folder: &Path,
    needed: &[PathBuf],
) -> Result<Trial, String> {
    let text = |path: &Path| path.display().to_string();
    // The guard's own program, also if its path is not accessible to other users.
    let mut command = vec!["/proc/self/exe".to_owned()];
    command.extend(guard.leading_arguments.iter().cloned());
    let yard = Process::read(getpid()).ok_or("this process is not in /proc")?;
    command.extend([TRY.to_owned(), format!("{}:{}", yard.pid, yard.started), text(folder)]);
    command.extend(needed.iter().map(|path| text(path)));
    let limits = Limits::default();
    let launch = Launch {
        command,
        environment: Vec::new(),
        gpus: None,
        working_dir: None,
        guard: guard.clone(),
        confinement,
        limits,
    };
    run(&launch).map_err(|fault| fault.message)
}

fn run(launch: &Launch) -> Result<Trial, Fault> {
    let (mut guarded, stdout, stderr) = Guarded::start(launch, &launch.command, Stdin::Closed)?;
    let status = guarded.wait(TIMEOUT);
    // Kills every process that may hold its output, so that reading ends.
    guarded.kill();
    let (mut answer, mut log) = (Vec::new(), String::new());
    let cannot = |error| Fault::new(ErrorKind::CouldNotStart, error);
    stdout.take(ANSWER_BYTES).read_to_end(&mut answer).map_err(cannot)?;
    stderr.take(ANSWER_BYTES).read_to_string(&mut log).map_err(cannot)?;
    if status.is_some_and(|status| status.success()) {
        return serde_json::from_slice(&answer).map_err(Fault::protocol_violation);
    }
    let log = log.lines().last().map(str::to_owned);
    let how = || how_it_ended(status, false, &launch.limits).message;
    Err(Fault::new(ErrorKind::CouldNotStart, log.unwrap_or_else(how)))
}
