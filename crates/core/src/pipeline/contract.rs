//! Calls of a contract: what is sent to a chain for each entry of an out log or task of a stage, when, and by which account.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::sink::EndpointUrl;
use super::template::Template;

/// A call that is made, as a transaction, for each entry or task. Texts are [`Template`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    pub address: String,
    /// Where the chain's nodes are asked; the first that answers is.
    pub rpc: Vec<EndpointUrl>,
    pub chain_id: u64,
    pub key: AccountKey,
    /// As Solidity declares it.
    pub function: String,
    pub arguments: Vec<String>,
    /// Wei that is sent with it.
    pub value: Option<String>,
    /// All hold: there is nothing to send, and the entry counts as taken.
    pub done_if: Vec<Condition>,
    /// One does not hold: not now.
    pub send_if: Vec<Condition>,
    pub reads: BTreeMap<String, ContractRead>,
    /// What a stage asks once its transaction is confirmed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, ContractRead>,
    /// The contract's errors, as Solidity declares them, so that a revert can be told.
    pub errors: Vec<String>,
    /// So many blocks, its own counted, before a transaction counts.
    pub confirmations: u64,
    /// What a unit of gas may cost at most.
    pub max_fee_gwei: Option<u64>,
    /// A transaction that no block has after so long is sent again for a higher fee.
    pub replace_after_ms: u64,
    pub time_limit_ms: u64,
    /// A call stands for all entries below its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub covers_below: bool,
}

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKey {
    /// A variable of the environment with 32 bytes in hex.
    From(String),
    /// A file with the same, or a keystore that a password opens.
    File { path: String, password_from: Option<String> },
    /// A key of AWS KMS, by its ARN: it signs there, and nobody has it.
    Kms(String),
}

/// What is asked before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractRead {
    /// A contract's view; the sink's own where no other is named. Its address may be a template.
    Call { address: Option<String>, function: String, arguments: Vec<String> },
    /// A node's method.
    Rpc { rpc: Vec<EndpointUrl>, method: String, params: Json },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub left: String,
    pub is: Comparison,
    pub right: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// In a template, `env.NAME` stands for a variable of the environment.
pub const ENVIRONMENT: &str = "env";
/// In a sink's template, `results.STAGE` stands for what a stage with an action wrote.
pub const RESULTS: &str = "results";

/// In a template, `block.FIELD` stands for a field of the node's JSON of the block, of a cut's last one.
pub const BLOCK: &str = "block";

impl Comparison {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl Contract {
    /// All texts in which values are put, by where they stand; a read's name is that of its own.
    pub fn texts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let conditions = self.done_if.iter().chain(&self.send_if);
        let compared = conditions.flat_map(|condition| [condition.left.as_str(), condition.right.as_str()]);
        let own = self.arguments.iter().map(String::as_str).chain(self.value.as_deref()).chain(compared);
        let read = self
            .all_reads()
            .flat_map(|(name, read)| read.texts().into_iter().map(|text| (Some(name.as_str()), text)));
        own.map(|text| (None, text)).chain(read)
    }

    /// Before the transaction and behind it. No name is there twice.
    pub fn all_reads(&self) -> impl Iterator<Item = (&String, &ContractRead)> {
        self.reads.iter().chain(&self.after)
    }

    /// Whether its texts name this, or a part of it.
    pub fn names(&self, name: &str) -> bool {
        let templates = self.texts().filter_map(|(_, text)| Template::parse(text).ok());
        templates.into_iter().any(|template| template.references().any(|reference| reference.name == name))
    }

    /// The fields of the block that its texts name, each once.
    pub fn block_fields(&self) -> BTreeSet<String> {
        let templates = self.texts().filter_map(|(_, text)| Template::parse(text).ok());
        let named = templates.flat_map(|template| {
            let named = template.references().filter(|reference| reference.name == BLOCK);
            named.filter_map(|reference| reference.path.first().cloned()).collect::<Vec<_>>()
        });
        named.collect()
    }

    /// The stages whose outcome its texts name.
    pub fn results(&self) -> BTreeSet<String> {
        let templates = self.texts().filter_map(|(_, text)| Template::parse(text).ok());
        let named = templates.flat_map(|template| {
            let named = template.references().filter(|reference| reference.name == RESULTS);
            named.filter_map(|reference| reference.path.first().cloned()).collect::<Vec<_>>()
        });
        named.collect()
    }

    /// The variables of the environment that it needs.
    pub fn environment(&self) -> Vec<String> {
        let key = match &self.key {
            AccountKey::From(name) => Some(name.clone()),
            AccountKey::File { password_from, .. } => password_from.clone(),
            AccountKey::Kms(_) => None,
        };
        let of_reads = self.all_reads().filter_map(|(_, read)| match read {
            ContractRead::Rpc { rpc, .. } => Some(rpc),
            ContractRead::Call { .. } => None,
        });
        let urls = self.rpc.iter().chain(of_reads.flatten());
        let urls = urls.filter_map(|url| match url {
            EndpointUrl::From(name) => Some(name.clone()),
            EndpointUrl::Is(_) => None,
        });
        let templates = self.texts().filter_map(|(_, text)| Template::parse(text).ok());
        let in_texts = templates.flat_map(|template| {
            let named = template.references().filter(|reference| reference.name == ENVIRONMENT);
            named.filter_map(|reference| reference.path.first().cloned()).collect::<Vec<_>>()
        });
        key.into_iter().chain(urls).chain(in_texts).collect()
    }
}

impl ContractRead {
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Call { address, arguments, .. } => {
                address.iter().chain(arguments).map(String::as_str).collect()
            }
            Self::Rpc { params, .. } => texts_in(params),
        }
    }
}

pub(super) fn texts_in(value: &Json) -> Vec<&str> {
    match value {
        Json::String(text) => vec![text],
        Json::Array(list) => list.iter().flat_map(texts_in).collect(),
        Json::Object(table) => table.values().flat_map(texts_in).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => Vec::new(),
    }
}
