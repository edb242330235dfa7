//! An operator's commands as a yard receives them, and its answers.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Refusal};
use crate::record::{Hold, Resumed, RetrySelection};
use crate::sinks::{SinkWord, SinkWordDone};
use crate::state::{ChainName, TaskId};
use crate::yard::{Yard, boxed};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation", deny_unknown_fields)]
pub enum Operation {
    /// Nothing new is opened or claimed.
    Pause { chain: ChainName },
    /// Ends a pause, or the halts that there are: the hold that is named, or the only one.
    Resume {
        chain: ChainName,
        #[serde(default)]
        hold: Hold,
        /// The halts that were seen: all below this number. Left out, all that there are when this comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<u64>,
    },
    /// Tries parked tasks again: one, those of a height, or all.
    Retry {
        chain: ChainName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        height: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
    },
    /// How many heights from the frontier may be in work at once.
    Window { chain: ChainName, window: u64 },
    /// Proves every height from this one on again.
    Redo { chain: ChainName, from: u64 },
    /// Pauses a sink, resumes it, or moves it.
    Sink { chain: ChainName, sink: String, word: SinkWord },
}

/// What was done, and is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "done")]
pub enum Answer {
    Paused {
        chain: ChainName,
    },
    Resumed {
        chain: ChainName,
        #[serde(flatten)]
        resumed: Resumed,
    },
    Retried {
        chain: ChainName,
        tasks: Vec<String>,
    },
    Window {
        chain: ChainName,
        window: u64,
    },
    Redo {
        chain: ChainName,
        from: u64,
    },
    Sink {
        chain: ChainName,
        sink: String,
        word: SinkWord,
        #[serde(flatten)]
        place: SinkWordDone,
    },
}

impl Yard {
    /// Carries out an operator's command; what it answers is on disk. The steps that follow are left to whoever is woken.
    #[boxed(?Send)]
    pub async fn operate(&self, operation: &Operation) -> Result<Answer, Error> {
        match operation {
            Operation::Pause { chain } => {
                self.pause(chain).await?;
                Ok(Answer::Paused { chain: chain.clone() })
            }
            Operation::Resume { chain, hold, seen } => {
                let resumed = self.resume_from(chain, *hold, *seen).await?;
                Ok(Answer::Resumed { chain: chain.clone(), resumed })
            }
            Operation::Retry { chain, height, task } => {
                // A chain that is not there has nothing parked, and is to be named as such.
                self.chain_state(chain).await?;
                let selection = selection(chain, *height, task.as_deref())?;
                let tasks = self.retry(&selection).await?.retried.iter().map(TaskId::to_string).collect();
                Ok(Answer::Retried { chain: chain.clone(), tasks })
            }
            Operation::Window { chain, window } => {
                self.set_window(chain, *window).await?;
                Ok(Answer::Window { chain: chain.clone(), window: *window })
            }
            Operation::Redo { chain, from } => {
                self.record_redo(chain, *from).await?;
                Ok(Answer::Redo { chain: chain.clone(), from: *from })
            }
            Operation::Sink { chain, sink, word } => {
                let place = self.tell_sink(chain, sink, *word).await?;
                Ok(Answer::Sink { chain: chain.clone(), sink: sink.clone(), word: *word, place })
            }
        }
    }
}

fn selection(chain: &ChainName, height: Option<u64>, task: Option<&str>) -> Result<RetrySelection, Error> {
    match (height, task) {
        (None, None) => Ok(RetrySelection::AllOf { chain: chain.clone() }),
        (Some(height), None) => Ok(RetrySelection::Height { chain: chain.clone(), height }),
        (None, Some(task)) => match task.parse::<TaskId>() {
            Ok(id) if id.chain() == *chain => Ok(RetrySelection::One(id)),
            Ok(id) => {
                let (of, chain) = (id.chain(), chain.clone());
                Err(Refusal::TaskOfOtherChain { task: task.to_owned(), of, chain }.into())
            }
            Err(error) => Err(Refusal::from(error).into()),
        },
        (Some(_), Some(_)) => Err(Refusal::HeightAndTask.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ScopeId;

    #[test]
    fn a_word_is_read_as_a_person_would_write_it() {
        let read = |text| serde_json::from_str::<Operation>(text);
        let all = Operation::Retry { chain: "c".into(), height: None, task: None };
        assert_eq!(read(r#"{"operation": "retry", "chain": "c"}"#).unwrap(), all);
        let redo = Operation::Redo { chain: "c".into(), from: 7 };
        assert_eq!(read(r#"{"operation": "redo", "chain": "c", "from": 7}"#).unwrap(), redo);
        read(r#"{"operation": "redo", "chain": "c", "from": 7, "to": 9}"#).unwrap_err();
        read(r#"{"operation": "explode", "chain": "c"}"#).unwrap_err();
    }

    #[test]
    fn a_task_is_retried_on_its_own_chain_alone() {
        let (chain, other) = (&ChainName::from("c"), &ChainName::from("d"));
        let id = TaskId::new(&ScopeId::of_block(chain, 7, &"0xab".into(), 0), "join", 3);
        assert_eq!(selection(chain, None, Some(&id.to_string())).unwrap(), RetrySelection::One(id.clone()));
        selection(other, None, Some(&id.to_string())).unwrap_err();
        selection(chain, Some(7), Some(&id.to_string())).unwrap_err();
        selection(chain, None, Some("join/3")).unwrap_err();
    }
}
