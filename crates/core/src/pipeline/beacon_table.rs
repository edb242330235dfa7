//! A sink to beacon nodes (`beacon`): what it is, as the file says it, and whose proofs it hands in.
//!
//! Beacon nodes identify zkVM, guest program and version by a one-byte proof type. The pipeline maps each prover's name to one:
//! the operator chooses the name, while a proof system's name is the prover's own claim. A fork that changes the program needs a
//! prover of another name.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Source;
use super::commit::Commit;
use super::graph::{Graph, report_unknown, shown_list};
use super::mistake::Mistakes;
use super::reader::{At, Fields, Read, shown};
use super::sink_table::{RawSink, http_url, variable};
use super::tables::{File, Named};

const MAX_NODES: usize = 8;
/// A proof type is one byte.
const MAX_PROOF_TYPE: u64 = 255;

/// Hands in proofs as EIP-8025 has it, signed by a validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    pub nodes: BeaconNodes,
    /// Under which type each prover's proofs are handed in; those of other provers are not.
    pub proof_types: BTreeMap<String, u8>,
    /// The file with the validator's key, encrypted as EIP-2335 has it.
    pub keystore: String,
    /// The environment's variable with its password.
    pub password_from: String,
    /// A node is asked for it where it is not said.
    pub validator_index: Option<u64>,
    pub time_limit_ms: u64,
}

/// Node URLs or, since a URL may contain an API key, the environment variable that lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeaconNodes {
    Are(Vec<String>),
    From(String),
}

impl Beacon {
    /// The environment's variables that it needs.
    pub fn environment(&self) -> Vec<&str> {
        let nodes = match &self.nodes {
            BeaconNodes::From(name) => Some(name.as_str()),
            BeaconNodes::Are(_) => None,
        };
        nodes.into_iter().chain([self.password_from.as_str()]).collect()
    }
}

/// `None` only where a mistake was found.
pub(super) fn read_beacon(fields: &mut Fields<'_, '_>, time_limit_ms: u64) -> Option<Beacon> {
    fields.require(
        "proof_types",
        "proof_types = { zisk = 1 }: under which type a prover's proofs are handed in",
    );
    fields.require("keystore", "keystore = \"validator.json\", the validator's key as EIP-2335 has it");
    fields.require(
        "password_from",
        "password_from = \"KEYSTORE_PASSWORD\", the variable that holds the keystore's password",
    );
    let (nodes, proof_types) = (nodes(fields), proof_types(fields));
    let keystore = fields.text("keystore").value();
    let password_from = variable("password_from", fields);
    let validator_index = fields.number("validator_index", 0..=u64::MAX >> 11).value();
    Some(Beacon {
        nodes: nodes?,
        proof_types: proof_types?,
        keystore: keystore?,
        password_from: password_from?,
        validator_index,
        time_limit_ms,
    })
}

fn nodes(fields: &mut Fields<'_, '_>) -> Option<BeaconNodes> {
    if let Read::Is(_) = fields.get("beacon_from") {
        return variable("beacon_from", fields).map(BeaconNodes::From);
    }
    let help = "beacon = [\"http://127.0.0.1:5052\"], or several of them";
    let urls = fields.one_or_more_texts("beacon", help).value_at()?;
    if urls.value.len() > MAX_NODES {
        let message = format!("`beacon` names {} nodes", urls.value.len());
        fields.mistakes.add(urls.at, message, format!("at most {MAX_NODES}"));
    }
    Some(BeaconNodes::Are(urls.value.into_iter().map(|url| http_url("beacon", url, fields)).collect()))
}

fn proof_types(fields: &mut Fields<'_, '_>) -> Option<BTreeMap<String, u8>> {
    let help = "a table: proof_types = { zisk = 1 }";
    let Read::Is(table) = fields.table("proof_types", help) else { return None };
    if table.value.is_empty() {
        fields.mistakes.add(table.at, "`proof_types` is empty", help);
    }
    let mut types: BTreeMap<String, u8> = BTreeMap::new();
    // In the order of the file, so that the later one of two is the mistake.
    let mut rows: Vec<_> = table.value.iter().collect();
    rows.sort_by_key(|(prover, _)| prover.span().start);
    for (prover, value) in rows {
        let Some(number) = fields.number_of(&shown(prover.get_ref()), value, 0..=MAX_PROOF_TYPE) else {
            continue;
        };
        if let Some((other, _)) = types.iter().find(|(_, known)| u64::from(**known) == number) {
            let message = format!("two provers have proof type {number}: \"{}\" too", shown(other));
            let help = "a type says which zkVM, program and version it is, so each prover has its own";
            fields.mistakes.add(value.span().start, message, help);
        }
        types.insert(prover.get_ref().to_string(), u8::try_from(number).ok()?);
    }
    Some(types)
}

/// The provers that `proof_types` names, and where.
pub(super) fn named_provers(fields: &Fields<'_, '_>) -> Vec<At<String>> {
    let Read::Is(found) = fields.get("proof_types") else { return Vec::new() };
    let Some(table) = found.value.get_ref().as_table() else { return Vec::new() };
    let names = table.keys().map(|key| (key.get_ref().to_string(), key.span().start));
    let mut names: Vec<At<String>> = names.map(|(value, at)| At { value, key_at: at, at }).collect();
    names.sort_by_key(|name| name.at);
    names
}

/// A mistake if `proof_types` names a prover whose proofs are not handed on, or omits one whose proofs are.
pub(super) fn check_proof_types(
    sink: &Named<RawSink>,
    file: &File,
    graph: &Graph,
    commit: &Commit,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    let named = &sink.value.proof_types;
    if named.is_empty() {
        return;
    }
    let stages = proofs_of(commit.stage, file, graph);
    let provers = stages.iter().filter_map(|stage| file.stages[*stage].provers.is());
    let handed_on: BTreeSet<&str> =
        provers.flat_map(|provers| &provers.value).map(|prover| prover.value.1.as_str()).collect();
    let known: Vec<&str> = file.provers.iter().map(|prover| prover.name.as_str()).collect();
    for prover in named.iter().filter(|prover| !handed_on.contains(prover.value.as_str())) {
        if !known.contains(&prover.value.as_str()) {
            report_unknown("prover", &prover.value, prover.at, &known, mistakes);
            continue;
        }
        let message = format!("proofs of \"{}\" are not handed on", shown(&prover.value));
        let those = shown_list(&handed_on.iter().copied().collect::<Vec<_>>(), ", ");
        mistakes.add(prover.at, message, format!("a block is committed by those of {those}"));
    }
    let left_out = |prover: &&str| !named.iter().any(|named| named.value == **prover);
    let left_out: Vec<&str> = handed_on.into_iter().filter(left_out).collect();
    if !left_out.is_empty() {
        let message = format!("proofs of {} are handed in to no beacon node", shown_list(&left_out, ", "));
        warnings.add(sink.at, message, "give each a type in `proof_types`, where the nodes know one");
    }
}

/// The stages whose proofs commit a block: those that a quorum compares, where it only decides.
fn proofs_of(commit: usize, file: &File, graph: &Graph) -> Vec<usize> {
    if !file.stages[commit].only_decides() {
        return vec![commit];
    }
    let members = graph.links[commit].iter().filter_map(|link| match link.source {
        Source::Stage(stage) => Some(stage),
        Source::Block => None,
    });
    members.collect()
}
