//! A `proofyard run` process, and the programs under test.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{PATIENCE, wait_for};

/// Where the programs under test are, if they are built already; else they are built first.
const PROGRAMS: &str = "PROOFYARD_PROGRAMS";

/// A program under test, built from these very sources.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(programs).join(name)
}

fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        return PathBuf::from(folder);
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // A test's own CARGO_ variables would have build scripts run again, and all that depends on them built again.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            build.env_remove(name);
        }
    }
    // As everything else is built, so that nothing is built twice.
    build.args([
        "build",
        "--quiet",
        "--release",
        "--workspace",
        "--exclude",
        "proofyard-simulation",
        "--bins",
    ]);
    assert!(build.status().unwrap().success(), "the programs under test do not build");
    // This test is target/release/deps/NAME.
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// How a yard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Killed,
}

/// A started yard; killed when dropped.
pub struct RunningYard {
    child: Child,
    log: PathBuf,
}

impl RunningYard {
    /// Starts it; what it says goes to the end of `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ended(&mut self) -> Option<Ended> {
        self.child.try_wait().unwrap().map(|status| self.explain(status))
    }

    /// Waits for its own end.
    pub fn wait(&mut self) -> Ended {
        wait_for("the yard's end", || self.ended())
    }

    /// Kills it after so long, if it has not ended by then.
    pub fn kill_after(&mut self, time: Duration) -> Ended {
        let until = Instant::now() + time.min(PATIENCE);
        while Instant::now() < until {
            if let Some(ended) = self.ended() {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill()
    }

    pub fn kill(&mut self) -> Ended {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.explain(status)
    }

    fn explain(&self, status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(9)) => Ended::Killed,
            _ => {
                panic!("the yard ended by itself with {status}:\n{}", fs::read_to_string(&self.log).unwrap())
            }
        }
    }
}

impl Drop for RunningYard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
