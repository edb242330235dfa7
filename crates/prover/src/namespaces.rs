//! Namespaces for a prover, where the kernel has no Landlock: a process without privileges may enter them.
//!
//! ```text
//! guard ──> this process, in new user, mount and process id namespaces ──> init (process 1 in there) ──> prover
//! ```
//!
//! - In its process id namespace a prover sees only its own processes, in `/proc` too, and cannot address any other.
//! - In its mount namespace everything is read-only but its writable folders, shared memory, and the kernel's own mounts.
//!   Devices are not restricted.
//! - When init ends, the kernel kills everything in its namespace; and init dies with the process above it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getegid, geteuid, set_parent_process_death_signal, wait, waitpid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, configure_capability_in_ambient_set, set_capabilities,
    unshare_unsafe,
};

use crate::confinement::SHARED_MEMORY;
use crate::guard::exit_code;

/// Mounts of the kernel, which hold no stored files.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The option of the first process in a namespace; the command that it starts follows.
pub(crate) const INIT: &str = "--init";

/// Enters the namespaces, runs the command in them, and answers its exit code. `own_program` starts this program, to which
/// the guard's options are added.
pub(crate) fn run(writable: &[PathBuf], mut own_program: Command, command: &[OsString]) -> io::Result<u8> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare()?;
    // Entering a user namespace may have cleared it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Maps its own user and group, and no other.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    close_files(writable)?;
    keep_for_init(CapabilitySet::SYS_ADMIN)?;
    let init = own_program.arg(INIT).args(command).spawn()?;
    let init = Pid::from_raw(init.id().cast_signed()).ok_or_else(|| io::Error::other("no pid"))?;
    loop {
        match waitpid(Some(init), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(exit_code(Some(status))),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first process in the namespaces: mounts their `/proc`, starts the prover, and ends with it. `confine` drops the
/// capabilities that it needed for that.
pub(crate) fn init(mut prover: Command, confine: impl FnOnce() -> io::Result<()>) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)?;
    confine()?;
    let prover = Pid::from_raw(prover.spawn()?.id().cast_signed());
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == prover => return Ok(exit_code(Some(status))),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[allow(
    unsafe_code,
    reason = "unsafe only for a shared table of descriptors, which is not among what is unshared"
)]
fn unshare() -> io::Result<()> {
    // SAFETY: `FILES` is not among the flags, and this process has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID) }?;
    Ok(())
}

/// Makes everything read-only except these folders.
fn close_files(writable: &[PathBuf]) -> io::Result<()> {
    // Mounts made here are not visible outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let mut open: Vec<PathBuf> = Vec::new();
    for folder in writable.iter().map(PathBuf::as_path).chain([Path::new(SHARED_MEMORY)]) {
        // Without links, as mounts are named.
        let Ok(folder) = fs::canonicalize(folder) else { continue };
        mount_bind_recursive(&folder, &folder)?;
        open.push(folder);
    }
    for place in mounts()? {
        let is_kernels = KERNELS.iter().any(|kernels| place.starts_with(kernels));
        if is_kernels || open.iter().any(|folder| place.starts_with(folder)) {
            continue;
        }
        match mount_remount(&place, read_only(&place), "") {
            // Another mount covers it, or it cannot be reached: so it cannot be written to.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(io::Error::other(format!("{}: {error}", place.display()))),
        }
    }
    Ok(())
}

/// Read-only, with the mount's other flags, which must stay set.
fn read_only(place: &Path) -> MountFlags {
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    let Ok(now) = statvfs(place) else { return flags };
    for (is, stays) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if now.f_flag.contains(is) {
            flags |= stays;
        }
    }
    flags
}

/// All mount points, in the order of mounting.
fn mounts() -> io::Result<Vec<PathBuf>> {
    let list = fs::read_to_string("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5): the fifth field, in which blanks and the like are written in octal.
    let places = list.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places.map(|place| PathBuf::from(unescaped(place))).collect())
}

fn unescaped(place: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(place.to_owned(), |place, (written, meant)| place.replace(written, meant))
}

/// Keeps capabilities over the next exec: a process that is not root loses all but the ambient ones.
fn keep_for_init(kept: CapabilitySet) -> io::Result<()> {
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    Ok(configure_capability_in_ambient_set(kept, true)?)
}
