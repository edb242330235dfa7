//! `proofyard run PIPELINE --blocks FILE`: proves a file's blocks to the end; started again, it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use proofyard_embedded::machine::check_blocks;

use super::{guard, read_pipeline};
use crate::ending::tell;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::proving::{Job, prove};
use crate::signals::Signals;
use crate::yard::{DEFAULT_DATA, data_flag};

/// Proves a file's blocks to the end. Started again after any crash, it goes on where it was.
#[derive(Args)]
pub struct Run {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Recorded blocks, one a line.
    #[arg(long, value_name = "FILE")]
    blocks: PathBuf,
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

impl Run {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let (text, checked) = read_pipeline(&self.pipeline)?;
        let input =
            check_blocks(&self.blocks, checked.pipeline.chain.start_height).map_err(Failure::usage)?;
        let progress = Arc::new(Progress::new(json, input.tip_height));
        let name = self.pipeline.display().to_string();
        for warning in &checked.warnings {
            progress.note(&format!("warning: {}", warning.display(&name)));
        }
        let signals = Signals::listen()?;
        let job = Job {
            text: &text,
            pipeline: &checked.pipeline,
            sink_base: self.pipeline.parent().unwrap_or(Path::new("")),
            blocks: &self.blocks,
            lines: input.lines,
            data: &self.data,
            guard: &guard()?,
        };
        let ended = prove(&job, &progress, &signals)?;
        tell(ended, &progress, &self.again(), &self.data)
    }

    fn again(&self) -> String {
        let (pipeline, blocks) = (self.pipeline.display(), self.blocks.display());
        format!("proofyard run {pipeline} --blocks {blocks}{}", data_flag(&self.data))
    }
}
