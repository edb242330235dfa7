//! `proofyard retry [HEIGHT | TASK]`: parked tasks are tried again.

use clap::Args;
use proofyard_core::error::Code;
use proofyard_core::explain::count;
use proofyard_core::operation::{Answer, Operation};
use proofyard_core::state::TaskId;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Tries parked tasks again, with fresh counts: all of them, those of a height, or one.
#[derive(Args)]
pub struct Retry {
    /// A height, or a task as `status` names it.
    #[arg(value_name = "HEIGHT | TASK")]
    what: Option<String>,
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Retry {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let (height, task) = self.selection()?;
        let answer = self.yard.ask(access, |chain| Operation::Retry { chain, height, task })?;
        let Answer::Retried { tasks, .. } = &answer else {
            return Err(Failure::work_as(Code::Defect, "the yard answered something else than was asked"));
        };
        if let (Some(what), true) = (&self.what, tasks.is_empty()) {
            let message = format!("nothing is parked at {what}; `proofyard status` shows what is");
            return Err(Failure::usage_as(Code::NothingThere, message));
        }
        if json {
            return output::json(&answer);
        }
        tasks.iter().for_each(output::line);
        output::line(match tasks.len() as u64 {
            0 => "nothing is parked".to_owned(),
            tasks => format!("{} tried again", count(tasks, "task")),
        });
        Ok(())
    }

    fn selection(&self) -> Result<(Option<u64>, Option<String>), Failure> {
        let Some(what) = &self.what else { return Ok((None, None)) };
        if let Ok(height) = what.parse() {
            return Ok((Some(height), None));
        }
        what.parse::<TaskId>().map_err(Failure::usage)?;
        Ok((None, Some(what.clone())))
    }
}
