//! `proofyard run PIPELINE [--blocks FILE]`: proves a file's blocks to the end, or those of the node that the pipeline names,
//! until it is stopped; started again, it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use proofyard_blocks::{Rules, Summary};
use proofyard_core::error::Code;
use proofyard_core::pipeline::{Checked, Header, MAX_MS};
use proofyard_embedded::machine::{Feed, FeedError, LocalIntake, check_blocks, check_goes_on, look};

use super::{guard, read_pipeline};
use crate::failure::Failure;
use crate::isolation::IsolationArguments;
use crate::progress::Progress;
use crate::proving::{Input, Job, prove};
use crate::run_outcome::report_outcome;
use crate::signals::Signals;
use crate::yard::{DEFAULT_DATA, data_flag};

/// What becomes of a cut that the file's last block leaves short.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileEnd {
    /// It closes and is proved: all of the file is proved once the run ends.
    Close,
    /// It waits for a file that grew, or for the next file.
    Keep,
}

/// Proves a file's blocks to the end, or follows the node that the pipeline names. Started again after any crash, it goes on
/// where it was; so it does with a file that grew, or with the next one.
#[derive(Args)]
pub struct Run {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Blocks, one a line: a node's answers, or recorded with what provers need. It may be the file of the last run, which
    /// may have grown, or the one that goes on from there. Left out where the pipeline
    /// names a node to follow, or a consensus client.
    #[arg(long, value_name = "FILE")]
    pub blocks: Option<PathBuf>,
    /// Takes a line of the file each so many milliseconds, as a chain with slots would bring them; all at once otherwise.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_MS))]
    slot_ms: u64,
    /// Whether the file's end closes a last cut that is short of blocks. A cut once closed gets no more.
    #[arg(long, value_enum, default_value_t = FileEnd::Close)]
    pub end: FileEnd,
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// The edited pipeline takes this sink away from a log, which it need not have got all of. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub give_up_sink: Vec<String>,
    /// A yard on AWS, by its name: the pipeline is put in force there, and the blocks, if any, are posted and followed.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["data", "slot_ms"])]
    pub aws: Option<String>,
    /// Workers of this pool are started by somebody, with `proofyard worker`: nobody asks whether AWS Batch has them. May be
    /// given several times.
    #[arg(long, value_name = "POOL", requires = "aws")]
    pub own_workers: Vec<String>,
    #[command(flatten)]
    isolation: IsolationArguments,
}

/// What a run begins with, wherever the yard is: files that were read and found sound, and who is notified and asked meanwhile.
pub struct Begun {
    pub text: String,
    pub checked: Checked,
    pub rules: Rules,
    pub input: Option<Summary>,
    pub progress: Arc<Progress>,
    pub signals: Signals,
}

impl Run {
    pub fn begin(&self, json: bool) -> Result<Begun, Failure> {
        let (text, checked) = read_pipeline(&self.pipeline)?;
        let rules = Rules::of(&checked.pipeline);
        let input = match &self.blocks {
            Some(blocks) => Some(check_blocks(blocks, &rules).map_err(Failure::usage)?),
            None => None,
        };
        let progress = Arc::new(Progress::new(json, input.as_ref().map_or(0, |input| input.tip_height)));
        let name = self.pipeline.display().to_string();
        for warning in &checked.warnings {
            progress.note(&format!("warning: {}", warning.display(&name)));
        }
        if let Some(input) = input.as_ref().filter(|_| rules.header == Header::Trusted) {
            let fields = match input.not_understood.as_slice() {
                [] => "none of its fields is unknown here".to_owned(),
                fields => format!("not understood of its fields: {}", fields.join(", ")),
            };
            progress.note(&format!("block {}'s hash is taken as it is said; {fields}", input.first_height));
        }
        Ok(Begun { text, checked, rules, input, progress, signals: Signals::listen()? })
    }

    /// Whether the blocks are those of a node, or of a consensus client, that the pipeline names. A pipeline that cannot be read is no one's: reading it
    /// says why.
    pub fn follows_a_node(&self) -> bool {
        self.blocks.is_none()
            && read_pipeline(&self.pipeline).is_ok_and(|(_, checked)| {
                checked.pipeline.node.is_some() || checked.pipeline.engine.is_some()
            })
    }

    /// In a directory of this machine, from a file.
    pub fn here(&self, json: bool) -> Result<(), Failure> {
        let begun = self.begin(json)?;
        let (Some(blocks), Some(input)) = (&self.blocks, &begun.input) else {
            let message = "name the blocks with --blocks, or in the pipeline the node to follow, in [source.node], or the consensus \
                 client, in [source.engine]";
            return Err(Failure::usage_as(Code::BadArguments, message));
        };
        // Before anything is recorded; where there is no yard that can be looked at, starting says why.
        let (chain, rules) = (&begun.checked.pipeline.chain, &begun.rules);
        let yard = look(&self.data).ok();
        check_goes_on(yard.as_ref(), blocks, input, chain, rules).map_err(Failure::usage)?;
        drop(yard);
        let feed = Feed {
            path: blocks.clone(),
            rules: begun.rules.clone(),
            lines: input.lines,
            slot: Duration::from_millis(self.slot_ms),
            ends: self.end == FileEnd::Close,
        };
        self.prove(&begun, Input::File(feed), &self.again(blocks))
    }

    /// In a directory of this machine, from a source that brings facts until it is stopped.
    pub fn from_source(
        &self,
        begun: &Begun,
        source: impl FnOnce(&LocalIntake) -> Result<(), FeedError> + Send + 'static,
    ) -> Result<(), Failure> {
        let again = format!("proofyard run {}{}", self.pipeline.display(), data_flag(&self.data));
        self.prove(begun, Input::Source(Box::new(source)), &again)
    }

    fn prove(&self, begun: &Begun, input: Input, again: &str) -> Result<(), Failure> {
        let Begun { text, checked, progress, signals, .. } = begun;
        let job = Job {
            text,
            pipeline: &checked.pipeline,
            sink_base: self.pipeline.parent().unwrap_or(Path::new("")),
            input,
            give_up_sinks: self.give_up_sink.iter().cloned().collect(),
            data: &self.data,
            guard: &guard()?,
            isolation: self.isolation.wanted().map_err(Failure::usage)?,
        };
        let ended = prove(job, progress, signals)?;
        let is_file = self.blocks.is_some();
        if is_file && self.end == FileEnd::Keep && checked.pipeline.cut_stages().next().is_some() {
            progress.note(
                "its end is kept open: a cut that is not full waits for more blocks, or for `--end close`",
            );
        }
        report_outcome(ended, progress, again, &self.data)
    }

    fn again(&self, blocks: &Path) -> String {
        let (pipeline, blocks) = (self.pipeline.display(), blocks.display());
        let slot = if self.slot_ms == 0 { String::new() } else { format!(" --slot-ms {}", self.slot_ms) };
        let end = if self.end == FileEnd::Keep { " --end keep" } else { "" };
        format!("proofyard run {pipeline} --blocks {blocks}{slot}{end}{}", data_flag(&self.data))
    }
}
