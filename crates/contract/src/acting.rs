//! A task of a stage: one call, and what it came to.
//!
//! What tells a task's transaction from others is the task's own id, which no attempt changes: whichever attempt comes again, by
//! whichever process, finds it in the journal, with what its call was made of.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proofyard_core::pipeline::{BLOCK, Contract, ContractRead, Template};
use proofyard_core::state::{NamedScope, TaskId};
use serde_json::{Map, Value as Json, json};

use crate::chain::Head;
use crate::journal::Sent;
use crate::reading::{block_in, prefixed, proof_in};
use crate::settling::shown;
use crate::submitting::{Purpose, Submission, TRANSACTION};
use crate::values::Values;
use crate::{Failure, Place, Surroundings};

/// What a task says of itself.
#[derive(Clone, Debug)]
pub struct OfTask {
    pub id: String,
    /// The first proof that it reads.
    pub proof: Option<PathBuf>,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    /// The payload of its block, of its cut's last one.
    pub block: Option<PathBuf>,
}

/// The block that has the transaction.
const INCLUDED: &str = "included";

/// Makes the task's call, unless it is made already, and says what it came to.
pub async fn act(
    contract: &Contract,
    task: &OfTask,
    place: &Place,
    surroundings: &impl Surroundings,
) -> Result<Json, Failure> {
    let purpose = Purpose::of_task(contract, task)?;
    let outcome = Submission::of(contract, &purpose, place, surroundings).await?.run().await?;
    Ok(outcome.unwrap_or_default())
}

impl Purpose {
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
        if let Some(path) = task.proof.as_ref().filter(|_| contract.names("proof")) {
            give("proof", json!(proof_in(path)?));
        }
        if let Some(path) = task.block.as_ref().filter(|_| contract.names(BLOCK)) {
            give(BLOCK, block_in(path)?);
        }
        Ok(Self { key: task.id.clone(), given, is_entry: false })
    }
}

impl<'a, S: Surroundings> Submission<'a, S> {
    /// What a task's call came to.
    pub(crate) async fn outcome(&self, sent: Option<&Sent>, head: &Head) -> Result<Option<Json>, Failure> {
        if self.purpose.is_entry {
            return Ok(None);
        }
        let mut values = self.values()?;
        let made_of = sent.and_then(|sent| sent.made_of.clone());
        for (name, value) in made_of.iter().flat_map(|made_of| &made_of.reads) {
            values.put(name, value.clone());
        }
        let included = sent.and_then(|sent| sent.included.as_ref());
        let block =
            included.map(|included| json!({ "number": included.height, "hash": shown(&included.block) }));
        let transaction = included.map(|included| json!(shown(&included.transaction)));
        values.put(INCLUDED, block.clone().unwrap_or(Json::Null));
        values.put(TRANSACTION, transaction.clone().unwrap_or(Json::Null));
        if included.is_none() {
            for name in self.named_behind_a_transaction() {
                values.put(&name, Json::Null);
            }
        }
        let height = head.number.number();
        self.read_for(self.texts_behind(), &mut values, height).await?;
        let mut after = Map::new();
        for (name, read) in &self.contract.after {
            // Others among them may have named it.
            let answer = match values.known(name) {
                Some(answer) => answer.clone(),
                None => self.read(name, read, &values, height).await?,
            };
            after.insert(name.clone(), answer.clone());
            values.put(name, answer);
        }
        Ok(Some(json!({
            "chain_id": self.contract.chain_id,
            "contract": self.contract.address,
            "function": self.contract.function,
            "account": self.account.address.to_string(),
            "arguments": made_of.map(|made_of| made_of.arguments),
            "transaction": transaction,
            INCLUDED: block,
            "reads": self.reads_named(&values),
            "after": after,
        })))
    }

    /// Reads that need what only a transaction of ours has, directly or through another.
    pub(crate) fn named_behind_a_transaction(&self) -> BTreeSet<String> {
        let mut named: BTreeSet<String> = [TRANSACTION, INCLUDED].map(str::to_owned).into();
        loop {
            let before = named.len();
            for (name, read) in &self.contract.after {
                let templates: Vec<_> =
                    read.texts().into_iter().filter_map(|text| Template::parse(text).ok()).collect();
                if templates.iter().flat_map(Template::references).any(|it| named.contains(&it.name)) {
                    named.insert(name.clone());
                }
            }
            if named.len() == before {
                return named;
            }
        }
    }

    pub(crate) fn texts_behind(&self) -> impl Iterator<Item = &'a str> {
        self.contract.after.values().flat_map(ContractRead::texts)
    }

    /// Of what was read before the transaction, what the pipeline's texts name.
    pub(crate) fn reads_named(&self, values: &Values<'_, S>) -> Map<String, Json> {
        let templates = self.contract.texts().filter_map(|(_, text)| Template::parse(text).ok());
        let templates: Vec<Template> = templates.collect();
        let named = templates.iter().flat_map(Template::references);
        values.named_by(named.filter(|named| self.contract.reads.contains_key(&named.name)))
    }
}
