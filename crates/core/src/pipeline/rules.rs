//! What makes a pipeline out of tables that are each right by themselves: names that name something, strategies
//! that fit what they read, a commit stage, sinks that have something to read.

use std::collections::BTreeSet;

use super::action_table;
use super::commit::{self, Commit};
use super::contract::Contract;
use super::gathering::{check_gathering, check_runs, check_runs_nothing};
use super::graph::{Graph, Scope, report_unknown};
use super::mistake::Mistakes;
use super::reader::{At, Read, shown};
use super::sink_rules::check_sinks;
use super::sink_table::RawSink;
use super::source_table::{SourceTable, WITNESS};
use super::stage_table::{Kind, RawStage};
use super::suggest;
use super::tables::{File, Named};
use super::{
    Confirm, Header, Output, Pipeline, Prover, Quorum, Sink, SinkTarget, Source, Stage, Strategy, Verify,
};

/// `None` only where a mistake was found.
pub(super) fn settle(file: File, mistakes: &mut Mistakes, warnings: &mut Mistakes) -> Option<Pipeline> {
    if file.stages.is_empty() {
        return None;
    }
    check_workers(&file, mistakes, warnings);
    check_blocks(&file, warnings);
    let mut graph = Graph::new(&file.stages, mistakes);
    let before = mistakes.len();
    for index in 0..file.stages.len() {
        check_gathering(index, &file.stages, &graph, mistakes, warnings);
    }
    graph.sound &= mistakes.len() == before;
    let commit = commit::settle(&file, &graph, mistakes, warnings);
    check_sinks(&file, &graph, commit.as_ref(), mistakes, warnings);
    check_sources(&file, mistakes);
    action_table::check(&file, &graph, mistakes);
    if !mistakes.is_empty() {
        return None;
    }
    assemble(file, &graph, &commit?)
}

/// The names that sources have.
const NODE: &str = "node";
const ENGINE: &str = "engine";

/// The fields of Ethereum's blocks, as its nodes name them. Other chains have more.
const BLOCK_FIELDS: [&str; 29] = [
    "baseFeePerGas",
    "blobGasUsed",
    "blockAccessListHash",
    "difficulty",
    "excessBlobGas",
    "extraData",
    "gasLimit",
    "gasUsed",
    "hash",
    "logsBloom",
    "miner",
    "mixHash",
    "nonce",
    "number",
    "parentBeaconBlockRoot",
    "parentHash",
    "receiptsRoot",
    "requestsHash",
    "sha3Uncles",
    "size",
    "slotNumber",
    "stateRoot",
    "timestamp",
    "totalDifficulty",
    "transactions",
    "transactionsRoot",
    "uncles",
    "withdrawals",
    "withdrawalsRoot",
];

/// What is asked of blocks, which are not known yet.
fn check_blocks(file: &File, warnings: &mut Mistakes) {
    if let Some(At { value: Header::Trusted, at, .. }) =
        file.chain.as_ref().and_then(|chain| chain.header.is())
    {
        let help =
            "whoever brings blocks is believed; leave it out where headers are hashed as Ethereum's are";
        warnings.add(*at, "the hashes of blocks are not checked: `header` is \"trusted\"", help);
    }
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let by_cuts =
        file.stages.iter().flat_map(|stage| &stage.block_fields).map(|field| (field.value.clone(), field.at));
    let by_sinks = file.sinks.iter().flat_map(|sink| match &sink.value.target {
        Some(SinkTarget::Contract(contract)) => named_at(contract, sink.at),
        _ => Vec::new(),
    });
    let by_actions = file.stages.iter().flat_map(|stage| {
        stage
            .action
            .iter()
            .flat_map(|action| action.contract())
            .flat_map(|contract| named_at(contract, stage.at))
    });
    for (name, at) in by_cuts.chain(by_sinks).chain(by_actions) {
        if BLOCK_FIELDS.contains(&name.as_str()) {
            continue;
        }
        let same = BLOCK_FIELDS.into_iter().find(|known| plain(known) == plain(&name));
        if let Some(meant) = same.or_else(|| suggest::closest(&name, BLOCK_FIELDS)) {
            let message = format!("blocks of Ethereum have no `{}`", shown(&name));
            warnings.add(
                at,
                message,
                format!("did you mean \"{meant}\"? Fields are named as nodes name them"),
            );
        }
    }
}

fn named_at(contract: &Contract, at: usize) -> Vec<(String, usize)> {
    contract.block_fields().into_iter().map(|field| (field, at)).collect()
}

/// Provers and pools: there where a stage names them, named where they are there.
fn check_workers(file: &File, mistakes: &mut Mistakes, warnings: &mut Mistakes) {
    let provers: Vec<&str> = file.provers.iter().map(|prover| prover.name.as_str()).collect();
    let pools: Vec<&str> = file.pools.iter().map(|pool| pool.name.as_str()).collect();
    let start_height = file.chain.as_ref().and_then(|chain| chain.start_height);
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut used_pools: BTreeSet<&str> = BTreeSet::new();
    let mut believed: BTreeSet<&str> = BTreeSet::new();
    for stage in &file.stages {
        if stage.only_decides() {
            check_runs_nothing(stage, mistakes);
        } else {
            check_runs(stage, mistakes);
        }
        let named = stage.provers.is().map(|provers| provers.value.as_slice()).unwrap_or_default();
        for At { value: (_, name), at, .. } in named {
            used.insert(name);
            if !matches!(stage.output.is(), Some(At { value: Output::Data, .. })) {
                believed.insert(name);
            }
            if !provers.contains(&name.as_str()) {
                report_unknown("prover", name, *at, &provers, mistakes);
            }
        }
        if let (Some(first), Some(start)) = (named.first(), start_height)
            && first.value.0 > start
        {
            let message =
                format!("no prover before height {}, but the chain starts at {start}", first.value.0);
            mistakes.add(first.at, message, format!("the first from_height is at most {start}"));
        }
        if let Read::Is(pool) = &stage.pool {
            used_pools.insert(&pool.value);
            if !pools.contains(&pool.value.as_str()) {
                report_unknown("pool", &pool.value, pool.at, &pools, mistakes);
            }
        }
    }
    for Named { name, at, value } in &file.provers {
        if !used.contains(name.as_str()) {
            let message = format!("no stage uses prover \"{}\"", shown(name));
            warnings.add(*at, message, "name it in a stage, or take it out");
        } else if value.verify == Verify::None && believed.contains(name.as_str()) {
            let message = format!("prover \"{}\" is believed without a verifier", shown(name));
            warnings.add(
                *at,
                message,
                "leave `verify` out to have its own command verify each proof in another process",
            );
        }
    }
    for Named { name, at, .. } in file.pools.iter().filter(|pool| !used_pools.contains(pool.name.as_str())) {
        let message = format!("no stage uses pool \"{}\"", shown(name));
        warnings.add(*at, message, "name it in a stage, or take it out");
    }
}

/// Provers of proofs that are accepted under any key, and those that judge their own: one note for all of a kind.
pub(super) fn note_trust(file: &File, notes: &mut Mistakes) {
    let is_proof = |stage: &&RawStage| !matches!(stage.output.is(), Some(At { value: Output::Data, .. }));
    let named = file.stages.iter().filter(is_proof).filter_map(|stage| stage.provers.is());
    let proving: BTreeSet<&str> =
        named.flat_map(|provers| &provers.value).map(|prover| prover.value.1.as_str()).collect();
    let verified = || {
        let provers = file.provers.iter().filter(|prover| proving.contains(prover.name.as_str()));
        provers.filter(|prover| prover.value.verify != Verify::None)
    };
    let mut note = |provers: Vec<&Named<Prover>>, what: &str, help: &str| {
        let Some(first) = provers.first() else { return };
        let names: Vec<&str> = provers.iter().map(|prover| prover.name.as_str()).collect();
        let noun = if names.len() == 1 { "prover" } else { "provers" };
        notes.add(first.at, format!("{what} {noun} {}", super::graph::shown_list(&names, ", ")), help);
    };
    note(
        verified().filter(|prover| prover.value.verification_key.is_none()).collect(),
        "no `verification_key` is pinned for",
        "pin the key that counts (a prover's `setup` names it), or see to it that the verifier accepts no other: a true proof \
         of another program proves nothing here",
    );
    note(
        verified().filter(|prover| prover.value.verify == Verify::Same).collect(),
        "proofs are verified by the very command that makes them, of",
        "it is another process, and the same program: `verify = [...]` names one of its own where there is one",
    );
}

/// A chain has one source beside files and webhooks, whose blocks name no segments.
fn check_sources(file: &File, mistakes: &mut Mistakes) {
    for Named { name, at, .. } in &file.sources {
        if name != NODE && name != ENGINE {
            let message = format!("there is no source \"{}\"", shown(name));
            let help =
                "sources are a node that is followed, [source.node], and a consensus client, [source.engine]";
            mistakes.add(*at, message, help);
        }
    }
    if let [_, second, ..] = file.sources.as_slice() {
        let message = "a chain has one source, and this names two";
        mistakes.add(second.at, message, "keep [source.node] or [source.engine]");
    }
    let Some(source) = file.sources.first() else { return };
    let stages = file.stages.iter().map(|stage| (&stage.name, stage.at));
    let provers = file.provers.iter().map(|prover| (&prover.name, prover.at));
    let pools = file.pools.iter().map(|pool| (&pool.name, pool.at));
    for (kind, mut named) in
        [("stage", stages.collect::<Vec<_>>()), ("prover", provers.collect()), ("pool", pools.collect())]
    {
        named.retain(|(name, _)| *name == WITNESS);
        if let [(_, first), (_, second), ..] = named.as_slice()
            && file.sources.len() == 1
        {
            let table = shown(&source.name);
            let message = format!("\"{WITNESS}\" is the {kind} that [source.{table}.witness] makes");
            mistakes.add(*first.max(second), message, "name it otherwise");
        }
    }
    let of_blocks = |stage: &&RawStage| {
        let from = stage.from.is().map(|from| from.value.as_slice()).unwrap_or_default();
        stage.kind == Some(Kind::Split)
            && !from.is_empty()
            && from.iter().all(|source| source.value == "block")
    };
    for stage in file.stages.iter().filter(of_blocks) {
        let message = format!("\"{}\" splits blocks into the segments that they name", shown(&stage.name));
        let help = match source.value {
            SourceTable::Node(_) => {
                "a node's blocks name none: split the list that a partitioner's stage writes"
            }
            SourceTable::Engine(_) => "payloads name none: split the list that a partitioner's stage writes",
        };
        mistakes.add(stage.at, message, help);
    }
}

fn assemble(file: File, graph: &Graph, commit: &Commit) -> Option<Pipeline> {
    let place = |index: usize| graph.order.iter().position(|stage| *stage == index);
    let mut stages: Vec<Option<RawStage>> = file.stages.into_iter().map(Some).collect();
    let mut settled = Vec::new();
    for index in &graph.order {
        let raw = stages[*index].take()?;
        let from: Option<Vec<Source>> = graph.links[*index]
            .iter()
            .map(|link| match link.source {
                Source::Block => Some(Source::Block),
                Source::Stage(source) => place(source).map(Source::Stage),
            })
            .collect();
        let cut_by = match graph.scopes[*index] {
            Scope::Block => None,
            Scope::Cut(by) => Some(place(by)?),
            Scope::Unknown => return None,
        };
        settled.push(Stage {
            strategy: strategy(&raw)?,
            from: from?,
            cut_by,
            after_commit: *index != commit.stage && !graph.precedes(*index, commit.stage),
            depth: graph.depths[*index],
            provers: raw.provers.or(Vec::new()).into_iter().map(|prover| prover.value).collect(),
            pool: raw.pool.or(String::new()),
            output: raw.output.or(Output::Proof),
            limits: raw.limits,
            name: raw.name,
        });
    }
    let sink = |sink: Named<RawSink>| {
        let named = match sink.value.stage {
            Read::Is(named) => settled.iter().position(|stage| stage.name == named.value)?,
            _ => place(commit.stage)?,
        };
        let RawSink { from, confirm, follows, every_ms, target, .. } = sink.value;
        let confirm = confirm.or(Confirm::Latest);
        Some((sink.name, Sink { stage: named, from, confirm, follows, every_ms, target: target? }))
    };
    let (node, engine) = match file.sources.into_iter().next().map(|source| source.value) {
        Some(SourceTable::Node(node)) => (Some(node), None),
        // It lacks what was complained of.
        Some(SourceTable::Engine(engine)) => (None, Some(engine?)),
        None => (None, None),
    };
    Some(Pipeline {
        chain: file.chain?.settled()?,
        commit: place(commit.stage)?,
        provers: file.provers.into_iter().map(|prover| (prover.name, prover.value)).collect(),
        pools: file.pools.into_iter().map(|pool| (pool.name, pool.value)).collect(),
        sinks: file.sinks.into_iter().map(sink).collect::<Option<_>>()?,
        node,
        engine,
        stages: settled,
    })
}

fn strategy(raw: &RawStage) -> Option<Strategy> {
    Some(match raw.kind? {
        Kind::Split => Strategy::Split,
        Kind::Sequential => Strategy::Sequential(raw.cut.clone()?),
        Kind::Match => {
            let cancel_rest = matches!(raw.cancel_rest, Read::Is(At { value: true, .. }));
            let need = raw.need.is().and_then(|need| u32::try_from(need.value).ok());
            Strategy::Match { on: raw.on.clone(), quorum: need.map(|need| Quorum { need, cancel_rest }) }
        }
    })
}
