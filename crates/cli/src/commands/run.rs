//! `proofyard run PIPELINE --blocks FILE`: proves a file's blocks to the end; started again, it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use proofyard_core::explain::count;
use proofyard_core::status::ParkedTask;
use proofyard_embedded::machine::check_blocks;
use serde_json::json;

use super::{guard, read_pipeline};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::proving::{End, Figures, Job, prove};
use crate::signals::Signals;
use crate::text::{duration, percentile, shortened};
use crate::yard::{DEFAULT_DATA, data_flag};

/// Parked tasks that are named at the end; `status` names all.
const PARKED_NAMED: usize = 5;

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
        let input = check_blocks(&self.blocks).map_err(Failure::usage)?;
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
            data: &self.data,
            guard: &guard()?,
        };
        let ended = prove(&job, &progress, &signals)?;
        let figures = ended.figures;
        match ended.how {
            End::Finished => {
                progress.event(&document("finished", &figures));
                progress.say(&summary(&figures));
                Ok(())
            }
            End::Stuck { parked, reason } => {
                let mut event = document("stuck", &figures);
                event["reason"] = json!(reason);
                event["parked"] = json!(parked);
                progress.event(&event);
                Err(Failure::Work(self.stuck(&figures, &parked, &reason)))
            }
            End::Stopped(signal) => {
                progress.event(&document("stopped", &figures));
                let message = format!("stopped by {signal}; nothing is lost. To go on: {}", self.again());
                Err(Failure::Stopped {
                    message: format!("{}\n{message}", summary(&figures)),
                    exit_code: signal.exit_code(),
                })
            }
        }
    }

    fn stuck(&self, figures: &Figures, parked: &[ParkedTask], reason: &str) -> String {
        let mut lines = vec![summary(figures), format!("nothing moves any more: {reason}")];
        for task in parked.iter().take(PARKED_NAMED) {
            let said = task.note.as_ref().map(|note| format!(": {}", shortened(&note.message, 200)));
            lines.push(format!(
                "  height {}: {}, {}{}",
                task.height,
                task.task,
                task.reason,
                said.unwrap_or_default()
            ));
        }
        if parked.len() > PARKED_NAMED {
            lines.push(format!("  and {} more", parked.len() - PARKED_NAMED));
        }
        let flags = data_flag(&self.data);
        if let Some(first) = parked.first() {
            lines.push(format!("To see why:                 proofyard explain {}{flags}", first.height));
            lines.push(format!("Once the cause is mended:   proofyard retry{flags}"));
        } else {
            lines.push(format!("To see where it stands:     proofyard status{flags}"));
        }
        lines.push(format!("Then go on:                 {}", self.again()));
        lines.join("\n")
    }

    fn again(&self) -> String {
        let (pipeline, blocks) = (self.pipeline.display(), self.blocks.display());
        format!("proofyard run {pipeline} --blocks {blocks}{}", data_flag(&self.data))
    }
}

fn summary(figures: &Figures) -> String {
    let mut parts = vec![format!(
        "{} committed, {} missed",
        count(figures.blocks_committed, "block"),
        figures.blocks_missed
    )];
    parts.push(format!(
        "this run: {}, {} accepted, {}",
        count(figures.committed_now, "block"),
        count(figures.proofs_accepted, "proof"),
        duration(figures.took)
    ));
    let at = |percent| percentile(&figures.overheads, percent).map(duration);
    if let (Some(p50), Some(p99)) = (at(50), at(99)) {
        parts.push(format!("overhead a task: P50 {p50}, P99 {p99}"));
    }
    parts.join("; ")
}

fn document(event: &str, figures: &Figures) -> serde_json::Value {
    let at = |percent| percentile(&figures.overheads, percent).map(|time| time.as_secs_f64() * 1_000.0);
    json!({
        "event": event,
        "blocks_committed": figures.blocks_committed,
        "blocks_missed": figures.blocks_missed,
        "committed_now": figures.committed_now,
        "proofs_accepted": figures.proofs_accepted,
        "took_ms": figures.took.as_secs_f64() * 1_000.0,
        "overhead_p50_ms": at(50),
        "overhead_p99_ms": at(99),
    })
}
