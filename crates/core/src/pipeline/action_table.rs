//! `[stage.NAME]` with an `action`: what is done outside, once what it reads is there and before what reads it.
//!
//! It is a stage like any other, whose tasks are claimed, retried, timed and shown like any other: its prover is a program of the
//! yard's own that calls a contract, and what that came to is the stage's output. Prover and pool have the stage's name.

use serde_json::Map;

use super::contract::Contract;
use super::contract_table::{self, CalledFor};
use super::mistake::Mistakes;
use super::reader::{At, Fields, Read, shown};
use super::source_table::{own_pool, own_prover};
use super::stage_table::{Kind, RawStage};
use super::tables::{File, Named};
use super::{Output, Pool, Prover};

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
        let of_contract = contract_table::KEYS.iter().filter(|key| **key != "time_limit_ms");
        for key in OF_ACTIONS.iter().chain(of_contract) {
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

/// The names of actions are those of their provers and pools too.
pub(super) fn check(file: &File, mistakes: &mut Mistakes) {
    for stage in file.stages.iter().filter(|stage| stage.action.is_some()) {
        let provers = file.provers.iter().map(|prover| ("prover", &prover.name, prover.at));
        let pools = file.pools.iter().map(|pool| ("pool", &pool.name, pool.at));
        let of_its_name =
            provers.chain(pools).filter(|(_, name, at)| **name == stage.name && *at != stage.at);
        for (kind, name, at) in of_its_name {
            let message = format!("\"{}\" is the {kind} of the stage with an action", shown(name));
            mistakes.add(at, message, "name it otherwise");
        }
    }
}
