//! A load: how blocks come, what each consists of, and who works on it.

use std::time::Duration;

use crate::BenchError;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Load {
    pub arrival: Arrival,
    pub blocks: u64,
    /// Of each block; from 2 on they are joined by one more task.
    pub segments: u32,
    pub workers: u32,
    pub prove: Duration,
    /// The prover's command, which answers as [`crate::SleepingProver`] does.
    pub prover: Vec<String>,
}

/// How blocks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// So many tasks a second, whether or not they are taken: a block that is late is measured from when it was due.
    Open { tasks_a_second: u32 },
    /// All are there when the workers start.
    Closed,
}

/// The load's only chain.
pub(crate) const CHAIN: &str = "bench";

impl Load {
    /// Of a block of so many segments.
    pub fn tasks_a_block(segments: u32) -> u64 {
        match segments {
            0 | 1 => 1,
            segments => u64::from(segments) + 1,
        }
    }

    pub fn tasks(&self) -> u64 {
        self.blocks * Self::tasks_a_block(self.segments)
    }

    /// Between two blocks.
    pub(crate) fn pause(&self) -> Duration {
        match self.arrival {
            Arrival::Open { tasks_a_second } => {
                Duration::from_secs(1) * Self::tasks_a_block(self.segments) as u32 / tasks_a_second.max(1)
            }
            Arrival::Closed => Duration::ZERO,
        }
    }

    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let least = |what: &str, is: u64| match is {
            0 => Err(BenchError::Load(format!("{what} must be at least 1"))),
            _ => Ok(()),
        };
        least("the number of blocks", self.blocks)?;
        least("the number of segments", self.segments.into())?;
        least("the number of workers", self.workers.into())
    }

    pub(crate) fn pipeline(&self) -> Result<String, BenchError> {
        let unwritable = |error: serde_json::Error| BenchError::Load(error.to_string());
        // A list of JSON's strings is one of TOML's.
        let command = serde_json::to_string(&self.prover).map_err(unwritable)?;
        let stages = match self.segments {
            1 => "[stage.task]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"sleep\"\npool = \"cpu\"\n",
            _ => {
                "[stage.segment]\nstrategy = \"split\"\nfrom = \"block\"\nprover = \"sleep\"\npool = \"cpu\"\n\n\
                 [stage.join]\nstrategy = \"match\"\nfrom = \"segment\"\nprover = \"sleep\"\npool = \"cpu\"\n"
            }
        };
        Ok(format!(
            "[chain]\nname = \"{CHAIN}\"\nstart_height = 1\nwindow = 1000000\n\n{stages}\n\
             [prover.sleep]\ncommand = {command}\n\n[pool.cpu]\nslots = {}\n",
            self.workers
        ))
    }
}
