//! What keeps a prover's processes away from those of others: its verifier, the yard, other slots.
//!
//! A prover that could stop its verifier and write to its standard output, or read its memory, would verify its own
//! proofs. So whoever proves and whoever verifies runs
//!
//! - as **a user** of its own: then the kernel keeps them apart as it keeps any two users apart; it takes root, or
//! - in **a Landlock domain** of its own, which any process may enter and none can leave: out of it, no process can be
//!   traced, read or (since Linux 6.12) sent a signal, and no file can be changed but below the folders named here.
//!   Reading files, executing them, devices and the network stay as they are. Or, where the kernel has no Landlock,
//! - in **namespaces** of its own ([`crate::namespaces`]), with the same effect.
//!
//! It is entered in the step between fork and exec of the guard's child, so that not one instruction of the prover runs
//! outside. What a kernel really keeps is tried, not looked up ([`Trial`]).

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

/// How one prover, or verifier, is kept from others. The default keeps it from nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// As whom it runs, if not as the yard.
    pub user: Option<User>,
    /// What it is put in.
    pub sandbox: Option<Sandbox>,
    /// In a sandbox: below these folders it may change files.
    pub writable: Vec<PathBuf>,
}

/// What a process is put in that keeps its user, and takes no privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// A Landlock ruleset: files outside of its folders are read-only, and processes outside cannot be signalled.
    Landlock,
    /// Namespaces of its own for users, processes, mounts and inter-process communication.
    Namespaces,
}

/// The options of a guard that say it.
const USER: &str = "--user";
const LANDLOCK: &str = "--landlock";
const NAMESPACES: &str = "--namespaces";
const WRITABLE: &str = "--writable";

/// Where provers meet the kernel's devices and shared memory.
const DEVICES: &str = "/dev";
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// Character devices that give root the disks, or the memory, of the machine.
const ROOTS_DEVICES: [&str; 7] = ["bsg", "kmem", "kmsg", "mem", "nvme", "port", "sg"];

impl Confinement {
    /// Whether its processes run as the yard's own do.
    pub fn is_none(&self) -> bool {
        self.user.is_none() && self.sandbox.is_none()
    }

    /// As options of a guard.
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

    /// Takes an option of a guard, with its value, if it is one of these; says whether it was.
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

    /// Confines this process, which runs as the user already and in the namespaces, and all that it starts.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if self.is_none() {
            return Ok(());
        }
        set_no_new_privs(true)?;
        if self.sandbox == Some(Sandbox::Landlock) {
            self.enter_landlock().map_err(|error| io::Error::other(format!("Landlock: {error}")))?;
        }
        // Nothing of what let it become that user, nor of root's powers where it is root.
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

/// All that changes files. What a device does on request (`ioctl`) is not among it: GPUs live by that.
fn changes() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V4)
}

/// The devices that are written to. Root may open any, so only those count for it that are no disk.
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

/// What a confined process could still do, as it found by trying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// It can read another process of the yard's user: its descriptors, its memory.
    pub reads_processes: bool,
    /// It can send signals to one.
    pub sends_signals: bool,
    /// It can write to the yard's folder.
    pub writes_files: bool,
    /// What it must reach and cannot.
    pub misses: Vec<PathBuf>,
}

impl Trial {
    /// Nothing that a prover writes can be taken for its verifier's word.
    pub fn holds(&self) -> bool {
        !self.reads_processes && !self.writes_files
    }

    /// Tries it, in this process: against the yard, in its folder.
    pub(crate) fn of_this_process(yard: &str, folder: &Path, needed: &[PathBuf]) -> Trial {
        // In namespaces another process may have the same number.
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
            // A folder is one to enter; of a file, its reader says more than its mode.
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
