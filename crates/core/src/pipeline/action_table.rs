//! `[stage.NAME]` with an `action`: what is done outside, once what it reads is there and before what reads it.
//!
//! It is a stage like any other, whose tasks are claimed, retried, timed and shown like any other: its prover is a program of the
//! yard's own that calls a contract, and what that came to is the stage's output. Prover and pool have the stage's name.

use serde_json::Map;

use super::contract::Contract;
use super::contract_table::{self, CalledFor};
use super::graph::{Graph, Link, Scope};
use super::keys::CONTRACT;
use super::mistake::Mistakes;
use super::reader::{At, Fields, Read, shown};
use super::source_table::{own_pool, own_prover};
use super::stage_table::{Kind, RawStage};
use super::tables::{File, Named};
use super::template::Template;
use super::{Output, Pool, Prover, Source};

/// In the command of the program that calls contracts: the yard's folder with what its accounts have sent.
pub const ACCOUNTS_FOLDER: &str = "{accounts}";
/// What calls contracts.
const CALLS: &str = "proofyard-contract";

/// Keys that a stage has only with an action, beside those of the contract.
const OF_ACTIONS: [&str; 3] = ["contract", "after", "slots"];
/// What an action has of its own, or has no use for.
const NOT_OF_ACTIONS: [(&str, &str); 4] = [
    ("prover", "it is a program of the yard's own"),
    ("pool", "it has one of its own, with so many `slots`"),
    ("output", "it is data: what the call came to"),
    ("need", "a quorum is of proofs"),
];

/// What a stage does.
#[derive(Clone)]
pub(super) struct Action {
    name: String,
    at: usize,
    slots: u32,
    /// `None` where it lacks what was complained of.
    contract: Option<Contract>,
}

/// Gives the stage its action, if it has one.
pub(super) fn read(stage: &mut RawStage, fields: &mut Fields<'_, '_>) {
    let action = fields.choice("action", &[("contract", ())]);
    if action.is_absent() {
        for key in OF_ACTIONS.iter().chain(CONTRACT) {
            if let Read::Is(found) = fields.get(key) {
                let message = format!("`{key}` has no meaning in a stage that proves");
                fields.mistakes.add(found.key_at, message, "it belongs to action = \"contract\"");
            }
        }
        return;
    }
    for (key, why) in NOT_OF_ACTIONS {
        if let Read::Is(found) = fields.get(key) {
            let message = format!("`{key}` has no meaning beside `action`");
            fields.mistakes.add(found.key_at, message, format!("take it out: {why}"));
        }
    }
    if let Some(kind @ (Kind::Split | Kind::Sequential)) = stage.kind {
        let message = format!("an action in a {} stage", kind.word());
        let help =
            "strategy = \"match\": one call for a block or, from a stage that works on cuts, for a cut";
        fields.mistakes.add(fields.at, message, help);
    }
    fields.require("contract", "contract = \"0x...\", the address of what is called");
    let slots = u32::try_from(fields.number_or("slots", 1..=4_096, 4)).unwrap_or(1);
    let contract = contract_table::read(fields, CalledFor::Task, stage.limits.time_limit_ms);
    let here = |value: String| At { value, key_at: stage.at, at: stage.at };
    let prover = At { value: (0, stage.name.clone()), key_at: stage.at, at: stage.at };
    stage.provers = Read::Is(At { value: vec![prover], key_at: stage.at, at: stage.at });
    stage.pool = Read::Is(here(stage.name.clone()));
    stage.output = Read::Is(At { value: Output::Data, key_at: stage.at, at: stage.at });
    stage.action = Some(Action { name: stage.name.clone(), at: stage.at, slots, contract });
}

impl Action {
    pub(super) fn contract(&self) -> Option<&Contract> {
        self.contract.as_ref()
    }

    pub(super) fn prover(&self) -> Named<Prover> {
        let command = [CALLS, "--journal", ACCOUNTS_FOLDER, "--stage", &self.name];
        let mut environment: Vec<String> = self.contract.iter().flat_map(Contract::environment).collect();
        environment.sort_unstable();
        environment.dedup();
        let told = self.contract.as_ref().and_then(|contract| serde_json::to_value(contract).ok());
        let arguments: Map<_, _> = told.into_iter().map(|told| ("contract".to_owned(), told)).collect();
        let prover = own_prover(&command, arguments, environment);
        let contract = self.contract.clone().map(Box::new);
        Named { name: self.name.clone(), at: self.at, value: Prover { contract, ..prover } }
    }

    pub(super) fn pool(&self) -> Named<Pool> {
        Named { name: self.name.clone(), at: self.at, value: own_pool(self.slots) }
    }
}

/// The names of actions are those of their provers and pools too, which no other stage uses: they hold a key, and run unconfined.
pub(super) fn check(file: &File, graph: &Graph, mistakes: &mut Mistakes) {
    for (index, stage) in file.stages.iter().enumerate() {
        let Some(action) = &stage.action else { continue };
        let provers = file.provers.iter().map(|prover| ("prover", &prover.name, prover.at));
        let pools = file.pools.iter().map(|pool| ("pool", &pool.name, pool.at));
        let of_its_name =
            provers.chain(pools).filter(|(_, name, at)| **name == stage.name && *at != stage.at);
        for (kind, name, at) in of_its_name {
            let message = format!("\"{}\" is the {kind} of the stage with an action", shown(name));
            mistakes.add(at, message, "name it otherwise");
        }
        for other in file.stages.iter().filter(|other| other.action.is_none()) {
            let provers = other.provers.is().into_iter().flat_map(|provers| &provers.value);
            let provers = provers.map(|prover| ("prover", &prover.value.1, prover.at));
            let pool = other.pool.is().map(|pool| ("pool", &pool.value, pool.at));
            for (kind, name, at) in provers.chain(pool).filter(|(_, name, _)| **name == stage.name) {
                let message = format!("\"{}\" is the {kind} of the stage with an action alone", shown(name));
                mistakes.add(at, message, format!("name a {kind} of your own"));
            }
        }
        check_readers(index, file, graph, mistakes);
        if let Some(contract) = &action.contract {
            check_names(contract, index, file, graph, mistakes);
        }
    }
}

/// It gives neither match fields nor a list.
fn check_readers(action: usize, file: &File, graph: &Graph, mistakes: &mut Mistakes) {
    let reads = |index: usize| graph.links[index].iter().any(|link| link.source == Source::Stage(action));
    for (_, reader) in file.stages.iter().enumerate().filter(|(index, _)| reads(*index)) {
        let name = shown(&file.stages[action].name);
        if !reader.on.is_empty() {
            let message = format!("`on` asks for match fields, and \"{name}\" gives none");
            mistakes.add(reader.at, message, "a call's outcome belongs to its block or cut; take `on` out");
        }
        if reader.kind == Some(Kind::Split) {
            let message = format!("a split stage reads a list, and what \"{name}\" gives is none");
            mistakes.add(reader.at, message, "split a block, or what a partitioner's stage writes");
        }
    }
}

/// What its texts name is there when its tasks are.
fn check_names(contract: &Contract, index: usize, file: &File, graph: &Graph, mistakes: &mut Mistakes) {
    let at = file.stages[index].at;
    let templates: Vec<Template> =
        contract.texts().filter_map(|(_, text)| Template::parse(text).ok()).collect();
    let names = |name: &str| templates.iter().flat_map(Template::references).any(|it| it.name == name);
    if matches!(graph.scopes[index], Scope::Cut(_)) && names("hash") {
        let message = "`{hash}` is a block's, and this stage works on cuts";
        mistakes.add(at, message, "`{from}` and `{to}` are the cut's heights");
    }
    let gives_proof = |link: &Link| match link.source {
        Source::Stage(source) => {
            file.stages[source].output.is().is_none_or(|output| output.value == Output::Proof)
        }
        Source::Block => false,
    };
    let of_proofs = ["proof", "public_values", "verification_key"].into_iter().find(|name| names(name));
    if let Some(name) = of_proofs.filter(|_| !graph.links[index].iter().any(gives_proof)) {
        let message = format!("`{{{name}}}` is of a proof, and this stage reads none");
        mistakes.add(at, message, "have it read a stage that proves, in `from`");
    }
}
