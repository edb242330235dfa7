//! `proofyard run PIPELINE --blocks FILE`: proves a file's blocks to the end; started again, it goes on.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use proofyard_core::Pipeline;
use proofyard_embedded::block_on;
use proofyard_embedded::machine::{Machine, check_blocks};

use super::{guard, read_pipeline};
use crate::failure::Failure;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Proves a file's blocks to the end. Started again after any crash, it goes on where it was.
#[derive(Args)]
pub struct Run {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Recorded blocks, one a line.
    #[arg(long, value_name = "FILE")]
    blocks: PathBuf,
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = "proofyard.data")]
    data: PathBuf,
}

impl Run {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let _ = json;
        let (text, checked) = read_pipeline(&self.pipeline)?;
        check_blocks(&self.blocks).map_err(Failure::usage)?;
        let mut machine =
            Machine::open(&self.data, true, |trouble| eprintln!("{trouble}")).map_err(Failure::usage)?;
        block_on(machine.yard().record_pipeline(&text)).map_err(Failure::usage)?;
        let base = self.pipeline.parent().unwrap_or(Path::new(""));
        machine.start(std::slice::from_ref(&checked.pipeline), &guard()?, base).map_err(Failure::work)?;
        let feeder = machine.feed(&checked.pipeline.chain.name, &self.blocks).map_err(Failure::work)?;
        let fed = feeder.join().map_err(|_| Failure::work("the feeder panicked"))?;
        fed.map_err(Failure::usage)?;
        wait(&machine, &checked.pipeline)?;
        machine.stop().map_err(Failure::work)
    }
}

fn wait(machine: &Machine, pipeline: &Pipeline) -> Result<(), Failure> {
    let chain = &pipeline.chain.name;
    let mut last = 0;
    loop {
        let frontier = block_on(machine.yard().frontier(chain)).map_err(Failure::work)?;
        let tip = block_on(machine.yard().tip(chain)).map_err(Failure::work)?;
        if frontier.height != last {
            println!("frontier {} tip {:?}", frontier.height, tip.height());
            last = frontier.height;
        }
        if tip.height().is_some_and(|tip| frontier.height > tip) {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}
