//! The servers' programs: where they are found, on whose account they run, and that none is left behind.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_bench::{BenchError, cpu_of_process};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::BaselineError;

/// Where Debian has servers, and versions of PostgreSQL.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];
const POSTGRESQL_VERSIONS: &str = "/usr/lib/postgresql";

/// Until a server answers, also on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Until one that was asked to ends.
const END_LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// Lines of its log that tell why a server does not run.
const LOG_LINES: usize = 3;

/// Where servers are looked for.
#[derive(Clone, Debug)]
pub struct Programs {
    folders: Vec<PathBuf>,
}

impl Programs {
    /// In `PATH`, and where Debian has them.
    pub fn of_this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(SYSTEM_FOLDERS.map(PathBuf::from));
        let versions = fs::read_dir(POSTGRESQL_VERSIONS).into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
        Self { folders }
    }

    pub fn only_in(folder: PathBuf) -> Self {
        Self { folders: vec![folder] }
    }

    /// `package`: Debian's, which has it.
    pub(crate) fn find(&self, program: &str, package: &str) -> Result<PathBuf, BaselineError> {
        let mut places = self.folders.iter().map(|folder| folder.join(program));
        places.find(|place| place.is_file()).ok_or_else(|| {
            let how = format!("{program} is not installed; `apt-get install {package}` installs it");
            BaselineError::LeftOut(how)
        })
    }
}

/// What a program prints for its version, or for whatever else it is asked.
pub(crate) fn said(program: &Path, arguments: &[&str]) -> Result<String, BaselineError> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(BaselineError::io("a server's program cannot be run"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// A port of the loopback interface that was free just now.
pub(crate) fn free_port() -> Result<u16, BaselineError> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(bound.map_err(BaselineError::io("no port of the loopback interface is free"))?.port())
}

/// Nobody else on this machine is to get in.
pub(crate) fn password() -> Result<String, BaselineError> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(BaselineError::io("a password cannot be made"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file that only this account can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), BaselineError> {
    let written = File::create(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .and_then(|()| fs::write(path, text));
    written.map_err(BaselineError::io("a server's file cannot be written"))
}

/// Another account than root's, for a server that does not run as root.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// None is needed where this program is not root's.
    pub fn instead_of_root(program: &str, names: &[&str]) -> Result<Option<Self>, BaselineError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = names.iter().find_map(|name| accounts.lines().find_map(|line| Self::of(line, name)));
        found.map(Some).ok_or_else(|| {
            let names = names.join(" or ");
            BaselineError::LeftOut(format!("{program} does not run as root, and there is no account {names}"))
        })
    }

    /// Of a line of passwd(5): name, password, user, group.
    fn of(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name: name.to_owned(), uid, gid })
    }

    /// Gives it a folder, if it can get there.
    pub fn own(&self, folder: &Path) -> Result<(), BaselineError> {
        let given = chown(folder, Some(self.uid), Some(self.gid));
        given.map_err(BaselineError::io("the server's folder cannot be given to its account"))?;
        let path = fs::canonicalize(folder).map_err(BaselineError::io("the server's folder is not there"))?;
        for above in path.ancestors().skip(1) {
            let may_pass = fs::metadata(above).is_ok_and(|is| is.mode() & 0o001 != 0 || is.uid() == self.uid);
            if !may_pass {
                let (name, above) = (&self.name, above.display());
                let why = format!("its account {name} cannot enter {above}; name another folder with --dir");
                return Err(BaselineError::LeftOut(why));
            }
        }
        Ok(())
    }

    pub fn runs(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A running server. It is stopped when this is dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// What has it end in order, without waiting for its clients.
    stop: Signal,
    log: PathBuf,
}

impl Process {
    /// Its output goes to a log in the folder. `stop`: its signal, and that signal's name.
    pub fn start(
        name: &'static str,
        program: &Path,
        folder: &Path,
        stop: (Signal, &str),
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, BaselineError> {
        let log = folder.join("log");
        let file = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = file.map_err(BaselineError::io("a server's log cannot be made"))?;
        let mut command = dying_with_this(stop.1, program);
        prepare(&mut command);
        // A group of its own: what is typed at a terminal is for this program, which then stops it.
        command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(BaselineError::io("a server cannot be started"))?;
        Ok(Self { name, child, stop: stop.0, log })
    }

    /// Asks again and again until the server answers.
    pub fn wait_until<T>(
        &mut self,
        stop: &dyn Fn() -> bool,
        mut ask: impl FnMut() -> Result<T, BaselineError>,
    ) -> Result<T, BaselineError> {
        let began = Instant::now();
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if stop() {
                return Err(BenchError::Interrupted.into());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let (program, said) = (self.name, last_lines(&self.log));
                return Err(BaselineError::Server { program, what: format!("ended ({status}): {said}") });
            }
            if began.elapsed() > START_LIMIT {
                return Err(error);
            }
            thread::sleep(LOOK);
        }
    }

    /// Processor time of it and of its children that have ended.
    pub fn cpu(&self) -> Duration {
        cpu_of_process(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _ = kill_process(pid, self.stop);
        }
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < END_LIMIT {
            thread::sleep(LOOK);
        }
        // Does nothing to one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that gets a signal should this one be killed, where util-linux's setpriv is there to ask for that.
fn dying_with_this(signal: &str, program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_its_line() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        let account = Account::of(line, "postgres").map(|account| (account.uid, account.gid));
        assert_eq!(account, Some((101, 104)));
        assert!(Account::of(line, "nobody").is_none() && Account::of("postgres:x", "postgres").is_none());
    }
}
