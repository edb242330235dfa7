//! The faults that the toy can have.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use proofyard_prover::{Failure, FailureKind};
use rustix::process::{Signal, getpid, kill_process};
use sha2::{Digest, Sha256};

use crate::options::Options;

pub struct Faults {
    options: Options,
    /// The original stdout: while the toy serves, the protocol's loop has replaced file descriptor 1.
    stdout: File,
    /// The memory that `--memory` uses.
    hoard: Vec<u8>,
}

/// Faults that show in the proof.
#[derive(Default)]
pub struct Strike {
    pub wrong_values: bool,
    pub false_proof: bool,
    pub empty_proof: bool,
    _holds: Holds,
}

/// Files that are removed when the work is done.
#[derive(Default)]
struct Holds {
    files: Vec<PathBuf>,
    _lock: Option<File>,
}

impl Drop for Holds {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Faults {
    pub fn new(options: Options) -> io::Result<Faults> {
        let stdout = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        Ok(Faults { options, stdout, hoard: Vec::new() })
    }

    /// Commits the faults that the options ask for, if they apply to this request.
    pub fn strike(
        &mut self,
        verb: &str,
        task: &str,
        attempt: u32,
        output_dir: Option<&Path>,
    ) -> Result<Strike, Failure> {
        let here = self.options.verb.as_deref().unwrap_or("prove") == verb;
        let this_one = self.options.only.as_deref().is_none_or(|only| task.contains(only));
        if !here || !this_one || !self.any(task, attempt) || !self.times_left()? {
            return Ok(Strike::default());
        }
        eprintln!("toy prover: a fault is due");
        if self.fails(task, attempt) {
            let kind = if self.options.permanent { FailureKind::Permanent } else { FailureKind::Transient };
            return Err(Failure { kind, message: "the toy was told to fail".into() });
        }
        if self.is_down() {
            return Err(Failure::unavailable("the toy is down"));
        }
        self.use_up(output_dir)?;
        let holds = self.leave()?;
        self.end()?;
        let one = &self.options;
        let (wrong_values, false_proof) = (one.claim_wrong_values, one.false_proof);
        Ok(Strike { wrong_values, false_proof, empty_proof: one.empty_proof, _holds: holds })
    }

    /// Leaves files outside of the output folder; some of them only while it works, or for good if it is killed then.
    fn leave(&self) -> Result<Holds, Failure> {
        let mut holds = Holds::default();
        if self.options.litter {
            std::fs::write("toy-litter", "")?;
        }
        if self.options.temporary {
            let path = std::env::temp_dir().join(format!("toy-{}", getpid()));
            std::fs::write(&path, "")?;
            holds.files.push(path);
        }
        if let Some(path) = &self.options.alone {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            file.try_lock().map_err(|_| Failure::transient("another toy is at work"))?;
            holds._lock = Some(file);
        }
        if let Some(path) = &self.options.stale_lock {
            let owner = std::fs::read_to_string(path).unwrap_or_default();
            if !owner.is_empty() && !Path::new("/proc").join(&owner).exists() {
                return Err(Failure::transient(format!("process {owner} holds the lock")));
            }
            std::fs::write(path, getpid().to_string())?;
            holds.files.push(path.clone());
        }
        Ok(holds)
    }

    fn any(&self, task: &str, attempt: u32) -> bool {
        let one = &self.options;
        let ends = one.exit_code.is_some() || one.die_by_signal || one.hang || one.rubbish;
        let uses = one.huge_output.is_some() || one.memory.is_some() || one.fork_children;
        let lies = one.claim_wrong_values || one.false_proof || one.empty_proof || self.is_down();
        let leaves = one.litter || one.temporary || one.stale_lock.is_some() || one.alone.is_some();
        ends || uses || lies || leaves || self.fails(task, attempt)
    }

    fn is_down(&self) -> bool {
        self.options.down.as_deref().is_some_and(Path::exists)
    }

    fn fails(&self, task: &str, attempt: u32) -> bool {
        let digest = Sha256::digest(format!("{task} {attempt}"));
        let draw = f64::from(u16::from_le_bytes([digest[0], digest[1]])) / 65536.0;
        let at = self.options.fail_at.as_deref().is_some_and(|text| task.contains(text));
        self.options.fail || at || draw < self.options.fail_rate
    }

    /// Counts in a file, under a lock, since the prover may be started anew for each task.
    fn times_left(&self) -> io::Result<bool> {
        let (Some(times), Some(path)) = (self.options.times, &self.options.state) else { return Ok(true) };
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let done: u64 = text.trim().parse().unwrap_or(0);
        if done >= times {
            return Ok(false);
        }
        file.rewind()?;
        write!(file, "{}", done + 1)?;
        Ok(true)
    }

    fn use_up(&mut self, output_dir: Option<&Path>) -> io::Result<()> {
        if let (Some(bytes), Some(folder)) = (self.options.huge_output, output_dir) {
            write_huge(&folder.join("huge"), bytes)?;
        }
        if let Some(bytes) = self.options.memory {
            // Pages count only once they are written to.
            self.hoard = vec![1; bytes];
            eprintln!("toy prover: uses {} bytes of memory", self.hoard.len());
        }
        if self.options.fork_children {
            leave_children()?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.options.rubbish {
            self.stdout.write_all(b"rubbish, not JSON\n")?;
        }
        if self.options.die_by_signal {
            kill_process(getpid(), Signal::ABORT)?;
        }
        if let Some(code) = self.options.exit_code {
            std::process::exit(code);
        }
        if self.options.hang {
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }
        Ok(())
    }
}

/// Not faster than a disk, so that it can be stopped in the middle.
fn write_huge(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let chunk = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len() as u64);
        file.write_all(&chunk[..usize::try_from(now).unwrap_or(chunk.len())])?;
        left -= now;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// One child, one orphan in a session of its own, one orphan of an orphan. They hold on to our stderr, so a runner
/// that waits for its end would wait for them.
fn leave_children() -> io::Result<()> {
    let script = "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' & ) ; sleep 1000 & exit 0";
    let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn()?;
    shell.wait()?;
    eprintln!("toy prover: has left children");
    Ok(())
}
