//! A pipeline: how one chain's blocks are proved, as a graph of stages.
//!
//! [`parse`] turns the TOML text into a [`Pipeline`] in which everything derived (order of stages, which of them
//! precede the commit, which belong to a cut) is settled, or into every mistake at once. Handlers trust a
//! `Pipeline`; nothing else checks these rules again.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::state::{ArtifactRef, COMMITS, ChainName};

mod action_table;
mod arguments;
mod beacon_table;
mod commit;
mod contract;
mod contract_table;
mod draw;
mod files;
mod gathering;
mod graph;
mod keys;
mod mistake;
mod parse;
mod prover_table;
mod reader;
mod rules;
mod sink;
mod sink_rules;
mod sink_table;
mod source_table;
mod stage;
mod stage_table;
mod suggest;
mod tables;
mod template;

pub use action_table::ACCOUNTS_FOLDER;
pub use beacon_table::{Beacon, BeaconNodes};
pub use contract::{AccountKey, BLOCK, Comparison, Condition, Contract, ContractRead, ENVIRONMENT, RESULTS};
pub use draw::draw;
pub use mistake::Mistake;
pub use parse::{Checked, parse};
pub use sink::{
    AwsTarget, BlockWord, Confirm, EndpointUrl, EntryKind, Ethproofs, Follows, Sink, SinkFrom, SinkTarget,
    VARIABLE, Webhook,
};
pub(crate) use source_table::WITNESS;
pub use stage::{CutBudget, CutRule, Output, Quorum, Source, Stage, Strategy, TaskLimits};
pub use template::{Format, Piece, Reference, Template};

/// One chain's pipeline, valid by construction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pipeline {
    pub chain: Chain,
    /// In dependency order: a stage stands after all that it reads from.
    pub stages: Vec<Stage>,
    /// Index into `stages` of the stage whose accepted output commits a block.
    pub commit: usize,
    pub provers: BTreeMap<String, Prover>,
    pub pools: BTreeMap<String, Pool>,
    pub sinks: BTreeMap<String, Sink>,
    /// The node whose chain is followed; blocks come from a file or a webhook where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeSource>,
    /// The consensus client whose calls to its execution client go through this yard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineSource>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    pub name: ChainName,
    pub start_height: u64,
    /// How many heights from the frontier may be in work at once, at the start; an operator may change it.
    pub window: u64,
    pub late: Late,
    /// Chains of a lower lane go first when pools are shared.
    pub lane: u8,
    /// How often open work is looked at again: 1 s for real-time pipelines, else 15 s.
    pub tick_ms: u64,
    pub header: Header,
    /// Only a worker that keeps provers from their verifiers proves for it.
    pub strict: bool,
}

/// How a block's hash is made of its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// As Ethereum's are, which is checked of each block that comes.
    #[default]
    Ethereum,
    /// Otherwise: the hash is what the source says.
    Trusted,
}

/// What happens to a block that is not proved by its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "late")]
pub enum Late {
    Wait,
    /// Recorded missed once this long has passed since the block was acknowledged.
    Miss {
        deadline_ms: u64,
    },
}

/// Heights stay exact where JSON numbers are read as doubles.
pub const MAX_HEIGHT: u64 = 1 << 53;
/// Heights from the frontier that may be in work at once.
pub const MAX_WINDOW: u64 = 10_000_000;
/// Bytes of a pipeline file.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// A year: no time of a pipeline is longer.
pub const MAX_MS: u64 = 31_536_000_000;
/// The longest pause between two attempts: 10 minutes.
pub const MAX_BACKOFF_MS: u64 = 600_000;
/// Tasks of one group: segments of a block, elements of a partitioner's list.
pub const MAX_GROUP_TASKS: u32 = 4_096;
/// Members of a quorum; they are read by key in one transaction.
pub const MAX_QUORUM_MEMBERS: usize = 16;
/// Of a verification key; of public values, which are kept beside it, see `record`.
pub const MAX_VERIFICATION_KEY_BYTES: usize = 4_096;
/// The pool whose workers are judges. They take no tasks, so no pipeline may have one that is called so.
pub const JUDGE_POOL: &str = "judge";
/// Blocks of one cut; the members' names are kept in one item.
pub const MAX_CUT_BLOCKS: u64 = 1_024;
/// Children that one task of a reduction joins; they are read by key in one transaction.
pub const MAX_ARITY: u64 = 16;

/// How a prover program is started; read by homes, not by handlers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prover {
    pub command: Vec<String>,
    pub protocol: Protocol,
    pub verify: Verify,
    /// The one key whose proofs count, in bare lower-case hex; any key does where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_key: Option<String>,
    /// What a stream prover is told when it is set up.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub arguments: serde_json::Map<String, serde_json::Value>,
    pub environment: BTreeMap<String, String>,
    /// Variables that it is handed of its worker's environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_from: Vec<String>,
    /// What its workers lay ready for it, such as proving keys: [`FILES_FOLDER`] in its command is where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PinnedFile>,
    /// Folders, beside its own, in which it may change files where it is kept from all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// The call that is its work: then it is the yard's own program, which is not kept from the yard's files.
    #[serde(skip)]
    pub contract: Option<Box<Contract>>,
}

/// In a prover's command and environment: the folder of its files.
pub const FILES_FOLDER: &str = "{files}";

/// In a prover's command and its verifier's: the key that the pipeline pins.
pub const PINNED_KEY: &str = "{verification_key}";

/// A file that the yard's store has under its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinnedFile {
    /// What the prover finds it under.
    pub name: String,
    #[serde(flatten)]
    pub content: ArtifactRef,
}

impl Prover {
    /// The pinned key, if the one that was found is another or none.
    pub fn other_key(&self, found: Option<&str>) -> Option<&str> {
        self.verification_key.as_deref().filter(|pinned| found != Some(pinned))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Stream,
    /// Started for each task; the input file holds the native request.
    Files,
    /// Started for each task; the input file holds the bare payload.
    FilesBare,
    /// As `FilesBare`, with a block's height alone in place of the block.
    FilesHeight,
    /// As `FilesBare`, but always a list, also of one input.
    FilesList,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The prover's own command and protocol, in another process.
    Same,
    Command(Vec<String>),
    /// Written out as `verify = "none"`: what the prover says is believed.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Slots of a local worker.
    pub slots: u32,
    pub gpus_per_slot: u32,
    pub lease_ms: u64,
    /// After this many failures in a row a worker gets no tasks ...
    pub quarantine_after: u32,
    /// ... for this long.
    pub quarantine_ms: u64,
    /// Workers of another machine take a result's next steps themselves, which is sooner than having them taken, and
    /// needs the permission to write everything; else they only record. On one machine slots always take them.
    pub workers_advance: bool,
    /// What one worker costs an hour, all its slots together, in millionths of a US dollar; unknown where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_microusd_per_hour: Option<u64>,
    /// What one slot takes while it works, for where that is not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watts: Option<u32>,
}

impl Pool {
    /// What a slot costs for so long, in billionths of a US dollar, where a worker's price is this.
    pub fn cost_nanousd(&self, price_microusd_per_hour: u64, slot_ms: u64) -> u64 {
        let price = u128::from(price_microusd_per_hour);
        // An hour has 3,600,000 ms, and a millionth 1,000 billionths.
        let cost = price * u128::from(slot_ms) / (3_600 * u128::from(self.slots.max(1)));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// What a slot takes in so long, by the power that is given.
    pub fn given_mj(&self, slot_ms: u64) -> Option<u64> {
        Some(u64::from(self.watts?).saturating_mul(slot_ms))
    }
}

/// Between which two clients a proxy of the engine API stands; read by the proxy, not by handlers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineSource {
    /// Where the consensus client calls.
    pub listen: std::net::SocketAddr,
    /// The execution client's engine API, a URL of plain HTTP.
    pub execution: String,
    /// How long the execution client may take for its answer.
    pub timeout_ms: u64,
    /// Bytes of one call.
    pub body_bytes: u64,
    /// Payloads are asked for with their witnesses.
    pub witness: Option<EngineWitness>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineWitness {
    /// A payload whose answer is not there after so long is asked for again without its witness.
    pub wait_ms: u64,
    /// What is kept of witnesses beside the yard's artifacts, in all.
    pub keep_bytes: u64,
    /// A larger one is not kept.
    pub most_bytes: u64,
}

/// Where the chain's nodes are and how they are asked; read by followers, not by handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeSource {
    /// URLs of JSON-RPC over HTTP, the preferred first.
    pub rpc: Vec<String>,
    /// URLs of JSON-RPC over WebSocket, which say at once that there is a new head.
    pub ws: Vec<String>,
    /// Variables of the follower's environment that hold more such URLs: they may have a key in them.
    pub rpc_from: Vec<String>,
    pub ws_from: Vec<String>,
    /// What `eth_chainId` has to answer; where it is not said, what it answered first.
    pub chain_id: Option<u64>,
    /// The hash of the chain's block 0, likewise.
    pub genesis: Option<String>,
    /// How often the newest head is asked for.
    pub poll_ms: u64,
    /// Blocks of one request while the follower catches up.
    pub batch_blocks: u64,
    /// Such requests side by side.
    pub requests_at_once: u64,
}

impl Pipeline {
    pub fn stage(&self, name: &str) -> Option<(usize, &Stage)> {
        self.stages.iter().enumerate().find(|(_, stage)| stage.name == name)
    }

    /// Whether the stage of this name has an action. Its prover and its pool are called so too, and nothing else is.
    pub fn is_action(&self, name: &str) -> bool {
        self.provers.get(name).is_some_and(|prover| prover.contract.is_some())
    }

    /// Whether tasks of an older pipeline have the same kind of pool here: workers, or who makes an action's calls.
    pub(crate) fn keeps_pool(&self, older: &Self, pool: &str) -> bool {
        self.pools.contains_key(pool) && self.is_action(pool) == older.is_action(pool)
    }

    /// Stages that read from stage `index`.
    pub fn readers(&self, index: usize) -> impl Iterator<Item = (usize, &Stage)> {
        self.stages.iter().enumerate().filter(move |(_, stage)| stage.from.contains(&Source::Stage(index)))
    }

    /// The fields by which stages gather the outputs of stage `index`; its prover must report them.
    pub fn match_fields(&self, index: usize) -> impl Iterator<Item = &str> {
        self.readers(index).flat_map(|(_, reader)| reader.match_fields()).map(String::as_str)
    }

    /// Whether a quorum counts the output of stage `index` as a vote.
    pub(crate) fn is_voted_on(&self, index: usize) -> bool {
        self.readers(index).any(|(_, reader)| reader.may_disagree())
    }

    /// Why those who read stage `index` cannot work on such an output, if they cannot: with so many elements, where it is a
    /// list, and with these match fields.
    pub(crate) fn output_fault(
        &self,
        index: usize,
        elements: Option<u32>,
        fields: &BTreeMap<String, String>,
    ) -> Option<String> {
        if self.is_split(index) {
            match elements {
                None => return Some("the next stage splits its output, and it is not a list".into()),
                Some(count) if !(1..=MAX_GROUP_TASKS).contains(&count) => {
                    return Some(format!(
                        "its list has {count} elements; from 1 to {MAX_GROUP_TASKS} may be"
                    ));
                }
                Some(_) => {}
            }
        }
        let lacks = self.match_fields(index).find(|name| !fields.contains_key(*name))?;
        Some(format!("it reports no match field `{lacks}`, which the next stage needs"))
    }

    /// Whether a task is made of each element of the output of stage `index`.
    pub fn is_split(&self, index: usize) -> bool {
        self.readers(index).any(|(_, reader)| reader.splits())
    }

    /// The `sequential` stages, with their rules.
    pub fn cut_stages(&self) -> impl Iterator<Item = (usize, &Stage, &CutRule)> {
        self.stages.iter().enumerate().filter_map(|(index, stage)| Some((index, stage, stage.cut_rule()?)))
    }

    /// The stage whose proofs of cuts by `cut` go to an out log: the last one in that cut.
    pub fn final_stage_of_cut(&self, cut: usize) -> usize {
        (0..self.stages.len()).rev().find(|index| self.stages[*index].cut_by == Some(cut)).unwrap_or(cut)
    }

    /// Heights at which a cut by stage `cut` must end, ascending: where the prover changes of a stage that works on
    /// the cut, or of one whose output of a block goes into it.
    pub fn forks_of_cut(&self, cut: usize) -> Vec<u64> {
        let stages = self.precede(|index| self.stages[index].cut_by == Some(cut)).into_iter();
        let mut forks: Vec<u64> = stages.flat_map(|index| self.stages[index].forks()).collect();
        forks.sort_unstable();
        forks.dedup();
        forks
    }

    /// What a cut by the `sequential` stage of this name gathers: its sources down to the block, with how they are made.
    /// Blocks that were opened with another text can be in one cut only where it says the same; limits and pools may
    /// differ. `None` where no stage of this name makes cuts.
    pub fn gathers(&self, cut_stage: &str) -> Option<String> {
        let (cut, stage) = self.stage(cut_stage)?;
        stage.cut_rule()?;
        let name = |source: &Source| match source {
            Source::Block => "block".to_owned(),
            Source::Stage(index) => self.stages[*index].name.clone(),
        };
        let names = |stage: &Stage| stage.from.iter().map(name).collect::<Vec<_>>();
        let mut made_by = vec![(cut_stage.to_owned(), names(stage), String::new())];
        for index in self.precede(|index| index == cut).into_iter().filter(|index| *index != cut) {
            let stage = &self.stages[index];
            let provers = stage.provers.iter().map(|(from, name)| (from, name, &self.provers[name]));
            let how = (&stage.strategy, stage.output, provers.collect::<Vec<_>>());
            made_by.push((stage.name.clone(), names(stage), serde_json::to_string(&how).ok()?));
        }
        serde_json::to_string(&made_by).ok()
    }

    /// The stages that are `wanted`, and all that they read, directly or not, in dependency order.
    fn precede(&self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut concerned: Vec<bool> = (0..self.stages.len()).map(wanted).collect();
        // A stage stands after all that it reads from.
        for (index, stage) in self.stages.iter().enumerate().rev() {
            if concerned[index] {
                stage.sources().for_each(|source| concerned[source] = true);
            }
        }
        (0..self.stages.len()).filter(|index| concerned[*index]).collect()
    }

    /// The out log that stage `index` writes, where it writes one.
    pub fn log_of(&self, index: usize) -> &str {
        match self.stages[index].cut_by {
            Some(cut) if self.commit_cut() != Some(cut) => &self.stages[cut].name,
            _ => COMMITS,
        }
    }

    /// The sinks that read an out log.
    pub fn sinks_of<'a>(&'a self, log: &'a str) -> impl Iterator<Item = &'a String> {
        let reads = move |sink: &Sink| !sink.is_level() && self.log_of(sink.stage) == log;
        self.sinks.iter().filter(move |(_, sink)| reads(sink)).map(|(name, _)| name)
    }

    /// The `sequential` stage at or before the commit stage, if the pipeline commits by cuts.
    pub fn commit_cut(&self) -> Option<usize> {
        self.stages[self.commit].cut_by
    }
}
