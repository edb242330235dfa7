//! A load: how blocks come, what each consists of, and who works on it.

use std::fmt::{Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::pipeline::MAX_WINDOW;
use serde::{Deserialize, Serialize};

use crate::{BenchError, Taken};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub prover: ProverKind,
    /// Tasks a second that come, whether or not they are taken: a block that is late is measured from when it was due. With 0
    /// all are there when the workers start.
    pub rate: u32,
    pub workers: u32,
    pub prove_ms: u64,
    pub blocks: u64,
    /// Of each block; from 2 on they are joined by one more task.
    pub segments: u32,
    /// Blocks that were committed before; they are not measured.
    pub committed: u64,
    /// Blocks that are open, their tasks listed behind those that are measured, and stay so.
    pub open: u64,
}

/// How the prover runs, and so what a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProverKind {
    /// A process that stays, another one that verifies, and an artifact that is synced.
    Stream,
    /// The same, with two processes started for each task.
    Files,
    /// A sleep of the worker's own thread: no process, no verifier, no artifact.
    InProcess,
}

/// How the sleeping prover is started.
#[derive(Clone, Debug)]
pub struct Commands {
    pub prove: Vec<String>,
    pub verify: Vec<String>,
}

/// The stage that joins a block's segments.
pub(crate) const JOIN: &str = "join";

impl Display for ProverKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Files => "files",
            Self::InProcess => "in-process",
        })
    }
}

impl ProverKind {
    pub fn task_has(self) -> &'static str {
        match self {
            Self::Stream => "a verifier and a synced artifact",
            Self::Files => "two processes of its own, one that verifies, and a synced artifact",
            Self::InProcess => "no verifier and no artifact",
        }
    }
}

impl Load {
    /// What other systems than a yard can be given: tasks that have no more than a sleep, and nothing before them.
    pub fn in_process(rate: u32, workers: u32, prove_ms: u64, tasks: u64, segments: u32) -> Self {
        Self {
            prover: ProverKind::InProcess,
            rate,
            workers,
            prove_ms,
            blocks: Self::blocks_of(tasks, segments),
            segments,
            committed: 0,
            open: 0,
        }
    }

    /// Of a block of so many segments.
    pub fn tasks_a_block(segments: u32) -> u64 {
        match segments {
            0 | 1 => 1,
            segments => u64::from(segments) + 1,
        }
    }

    /// Of so many segments each, for so many tasks at least.
    pub fn blocks_of(tasks: u64, segments: u32) -> u64 {
        tasks.div_ceil(Self::tasks_a_block(segments))
    }

    pub fn tasks(&self) -> u64 {
        self.blocks * Self::tasks_a_block(self.segments)
    }

    /// Whether all blocks are there when the workers start.
    pub fn is_closed(&self) -> bool {
        self.rate == 0
    }

    pub fn prove(&self) -> Duration {
        Duration::from_millis(self.prove_ms)
    }

    /// The proving that no number of free workers could do side by side: as many segments in turn as a worker gets of a block,
    /// and the join.
    pub fn critical_path(&self) -> Duration {
        let turns = self.segments.div_ceil(self.workers.max(1));
        self.prove() * (turns + u32::from(self.segments > 1))
    }

    /// Between two blocks.
    fn pause(&self) -> Duration {
        match self.rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(1) * Self::tasks_a_block(self.segments) as u32 / rate,
        }
    }

    /// The heights that are measured.
    pub(crate) fn heights(&self) -> std::ops::RangeInclusive<u64> {
        self.committed + 1..=self.committed + self.blocks
    }

    /// Has each block that is measured taken in when it is due. `stop` is asked before each whether to give up.
    pub fn feed<E: From<BenchError>>(
        &self,
        stop: &dyn Fn() -> bool,
        mut take: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Vec<Taken>, E> {
        let (began, mut taken) = (Instant::now(), Vec::new());
        for (number, height) in (1_u32..).zip(self.heights()) {
            if stop() {
                return Err(BenchError::Interrupted.into());
            }
            let due = began + self.pause() * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let came = if self.is_closed() { Instant::now() } else { due };
            take(height)?;
            taken.push(Taken { came, acknowledged: Instant::now() });
        }
        Ok(taken)
    }

    pub fn check(&self) -> Result<(), BenchError> {
        let least = |what: &str, is: u64| match is {
            0 => Err(BenchError::Load(format!("{what} must be at least 1"))),
            _ => Ok(()),
        };
        least("the number of blocks", self.blocks)?;
        least("the number of segments", self.segments.into())?;
        least("the number of workers", self.workers.into())?;
        if self.open > 0 && !self.is_closed() {
            let rate = self.rate;
            return Err(BenchError::Load(format!(
                "behind open blocks no worker ever waits, so that {rate} tasks a second cannot come: take a rate of 0"
            )));
        }
        if self.blocks + self.open > MAX_WINDOW {
            return Err(BenchError::Load(format!("at most {MAX_WINDOW} blocks can be open at once")));
        }
        Ok(())
    }

    /// The pipeline in which this prover works.
    pub(crate) fn pipeline(&self, prover: ProverKind, commands: &Commands) -> Result<String, BenchError> {
        // A list of JSON's strings is one of TOML's.
        let list = |command: &[String]| {
            serde_json::to_string(command).map_err(|error| BenchError::Load(error.to_string()))
        };
        let prover = match prover {
            ProverKind::Stream => format!("command = {}", list(&commands.prove)?),
            ProverKind::Files => format!(
                "command = {}\nprotocol = \"files\"\npayload = \"request\"\nverify = {}",
                list(&commands.prove)?,
                list(&commands.verify)?
            ),
            ProverKind::InProcess => "command = [\"in-process\"]\nverify = \"none\"".to_owned(),
        };
        let stages = match self.segments {
            1 => "[stage.task]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"sleep\"\npool = \"cpu\"\n",
            _ => {
                "[stage.segment]\nstrategy = \"split\"\nfrom = \"block\"\nprover = \"sleep\"\npool = \"cpu\"\n\n\
                 [stage.join]\nstrategy = \"match\"\nfrom = \"segment\"\nprover = \"sleep\"\npool = \"cpu\"\n"
            }
        };
        Ok(format!(
            "[chain]\nname = \"bench\"\nstart_height = 1\nwindow = {MAX_WINDOW}\n\n{stages}\n\
             [prover.sleep]\n{prover}\n\n[pool.cpu]\nslots = {}\n",
            self.workers
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(segments: u32, workers: u32) -> Load {
        let prover = ProverKind::Stream;
        Load { prover, rate: 0, workers, prove_ms: 10, blocks: 1, segments, committed: 0, open: 0 }
    }

    #[test]
    fn the_critical_path_is_what_more_workers_could_not_shorten_or_these_cannot() {
        let path = |segments, workers| load(segments, workers).critical_path().as_millis();
        assert_eq!([path(1, 4), path(16, 16), path(16, 100), path(16, 5)], [10, 20, 20, 50]);
    }

    #[test]
    fn a_load_that_cannot_be_is_refused() {
        assert!(Load { open: 5, ..load(1, 1) }.check().is_ok());
        for (bad, why) in [
            (Load { open: 5, rate: 10, ..load(1, 1) }, "take a rate of 0"),
            (Load { open: MAX_WINDOW, ..load(1, 1) }, "can be open at once"),
            (Load { blocks: 0, ..load(1, 1) }, "at least 1"),
        ] {
            assert!(bad.check().is_err_and(|error| error.to_string().contains(why)), "{why}");
        }
    }
}
