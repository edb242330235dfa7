//! How a run that proves a file ended: the last event, the summary, and the commands that go on.

use std::path::Path;

use proofyard_core::error::Code;
use proofyard_core::explain::count;
use proofyard_core::status::ParkedTask;
use serde_json::json;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::proving::{End, Ended, Figures};
use crate::text::{duration, percentile};
use crate::yard::data_flag;

/// Parked tasks that are named; `status` names all.
const PARKED_NAMED: usize = 5;

/// Reports it, and what it means for the exit code. `again` is the command that goes on, and `data` where the yard is.
pub fn report_outcome(ended: Ended, progress: &Progress, again: &str, data: &Path) -> Result<(), Failure> {
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
            let message = stuck(&parked, &reason, again, data);
            Err(Failure::work_as(Code::Stuck, message).after(summary(&figures)))
        }
        End::Stopped(signal) => {
            progress.event(&document("stopped", &figures));
            let message = format!("stopped by {signal}; nothing is lost. To go on: {again}");
            Err(Failure::stopped(message, signal.exit_code()).after(summary(&figures)))
        }
    }
}

fn stuck(parked: &[ParkedTask], reason: &str, again: &str, data: &Path) -> String {
    let mut lines = vec![format!("nothing moves any more: {reason}")];
    for task in parked.iter().take(PARKED_NAMED) {
        lines.push(format!("  height {}: {}, {}", task.height, task.task, task.reason));
    }
    if parked.len() > PARKED_NAMED {
        lines.push(format!("  and {} more", parked.len() - PARKED_NAMED));
    }
    let flags = data_flag(data);
    if let Some(first) = parked.first() {
        lines.push(format!("To see why:                 proofyard explain {}{flags}", first.height));
        lines.push(format!("Once the cause is mended:   proofyard retry{flags}"));
        lines.push(format!("Or, in the pipeline file:   proofyard redo {}{flags}", first.height));
    } else {
        lines.push(format!("To see where it stands:     proofyard status{flags}"));
    }
    lines.push(format!("Then go on:                 {again}"));
    lines.join("\n")
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
