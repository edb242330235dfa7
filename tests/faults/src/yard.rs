//! A `proofyard run` process, and the programs under test.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use proofyard_programs::programs;

use crate::{PATIENCE, wait_for};

/// A program under test.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
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
