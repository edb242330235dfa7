//! `proofyard demo`: a real small chain, real provers, and what it took.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use proofyard_blocks::Rules;
use proofyard_core::error::Code;
use proofyard_core::pipeline::parse;
use proofyard_core::state::ChainName;
use proofyard_core::status::BlockTimes;
use proofyard_embedded::block_on;
use proofyard_embedded::machine::{Feed, Machine, check_blocks, look};
use serde_json::json;

use super::guard;
use crate::run_outcome::report_outcome;
use proofyard_worker::isolation::Wanted;

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::proving::{End, Input, Job, prove};
use crate::signals::Signals;
use crate::table::{Side, Table};
use crate::yard::data_flag;

/// 64 blocks of a real Ethereum node; see `examples/blocks/README.md`.
pub const BLOCKS: &str = include_str!("../../../../examples/blocks/chain.jsonl");
const PIPELINE: &str = include_str!("../../../../examples/demo.toml");
const MAX_BLOCKS: u64 = 64;
/// Proved in well under a minute by two cores.
const DEFAULT_BLOCKS: u64 = 8;

/// Proves a recorded chain of real Ethereum blocks with real STARK proofs, in under a minute.
///
/// Kill it at any moment and run it again: it goes on where it was.
#[derive(Args)]
pub struct Demo {
    /// How many of the 64 recorded blocks.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BLOCKS, value_parser = clap::value_parser!(u64).range(1..=MAX_BLOCKS))]
    blocks: u64,
    /// Where the yard keeps its state, its pipeline and its blocks.
    #[arg(long, value_name = "DIR", default_value = "proofyard-demo.data")]
    data: PathBuf,
}

impl Demo {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let text = pipeline_text();
        // Before a file is written there: it is a yard's directory, or will be one, and no other process uses it.
        drop(Machine::open(&self.data, true, |_| {})?);
        let blocks = self.write_files(&text)?;
        let checked = parse(&text)
            .map_err(|_| Failure::work_as(Code::Defect, "the demo's own pipeline has a mistake"))?;
        let rules = Rules::of(&checked.pipeline);
        let input = check_blocks(&blocks, &rules).map_err(Failure::usage)?;
        let progress = Arc::new(Progress::new(json, input.tip_height));
        progress.note(&format!(
            "proving blocks {} to {} of a recorded Ethereum node: {} transactions in {} segments, with Miden STARK proofs",
            input.first_height, input.tip_height, input.transactions, input.segments
        ));
        let signals = Signals::listen()?;
        let job = Job {
            text: &text,
            pipeline: &checked.pipeline,
            sink_base: &self.data,
            input: Input::File(Feed {
                path: blocks,
                rules,
                lines: input.lines,
                slot: Duration::ZERO,
                ends: true,
            }),
            give_up_sinks: BTreeSet::new(),
            data: &self.data,
            guard: &guard()?,
            isolation: Wanted::Best,
        };
        let ended = prove(job, &progress, &signals)?;
        if !json && matches!(ended.how, End::Finished) {
            output::line(format!("\n{}\n", table(&self.times(&checked.pipeline.chain.name)?)));
        }
        report_outcome(ended, &progress, &format!("proofyard demo{}", self.flags()), &self.data)?;
        if json {
            let blocks = self.times(&checked.pipeline.chain.name)?;
            return output::json(&json!({ "event": "blocks", "blocks": blocks }));
        }
        let program = std::env::args().next().unwrap_or_else(|| "proofyard".to_owned());
        output::line(format!(
            "\nEvery proof checked again, from the artifacts alone:\n  {program} verify --data {}",
            self.data.display()
        ));
        output::line(format!(
            "What was handed on, in order:\n  {}",
            self.data.join("committed.jsonl").display()
        ));
        Ok(())
    }

    fn times(&self, chain: &ChainName) -> Result<Vec<BlockTimes>, Failure> {
        Ok(block_on(look(&self.data)?.block_times(chain, 0, u64::MAX))?)
    }

    fn flags(&self) -> String {
        let blocks =
            if self.blocks == DEFAULT_BLOCKS { String::new() } else { format!(" --blocks {}", self.blocks) };
        if self.data == Path::new("proofyard-demo.data") { blocks } else { blocks + &data_flag(&self.data) }
    }

    /// The files that a user of `run` would write. A blocks file may only grow.
    fn write_files(&self, pipeline: &str) -> Result<PathBuf, Failure> {
        let blocks = self.data.join("blocks.jsonl");
        let before = fs::read_to_string(&blocks).unwrap_or_default().lines().count() as u64;
        if before > self.blocks {
            let message = format!(
                "the demo in {} has {before} blocks already; ask for at least as many, or name another place with --data",
                self.data.display()
            );
            return Err(Failure::usage_as(Code::SmallerDemo, message));
        }
        let lines: String = BLOCKS.split_inclusive('\n').take(self.blocks as usize).collect();
        for (file, text) in [(&self.data.join("demo.toml"), pipeline), (&blocks, &lines)] {
            replace(file, text).map_err(|error| self.cannot_write(&error))?;
        }
        Ok(blocks)
    }

    fn cannot_write(&self, error: &io::Error) -> Failure {
        let message = format!("{} cannot be written; name another place with --data", self.data.display());
        Failure::usage_as(Code::FileUnwritable, message).caused_by(error)
    }
}

/// At once, so that no reader sees half of it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let draft = file.with_extension("draft");
    fs::write(&draft, text)?;
    fs::rename(draft, file)
}

/// The example, with a slot for each processor.
fn pipeline_text() -> String {
    let slots = thread::available_parallelism().map_or(2, usize::from);
    PIPELINE.replace("slots = 2 ", &format!("slots = {slots} "))
}

/// Per block: arrival, then how long until its first task, its proof and its commit.
fn table(times: &[BlockTimes]) -> Table {
    let mut table = Table::new([
        ("height", Side::Right),
        ("tasks", Side::Right),
        ("first task", Side::Right),
        ("proved", Side::Right),
        ("committed", Side::Right),
        ("proving", Side::Right),
        ("verifying", Side::Right),
        ("proof", Side::Right),
    ]);
    for block in times {
        let after = |at_ms: Option<u64>| match at_ms {
            Some(at_ms) => seconds(at_ms.saturating_sub(block.acknowledged_ms)),
            None => "-".to_owned(),
        };
        table.row([
            block.height.to_string(),
            block.tasks.to_string(),
            after(block.first_claimed_ms),
            after(block.proved_ms),
            after(block.committed_ms),
            seconds(block.prove_ms),
            seconds(block.verify_ms),
            format!("{:.1} KB", block.proof_bytes as f64 / 1_000.0),
        ]);
    }
    table
}

fn seconds(time_ms: u64) -> String {
    format!("{:.2} s", time_ms as f64 / 1_000.0)
}
