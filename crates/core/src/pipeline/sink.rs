//! `[sink.NAME]`: a consumer of proofs, and how it is notified.
//!
//! An *ordered* sink follows an out log: it gets each entry, in order. A *level* sink follows blocks: it is told what the
//! state says of each, in any order of blocks, and of one block only the newest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::beacon_table::Beacon;
use super::contract::Contract;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sink {
    /// Index of the stage whose proofs it gets.
    pub stage: usize,
    pub from: SinkFrom,
    pub confirm: Confirm,
    pub follows: Follows,
    /// Of a contract's sink: it is called once in so long, with the newest entry for all that came meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    pub target: SinkTarget,
}

/// Where a sink begins in what is new to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkFrom {
    Start,
    /// With what comes after the pipeline that names it was put in force.
    Now,
}

/// What a block must be before its proof is handed on, as the followed node calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    #[default]
    Latest,
    Safe,
    Finalized,
}

/// What a sink is told about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// Entries of these kinds, of the out log that has its stage's proofs.
    Log(BTreeSet<EntryKind>),
    /// Each block, as far as these words say.
    Blocks(BTreeSet<BlockWord>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Proof,
    Retract,
}

/// How far a block is, as a level sink is told. A later word is newer; `Missed` and `Retracted` are the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockWord {
    /// It is acknowledged, and on the chain.
    Arrived,
    /// A worker has taken a task of it.
    Started,
    /// The proof that commits it is accepted.
    Accepted,
    Committed,
    /// It was given up by its deadline.
    Missed,
    /// It left the chain, or is proved anew, after the sink was notified of it.
    Retracted,
}

/// How a sink is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkTarget {
    /// Lines of JSON appended to this file.
    File {
        path: String,
    },
    /// A program, run for each message, which it gets as JSON on its input.
    Command {
        command: Vec<String>,
        /// The environment's variables that it gets.
        environment_from: Vec<String>,
        time_limit_ms: u64,
    },
    Webhook(Webhook),
    Ethproofs(Ethproofs),
    Beacon(Beacon),
    /// A transaction on a chain for each entry.
    Contract(Box<Contract>),
    /// A service of AWS, told by yards there.
    Aws(AwsTarget),
}

/// Where in AWS entries are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AwsTarget {
    /// A queue, by its URL.
    Sqs(String),
    /// A topic, by its ARN.
    Sns(String),
    /// An event bus, by its name or its ARN.
    Eventbridge(String),
}

/// An HTTP endpoint that takes messages by POST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: EndpointUrl,
    /// The environment's variable with the secret that signs.
    pub secret_from: Option<String>,
    /// What is sent, where it is not the message itself; `{...}` stand for its parts.
    pub body: Option<Map<String, Json>>,
    pub time_limit_ms: u64,
}

/// Reports to a server with the API of Ethproofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ethproofs {
    pub url: EndpointUrl,
    pub cluster_id: u64,
    /// The environment's variable with the API key.
    pub token_from: String,
    pub time_limit_ms: u64,
}

/// A URL may hold a key: then a variable of the environment has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointUrl {
    Is(String),
    From(String),
}

impl BlockWord {
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Started => "started",
            Self::Accepted => "accepted",
            Self::Committed => "committed",
            Self::Missed => "missed",
            Self::Retracted => "retracted",
        }
    }
}

impl Follows {
    /// Whether entries of a log are wanted, and these among them.
    pub fn has(&self, kind: EntryKind) -> bool {
        matches!(self, Self::Log(kinds) if kinds.contains(&kind))
    }
}

impl Sink {
    /// It is notified of blocks, and reads no log.
    pub fn is_level(&self) -> bool {
        matches!(self.follows, Follows::Blocks(_))
    }
}

impl SinkTarget {
    /// Whoever tells it signs with a key that is worth something. On AWS a function of its own does.
    pub fn holds_key(&self) -> bool {
        matches!(self, Self::Beacon(_) | Self::Contract(_))
    }

    /// How long one message may take; 0 where the pipeline does not say it.
    pub fn time_limit_ms(&self) -> u64 {
        match self {
            Self::File { .. } | Self::Aws(_) => 0,
            Self::Command { time_limit_ms, .. } => *time_limit_ms,
            Self::Webhook(webhook) => webhook.time_limit_ms,
            Self::Ethproofs(ethproofs) => ethproofs.time_limit_ms,
            Self::Beacon(beacon) => beacon.time_limit_ms,
            Self::Contract(contract) => contract.time_limit_ms,
        }
    }

    /// The environment's variables that it needs.
    pub fn environment(&self) -> Vec<String> {
        let (url, secret, body) = match self {
            Self::File { .. } | Self::Aws(_) => return Vec::new(),
            Self::Command { environment_from, .. } => {
                return environment_from.clone();
            }
            Self::Beacon(beacon) => return beacon.environment().into_iter().map(str::to_owned).collect(),
            Self::Contract(contract) => return contract.environment(),
            Self::Webhook(webhook) => (&webhook.url, webhook.secret_from.as_deref(), webhook.body.as_ref()),
            Self::Ethproofs(ethproofs) => (&ethproofs.url, Some(ethproofs.token_from.as_str()), None),
        };
        let url = match url {
            EndpointUrl::From(name) => Some(name.as_str()),
            EndpointUrl::Is(_) => None,
        };
        let body = body.into_iter().flat_map(Map::values).flat_map(placeholders);
        let of_body = body.filter_map(|name| name.strip_prefix(VARIABLE));
        url.into_iter().chain(secret).chain(of_body).map(str::to_owned).collect()
    }
}

/// In the braces of a body, `env.NAME` stands for a variable.
pub const VARIABLE: &str = "env.";

/// What stands in the braces of the texts in it.
pub(super) fn placeholders(value: &Json) -> Vec<&str> {
    match value {
        Json::String(text) => {
            let parts = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
            parts.map(|(name, _)| name).collect()
        }
        Json::Array(list) => list.iter().flat_map(placeholders).collect(),
        Json::Object(table) => table.values().flat_map(placeholders).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => Vec::new(),
    }
}
