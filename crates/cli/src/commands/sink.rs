//! `proofyard sink NAME`: pauses a sink, resumes it, or moves it in its log.

use clap::Args;
use proofyard_core::operation::{Answer, Operation};
use proofyard_core::sinks::SinkWord;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Pauses or resumes a sink, or has it go on elsewhere in its log.
#[derive(Args)]
pub struct SinkCommand {
    /// As the pipeline calls it.
    name: String,
    #[command(flatten)]
    word: Word,
    #[command(flatten)]
    pub yard: YardArguments,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Word {
    /// It is notified of nothing until it is resumed; proving goes on.
    #[arg(long)]
    pause: bool,
    /// It goes on, and tries again at once what failed.
    #[arg(long)]
    resume: bool,
    /// It never gets this entry, which it must be waiting with (`proofyard status`).
    #[arg(long, value_name = "SEQUENCE")]
    skip: Option<u64>,
    /// It gets all entries from this one on again.
    #[arg(long, value_name = "SEQUENCE")]
    again: Option<u64>,
}

impl Word {
    fn meant(&self) -> SinkWord {
        match (self.skip, self.again) {
            (Some(sequence), _) => SinkWord::Skip { sequence },
            (_, Some(from)) => SinkWord::Again { from },
            _ if self.pause => SinkWord::Pause,
            _ => SinkWord::Resume,
        }
    }
}

impl SinkCommand {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let (sink, word) = (self.name.clone(), self.word.meant());
        let answer = self.yard.ask(access, |chain| Operation::Sink { chain, sink, word })?;
        if json {
            return output::json(&answer);
        }
        if let Answer::Sink { sink, place, .. } = &answer {
            let paused = if place.paused { "; it is paused" } else { "" };
            let next = place.next;
            output::line(match word {
                SinkWord::Pause => format!("sink {sink} is paused before {next}"),
                SinkWord::Resume => format!("sink {sink} goes on with {next}"),
                SinkWord::Skip { sequence } => {
                    format!("sink {sink} skips {sequence}, and goes on with {next}{paused}")
                }
                SinkWord::Again { .. } => format!("sink {sink} goes on with {next} again{paused}"),
            });
        }
        Ok(())
    }
}
