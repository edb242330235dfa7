//! `proofyard check PIPELINE`: every mistake, or what the pipeline does.

use std::path::PathBuf;

use clap::Args;
use proofyard_core::pipeline::{Checked, draw};

use super::read_pipeline;
use crate::failure::Failure;
use crate::output;

/// Explains every mistake in a pipeline file, with file, line and column.
#[derive(Args)]
pub struct Check {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Draws the stages.
    #[arg(long)]
    graph: bool,
}

impl Check {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let (_, checked) = read_pipeline(&self.pipeline)?;
        if json {
            let Checked { pipeline, warnings, notes } = checked;
            let answer = serde_json::json!({ "pipeline": pipeline, "warnings": warnings, "notes": notes });
            return output::json(&answer);
        }
        let name = self.pipeline.display().to_string();
        for warning in &checked.warnings {
            output::line(format!("warning: {}", warning.display(&name)));
        }
        for note in &checked.notes {
            output::line(format!("note: {}", note.display(&name)));
        }
        if self.graph {
            output::line(draw(&checked.pipeline).trim_end());
        } else {
            output::line(format!("{name}: no mistakes"));
        }
        Ok(())
    }
}
