//! Starting the prover: the step between fork and exec, in which this program prepares the prover's process and then
//! becomes the prover.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit, setsid,
};

use super::options::{Options, usage};
use crate::confinement::{Confinement, Sandbox};
use crate::namespaces;
use crate::runner::User;

/// Starts this program once more, as the process that becomes the prover; answers also its stdin.
pub(super) fn start_prover(options: &Options, own_arguments: usize) -> io::Result<(Pid, Option<ChildStdin>)> {
    let mut command = own_program(own_arguments);
    command.arg("--become-child-of").arg(getpid().to_string());
    if let Some(bytes) = options.file_bytes {
        command.arg("--file-bytes").arg(bytes.to_string());
    }
    command.args(options.confinement.to_arguments());
    if let Some(user) = options.confinement.user {
        // Here and not in the started process: changing the user would clear its parent-death signal.
        command.uid(user.uid).gid(user.gid);
    }
    command.arg("--").args(&options.command);
    command.stdin(if options.no_stdin { Stdio::null() } else { Stdio::piped() });
    let mut child = command.spawn().map_err(|error| cannot_become(options.confinement.user, error))?;
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("no pid"))?;
    Ok((pid, child.stdin.take()))
}

fn cannot_become(user: Option<User>, error: io::Error) -> io::Error {
    match user {
        Some(user) if error.kind() == ErrorKind::PermissionDenied => {
            let need = "it takes root, or CAP_SETUID, CAP_SETGID and CAP_KILL";
            io::Error::new(error.kind(), format!("cannot start a process of user {user}: {error}; {need}"))
        }
        _ => error,
    }
}

/// The step between fork and exec, without unsafe code: prepares the prover's process, then executes the prover in it.
/// Returns only if that fails; or, where the prover is to run in namespaces, with its exit code.
pub(super) fn become_prover(parent: i32, options: &Options, own_arguments: usize) -> io::Result<u8> {
    let is_in_namespaces = options.confinement.sandbox == Some(Sandbox::Namespaces);
    let prepare = || -> io::Result<()> {
        if !is_in_namespaces {
            options.confinement.enter()?;
        }
        // A session, and so a process group, of its own: without the operator's terminal, into which it could type.
        setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The guard may have died before the signal was asked for.
        if getppid().map(Pid::as_raw_pid) != Some(parent) {
            return Err(io::Error::other("the guard has died"));
        }
        if let Some(bytes) = options.file_bytes {
            setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
        }
        // A dump of a prover's memory can fill the disk.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        Ok(())
    };
    let Some((program, arguments)) = options.command.split_first() else { return Err(usage()) };
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
    };
    prepare().map_err(named)?;
    if is_in_namespaces {
        return namespaces::run(&options.confinement.writable, own_program(own_arguments), &options.command)
            .map_err(|error| io::Error::other(format!("namespaces: {error}")));
    }
    Err(named(Command::new(program).args(arguments).exec()))
}

/// This program, with its arguments but for the last `own_arguments`, which are the guard's.
fn own_program(own_arguments: usize) -> Command {
    // This path is the running program, also if its file was replaced or deleted since.
    let mut command = Command::new("/proc/self/exe");
    let leading = std::env::args_os().len().saturating_sub(own_arguments + 1);
    command.args(std::env::args_os().skip(1).take(leading));
    command
}

/// Becomes the first process of a prover's namespaces, and runs the prover; answers its exit code.
pub(super) fn become_init(command: &[OsString]) -> io::Result<u8> {
    let Some((program, arguments)) = command.split_first() else { return Err(usage()) };
    let mut prover = Command::new(program);
    prover.args(arguments);
    let confinement = Confinement { sandbox: Some(Sandbox::Namespaces), ..Confinement::default() };
    namespaces::init(prover, || confinement.enter())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display())))
}
