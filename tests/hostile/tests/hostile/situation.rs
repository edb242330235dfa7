//! Where a yard runs: as whom, and with what to isolate its provers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::yard::reachable_program;

/// Nobody's, and no user of provers or verifiers.
const PLAIN_USER: u32 = 48_321;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Root, which gives provers and verifiers users of their own by itself.
    RootWithUsers,
    /// Root, where those users cannot reach the yard's folder; so it takes Landlock.
    RootInAClosedFolder,
    /// A plain user: what the kernel offers is taken.
    PlainUser,
    /// A plain user, as where the kernel has no Landlock.
    PlainUserInNamespaces,
    /// Nothing isolates.
    Neither,
}

pub use Situation::{Neither, PlainUser, PlainUserInNamespaces, RootInAClosedFolder, RootWithUsers};

/// Those in which a prover is to reach nothing.
pub const ISOLATED: [Situation; 4] = [RootWithUsers, RootInAClosedFolder, PlainUser, PlainUserInNamespaces];

impl Situation {
    /// Why it cannot be played on this machine.
    pub fn is_missing(self) -> Option<&'static str> {
        let is_root = rustix::process::geteuid().is_root();
        match self {
            RootWithUsers | RootInAClosedFolder if !is_root => Some("this is not root"),
            PlainUser | PlainUserInNamespaces if is_root && !has("setpriv") => {
                Some("there is no setpriv to become a plain user with")
            }
            PlainUser | RootInAClosedFolder if !has_landlock() => Some("this kernel has no Landlock"),
            PlainUser | PlainUserInNamespaces if !self.reaches_the_program() => {
                Some("a plain user does not reach the program, nor a link to it")
            }
            PlainUserInNamespaces if !self.has_namespaces() => {
                Some("a plain user may not make namespaces here")
            }
            _ => None,
        }
    }

    fn is_plain(self) -> bool {
        matches!(self, PlainUser | PlainUserInNamespaces)
    }

    fn reaches_the_program(self) -> bool {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let asked = self.command(&reachable_program(folder.path())).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    }

    fn has_namespaces(self) -> bool {
        let mut command = self.command(Path::new("unshare"));
        command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// Prepares the folder of a yard to come.
    pub fn prepare(self, folder: &Path) {
        let mode = if self == RootInAClosedFolder { 0o700 } else { 0o755 };
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        if self.is_plain() && rustix::process::geteuid().is_root() {
            chown(folder, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
        }
    }

    /// A command that runs as whoever runs the yard.
    pub fn command(self, program: &Path) -> Command {
        if !self.is_plain() || !rustix::process::geteuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let user = PLAIN_USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
        command.env("HOME", "/nonexistent");
        command
    }

    /// Further arguments of `run`.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Neither => &["--isolation", "none"],
            PlainUserInNamespaces => &["--isolation", "namespaces"],
            _ => &[],
        }
    }

    /// How what is in force begins, as `status` says it.
    pub fn isolation(self) -> &'static str {
        match self {
            RootWithUsers => "users (provers from 50000, verifiers from 55000)",
            RootInAClosedFolder | PlainUser => "landlock",
            PlainUserInNamespaces => "namespaces",
            Neither => "none",
        }
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The yard tries it too; a test that is told nothing must not pass for it.
fn has_landlock() -> bool {
    let offered = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if !offered.is_empty() {
        return offered.split(',').any(|module| module.trim() == "landlock");
    }
    let asks = "import ctypes,sys; sys.exit(ctypes.CDLL(None).syscall(444, 0, 0, 1) < 1)";
    Command::new("python3").args(["-c", asks]).status().is_ok_and(|status| status.success())
}
