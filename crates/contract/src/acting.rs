//! A task of a stage: one call, and what it came to.
//!
//! What tells a task's transaction from others is the task's own id, which no attempt changes: whichever attempt comes again, by
//! whichever process, finds it in the journal, with what its call was made of.

use std::path::PathBuf;

use proofyard_core::pipeline::Contract;
use proofyard_core::state::{NamedScope, TaskId};
use serde_json::{Map, Value as Json, json};

use crate::submitting::{Subject, Submission, mentions, prefixed, proof_in};
use crate::{Failure, Place, Surroundings};

/// What a task says of itself.
#[derive(Clone, Debug)]
pub struct OfTask {
    pub id: String,
    /// The first proof that it reads.
    pub proof: Option<PathBuf>,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
}

/// Makes the task's call, unless it is made already, and says what it came to.
pub async fn act(
    contract: &Contract,
    task: &OfTask,
    place: &Place,
    surroundings: &impl Surroundings,
) -> Result<Json, Failure> {
    let subject = Subject::of_task(contract, task)?;
    let outcome = Submission::of(contract, &subject, place, surroundings).await?.run().await?;
    Ok(outcome.unwrap_or_default())
}

impl Subject {
    fn of_task(contract: &Contract, task: &OfTask) -> Result<Self, Failure> {
        let no_task = |error: &dyn std::fmt::Display| Failure::Refused(format!("{}: {error}", task.id));
        let id: TaskId = task.id.parse().map_err(|error| no_task(&error))?;
        let (from, to, hash) = match id.scope.named() {
            Some(NamedScope::Block { height, hash, .. }) => (height, height, Some(hash)),
            Some(NamedScope::Cut { from, to, .. }) => (from, to, None),
            None => return Err(no_task(&"its scope is neither a block nor a cut")),
        };
        let mut given = Map::new();
        let mut give = |name: &str, value: Json| given.insert(name.to_owned(), value);
        give("task", json!(task.id));
        give("chain", json!(id.chain()));
        give("from", json!(from));
        give("to", json!(to));
        give("hash", json!(hash));
        give("public_values", prefixed(task.public_values.as_deref()));
        give("verification_key", prefixed(task.verification_key.as_deref()));
        if let Some(path) = task.proof.as_ref().filter(|_| mentions(contract, "proof")) {
            give("proof", json!(proof_in(path)?));
        }
        Ok(Self { key: task.id.clone(), given, is_entry: false })
    }
}
