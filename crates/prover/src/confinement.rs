//! Confinement: how a prover's processes are isolated from others: from its verifier's, the yard's, and other slots'.
//!
//! A prover that could stop its verifier and write to the verifier's standard output, or change its memory, could forge
//! verifications. So each prover and each verifier runs
//!
//! - as **a user** of its own: the kernel isolates them as it does any two users; starting one takes root; or
//! - in **a Landlock domain** of its own, which any process may enter and none can leave: from within, no process outside
//!   can be traced, read or (since Linux 6.12) sent a signal, and no file can be changed except below the folders named
//!   here. Reading and executing files, devices and the network are not restricted. Or, where the kernel has no Landlock,
//! - in **namespaces** of its own ([`crate::namespaces`]), with the same effect.
//!
//! It is entered between fork and exec of the guard's child, so that not one instruction of the prover runs outside. Whether
//! a kernel really enforces it is found out by trying ([`Trial`]).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, geteuid, pidfd_getfd, pidfd_open, test_kill_process,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use crate::processes::Process;
use crate::runner::User;

/// How one prover, or verifier, is isolated. The default isolates it from nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The user it runs as, if not the yard's.
    pub user: Option<User>,
    /// The sandbox it runs in.
    pub sandbox: Option<Sandbox>,
    /// In a sandbox, it may change files only below these folders.
    pub writable: Vec<PathBuf>,
}

/// An isolation that needs no privilege, and leaves the process its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// A Landlock ruleset: files outside of its folders are read-only, and processes outside cannot be signalled.
    Landlock,
    /// Namespaces of its own for users, processes, mounts and inter-process communication.
    Namespaces,
}

/// The guard's options for it.
const USER: &str = "--user";
const LANDLOCK: &str = "--landlock";
const NAMESPACES: &str = "--namespaces";
const WRITABLE: &str = "--writable";

/// The folders of devices and of shared memory.
const DEVICES: &str = "/dev";
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// Character devices by which root could change the machine's disks or memory.
const ROOTS_DEVICES: [&str; 7] = ["bsg", "kmem", "kmsg", "mem", "nvme", "port", "sg"];

impl Confinement {
    /// Whether it isolates from nothing.
    pub fn is_none(&self) -> bool {
        self.user.is_none() && self.sandbox.is_none()
    }

    /// As options of the guard.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(user) = self.user {
            arguments.extend([USER.into(), user.to_string().into()]);
        }
        match self.sandbox {
            Some(Sandbox::Landlock) => arguments.push(LANDLOCK.into()),
            Some(Sandbox::Namespaces) => arguments.push(NAMESPACES.into()),
            None => {}
        }
        for folder in &self.writable {
            arguments.extend([WRITABLE.into(), folder.into()]);
        }
        arguments
    }

    /// Parses an option of the guard, with its value, if it is one of these; answers whether it was.
    pub(crate) fn take(
        &mut self,
        option: &str,
        rest: &mut dyn Iterator<Item = OsString>,
    ) -> io::Result<bool> {
        let mut value = || rest.next().ok_or_else(|| io::Error::other(format!("{option} lacks its value")));
        match option {
            USER => {
                let user = value()?.to_str().and_then(|user| user.parse().ok());
                self.user = Some(user.ok_or_else(|| io::Error::other("--user UID:GID"))?);
            }
            LANDLOCK => self.sandbox = Some(Sandbox::Landlock),
            NAMESPACES => self.sandbox = Some(Sandbox::Namespaces),
            WRITABLE => self.writable.push(value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Confines this process and all that it starts; user and namespaces are entered before.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if self.is_none() {
            return Ok(());
        }
        set_no_new_privs(true)?;
        if self.sandbox == Some(Sandbox::Landlock) {
            self.enter_landlock().map_err(|error| io::Error::other(format!("Landlock: {error}")))?;
        }
        // Drops the capabilities by which it became that user, and those of root where it is root.
        clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        Ok(())
    }

    fn enter_landlock(&self) -> Result<(), Box<dyn std::error::Error>> {
        let change = changes();
        let mut domain = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(change)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?;
        for folder in self.writable.iter().map(PathBuf::as_path).chain([Path::new(SHARED_MEMORY)]) {
            if let Ok(folder) = PathFd::new(folder) {
                domain = domain.add_rule(PathBeneath::new(folder, change))?;
            }
        }
        for device in devices() {
            if let Ok(device) = PathFd::new(device) {
                domain =
                    domain.add_rule(PathBeneath::new(device, AccessFs::WriteFile | AccessFs::Truncate))?;
            }
        }
        match domain.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err("this kernel has none".into()),
            _ => Ok(()),
        }
    }
}

/// All accesses that change files. Requests to devices (`ioctl`) are not restricted, since GPUs need them.
fn changes() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V4)
}

/// The devices that may be written to. Root could open any, so for root those are left out that reach disks or memory.
fn devices() -> Vec<PathBuf> {
    if !geteuid().is_root() {
        return vec![DEVICES.into()];
    }
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(DEVICES)];
    while let Some(folder) = folders.pop() {
        let is_top = folder == Path::new(DEVICES);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            use std::os::unix::fs::FileTypeExt;
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_roots = ROOTS_DEVICES.iter().any(|device| name.starts_with(device));
            if kind.is_char_device() && !is_roots {
                found.push(entry.path());
            } else if kind.is_dir() && is_top && !is_roots && entry.path() != Path::new(SHARED_MEMORY) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// What a confined process could still do, as it has found by trying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// It can read another process of the yard's user: its descriptors, its memory.
    pub reads_processes: bool,
    /// It can send signals to one.
    pub sends_signals: bool,
    /// It can write to the yard's folder.
    pub writes_files: bool,
    /// Paths that it must reach, and cannot.
    pub misses: Vec<PathBuf>,
}

impl Trial {
    /// Whether no prover could forge its verifier's answers.
    pub fn holds(&self) -> bool {
        !self.reads_processes && !self.writes_files
    }

    /// Tries it, in this process: against the yard's process, and in the yard's folder.
    pub(crate) fn of_this_process(yard: &str, folder: &Path, needed: &[PathBuf]) -> Trial {
        // In namespaces another process may have the same pid.
        let yard = yard.split_once(':').and_then(|(pid, started)| {
            let process = Process::read(Pid::from_raw(pid.parse().ok()?)?)?;
            (process.started.to_string() == started).then_some(process.pid)
        });
        let is_read = |yard: Pid| {
            let descriptor = pidfd_open(yard, PidfdFlags::empty());
            let taken = descriptor.and_then(|yard| pidfd_getfd(yard, 0, PidfdGetfdFlags::empty()));
            taken.is_ok()
                || fs::read_link(format!("/proc/{yard}/fd/0")).is_ok()
                || fs::File::open(format!("/proc/{yard}/mem")).is_ok()
        };
        let file = folder.join(".proofyard-trial");
        let writes_files = fs::write(&file, b"").is_ok();
        let _ = fs::remove_file(&file);
        let is_missed = |path: &&PathBuf| {
            use rustix::fs::{Access, access};
            // A folder must be enterable; a file readable or executable.
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => access(path.as_path(), Access::EXEC_OK).is_err(),
                Ok(_) => {
                    access(path.as_path(), Access::READ_OK).is_err()
                        && access(path.as_path(), Access::EXEC_OK).is_err()
                }
                Err(_) => true,
            }
        };
        Trial {
            reads_processes: yard.is_some_and(is_read),
            sends_signals: yard.is_some_and(|yard| test_kill_process(yard).is_ok()),
            writes_files,
            misses: needed.iter().filter(is_missed).cloned().collect(),
        }
    }
}
