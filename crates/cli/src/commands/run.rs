//! `proofyard run PIPELINE --blocks FILE`: proves a file's blocks to the end; started again, it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use proofyard_blocks::Summary;
use proofyard_core::pipeline::{Checked, MAX_MS};
use proofyard_embedded::machine::check_blocks;

use super::{guard, read_pipeline};
use crate::ending::tell;
use crate::failure::Failure;
use crate::isolation::IsolationArguments;
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
    #[arg(long, value_name = "FILE", required_unless_present = "aws")]
    pub blocks: Option<PathBuf>,
    /// Takes a line of the file each so many milliseconds, as a chain with slots would bring them; all at once otherwise.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_MS))]
    slot_ms: u64,
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// A yard on AWS, by its name: the pipeline is put in force there, and the blocks, if any, are posted and followed.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["data", "slot_ms"])]
    pub aws: Option<String>,
    #[command(flatten)]
    isolation: IsolationArguments,
}

/// What a run begins with, wherever the yard is: files that were read and found sound, and who is told and asked meanwhile.
pub struct Begun {
    pub text: String,
    pub checked: Checked,
    input: Option<Summary>,
    pub progress: Arc<Progress>,
    pub signals: Signals,
}

impl Run {
    pub fn begin(&self, json: bool) -> Result<Begun, Failure> {
        let (text, checked) = read_pipeline(&self.pipeline)?;
        let start_height = checked.pipeline.chain.start_height;
        let input = match &self.blocks {
            Some(blocks) => Some(check_blocks(blocks, start_height).map_err(Failure::usage)?),
            None => None,
        };
        let progress = Arc::new(Progress::new(json, input.as_ref().map_or(0, |input| input.tip_height)));
        let name = self.pipeline.display().to_string();
        for warning in &checked.warnings {
            progress.note(&format!("warning: {}", warning.display(&name)));
        }
        Ok(Begun { text, checked, input, progress, signals: Signals::listen()? })
    }

    /// In a directory of this machine.
    pub fn here(&self, json: bool) -> Result<(), Failure> {
        let Begun { text, checked, input, progress, signals } = self.begin(json)?;
        let (Some(blocks), Some(input)) = (&self.blocks, input) else {
            return Err(Failure::Usage("name the blocks with --blocks".to_owned()));
        };
        let job = Job {
            text: &text,
            pipeline: &checked.pipeline,
            sink_base: self.pipeline.parent().unwrap_or(Path::new("")),
            blocks,
            lines: input.lines,
            slot: Duration::from_millis(self.slot_ms),
            data: &self.data,
            guard: &guard()?,
            isolation: self.isolation.wanted().map_err(Failure::usage)?,
        };
        let ended = prove(&job, &progress, &signals)?;
        tell(ended, &progress, &self.again(blocks), &self.data)
    }

    fn again(&self, blocks: &Path) -> String {
        let (pipeline, blocks) = (self.pipeline.display(), blocks.display());
        let slot = if self.slot_ms == 0 { String::new() } else { format!(" --slot-ms {}", self.slot_ms) };
        format!("proofyard run {pipeline} --blocks {blocks}{slot}{}", data_flag(&self.data))
    }
}
