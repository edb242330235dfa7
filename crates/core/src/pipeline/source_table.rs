//! `[source.node]`: the node whose chain is followed; `[source.engine]`: the consensus client whose payloads are the blocks; and
//! what comes of each with a block.
//!
//! A witness is the output of a stage like any other, so that it is fetched once, retried, timed, kept by its content and shown
//! like any other: `[source.node.witness]` stands for a stage, a prover and a pool, all named `witness`. So does
//! `[source.engine.witness]`, whose prover fetches from the proxy what came with the payload. The same prover runs a node's `command`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value as Json, json};
use toml::de::DeTable;

use super::keys::{ENGINE, ENGINE_WITNESS, SOURCE, WITNESS as WITNESS_KEYS};
use super::mistake::Mistakes;
use super::prover_table::read_environment_from;
use super::reader::{At, Entry, Fields, Read, shown};
use super::stage_table::{Kind, RawStage};
use super::tables::Named;
use super::{
    EngineSource, EngineWitness, MAX_MS, NodeSource, Output, Pool, Protocol, Prover, TaskLimits, Verify,
    arguments,
};

/// What fetches it, the name of the stage, the prover and the pool.
pub(crate) const WITNESS: &str = "witness";
/// The program that fetches, which `PATH` must have where workers run.
const FETCHES: [&str; 2] = ["proofyard-node", "witness"];

/// What the engine proxy answers the witness's prover by itself.
const FROM_PROXY: &str = "proofyard_witness";

pub(super) struct RawSource {
    pub source: Named<SourceTable>,
    pub witness: Option<RawWitness>,
}

pub(super) enum SourceTable {
    Node(NodeSource),
    /// `None` where it lacks what it cannot do without.
    Engine(Option<EngineSource>),
}

/// What a witness's table stands for.
pub(super) struct RawWitness {
    pub stage: RawStage,
    pub prover: Named<Prover>,
    pub pool: Named<Pool>,
}

/// Endpoints of one kind.
const MAX_ENDPOINTS: usize = 16;
/// As many as nodes take in one request.
const MAX_BATCH_BLOCKS: u64 = 256;
const MAX_REQUESTS_AT_ONCE: u64 = 32;

pub(super) fn read_source(entry: Entry<'_>, mistakes: &mut Mistakes) -> RawSource {
    if entry.name == "engine" { read_engine(entry, mistakes) } else { read_node(entry, mistakes) }
}

fn read_node(entry: Entry<'_>, mistakes: &mut Mistakes) -> RawSource {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[source.{}]", shown(&name)), at, keys, SOURCE, mistakes);
    let rpc = urls(&mut fields, "rpc", ["http://", "https://"]);
    let ws = urls(&mut fields, "ws", ["ws://", "wss://"]);
    let rpc_from = variables(&mut fields, "rpc_from");
    let ws_from = variables(&mut fields, "ws_from");
    if fields.get("rpc").is_absent() && fields.get("rpc_from").is_absent() {
        let help = "rpc = [\"http://127.0.0.1:8545\"], where the node answers JSON-RPC over HTTP";
        fields.require("rpc", help);
    }
    let genesis = fields.text("genesis");
    if let Read::Is(genesis) = &genesis
        && !is_hash(&genesis.value)
    {
        let message = format!("`genesis` is \"{}\"", shown(&genesis.value));
        fields.mistakes.add(genesis.at, message, "the hash of block 0: 0x and 64 digits");
    }
    let value = NodeSource {
        rpc,
        ws,
        rpc_from,
        ws_from,
        chain_id: fields.number("chain_id", 1..=u64::MAX >> 1).value(),
        genesis: genesis.value().map(|hash| hash.to_ascii_lowercase()),
        poll_ms: fields.number_or("poll_ms", 50..=MAX_MS, 2_000),
        batch_blocks: fields.number_or("batch_blocks", 1..=MAX_BATCH_BLOCKS, 16),
        requests_at_once: fields.number_or("requests_at_once", 1..=MAX_REQUESTS_AT_ONCE, 4),
    };
    let witness = match fields.table("witness", "a table: [source.node.witness]") {
        Read::Is(table) => Some(read_witness(table.key_at, table.value, &value, fields.mistakes)),
        _ => None,
    };
    RawSource { source: Named { name, at, value: SourceTable::Node(value) }, witness }
}

fn read_engine(entry: Entry<'_>, mistakes: &mut Mistakes) -> RawSource {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[source.{}]", shown(&name)), at, keys, ENGINE, mistakes);
    fields.choice("kind", &[("engine-proxy", ())]);
    fields.require(
        "kind",
        "kind = \"engine-proxy\": it stands between a consensus client and its execution client",
    );
    fields.require("listen", "listen = \"127.0.0.1:8551\", where the consensus client calls");
    fields.require("execution", "execution = \"http://127.0.0.1:8552\", the execution client's engine API");
    let listen = read_listen(&mut fields);
    let execution = read_execution(&mut fields, listen);
    let timeout_ms = fields.number_or("timeout_ms", 1..=MAX_MS, 30_000);
    let body_bytes = fields.number_or("body_bytes", 1..=1 << 32, 128 << 20);
    let witness = match fields.table("witness", "a table: [source.engine.witness]") {
        Read::Is(table) => Some(read_engine_witness(table.key_at, table.value, listen, fields.mistakes)),
        _ => None,
    };
    let (kept, witness) = witness.map_or((None, None), |(kept, witness)| (Some(kept), Some(witness)));
    let value = listen.zip(execution).map(|(listen, execution)| EngineSource {
        listen,
        execution,
        timeout_ms,
        body_bytes,
        witness: kept,
    });
    RawSource { source: Named { name, at, value: SourceTable::Engine(value) }, witness }
}

fn read_listen(fields: &mut Fields<'_, '_>) -> Option<SocketAddr> {
    let listen = fields.text("listen").value_at()?;
    let parsed: Option<SocketAddr> = listen.value.parse().ok();
    if parsed.is_none_or(|address| address.port() == 0) {
        let message = format!("`listen` is \"{}\"", shown(&listen.value));
        fields.mistakes.add(
            listen.at,
            message,
            "an address of this machine and a port, as in 127.0.0.1:8551",
        );
    }
    parsed
}

fn read_execution(fields: &mut Fields<'_, '_>, listen: Option<SocketAddr>) -> Option<String> {
    let execution = fields.text("execution").value_at()?;
    let authority = execution.value.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let message = format!("`execution` is \"{}\"", shown(&execution.value));
    match authority {
        Some(authority) if !authority.is_empty() && !authority.contains(['@', ' ']) => {
            if listen.is_some_and(|listen| authority == listen.to_string()) {
                let help = "it is where this listens: the execution client needs another port";
                fields.mistakes.add(execution.at, message, help);
            }
        }
        _ => {
            let help =
                "a URL that begins with http://, as in http://127.0.0.1:8552: engine APIs speak no TLS";
            fields.mistakes.add(execution.at, message, help);
        }
    }
    Some(execution.value)
}

fn read_engine_witness(
    at: usize,
    table: &DeTable<'_>,
    listen: Option<SocketAddr>,
    mistakes: &mut Mistakes,
) -> (EngineWitness, RawWitness) {
    let place = "[source.engine.witness]".to_owned();
    let mut fields = Fields::open(place, at, table, ENGINE_WITNESS, mistakes);
    let rpc = urls(&mut fields, "rpc", ["http://", "https://"]);
    let rpc_from = variables(&mut fields, "rpc_from");
    let wait_ms = fields.number_or("wait_ms", 1..=MAX_MS, 3_000);
    let keep_bytes = fields.number_or("keep_bytes", 1 << 20..=1 << 50, 16 << 30);
    let guest_chain_id = read_encoding(&mut fields);
    let limits = witness_limits(&mut fields);
    let slots = witness_slots(&mut fields);
    // Whoever fetches is on this machine.
    let from = listen.map(|mut listen| {
        match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{listen}")
    });
    let mut told = vec![
        ("rpc", json!([from])),
        ("rpc_from", json!([])),
        ("method", json!(FROM_PROXY)),
        ("params", json!(["{hash}"])),
        ("time_limit_ms", json!(limits.time_limit_ms)),
    ];
    if !rpc.is_empty() || !rpc_from.is_empty() {
        let otherwise = json!({
            "rpc": rpc,
            "rpc_from": rpc_from,
            "method": "debug_executionWitness",
            "params": ["{height}"],
        });
        told.push(("otherwise", otherwise));
    }
    if let Some(chain_id) = guest_chain_id {
        told.push(("guest_chain_id", json!(chain_id)));
    }
    let kept = EngineWitness { wait_ms, keep_bytes, most_bytes: limits.output_bytes };
    (kept, witness_of(at, told, rpc_from, limits, slots))
}

fn read_witness(at: usize, table: &DeTable<'_>, node: &NodeSource, mistakes: &mut Mistakes) -> RawWitness {
    let place = "[source.node.witness]".to_owned();
    let mut fields = Fields::open(place, at, table, WITNESS_KEYS, mistakes);
    let command = read_witness_command(&mut fields);
    let method = fields.text("method").or("debug_executionWitness".to_owned());
    let params = match fields.get("params") {
        Read::Is(params) if params.value.get_ref().is_array() => {
            arguments::read_value("params", params.value, &mut fields).unwrap_or_default()
        }
        Read::Is(params) => {
            fields.wrong_type("params", params.value, "a list, as in params = [\"{height}\"]");
            Json::Null
        }
        _ => json!(["{height}"]),
    };
    let environment_from = read_environment_from(&mut fields);
    if let Read::Is(encoding) = fields.get("encoding") {
        let help = "a node's block has neither its access list nor its requests, which a guest's input needs: \
                    take payloads, from [source.engine], or a `command` that says such an input";
        fields.mistakes.add(encoding.key_at, "`encoding` has no meaning in [source.node.witness]", help);
    }
    let limits = witness_limits(&mut fields);
    let slots = witness_slots(&mut fields);
    let told = match command {
        Some(command) => vec![("command", json!(command))],
        None => vec![
            ("rpc", json!(node.rpc)),
            ("rpc_from", json!(node.rpc_from)),
            ("method", json!(method)),
            ("time_limit_ms", json!(limits.time_limit_ms)),
            ("params", params),
        ],
    };
    let mut variables = node.rpc_from.clone();
    variables.extend(environment_from.into_iter().filter(|name| !node.rpc_from.contains(name)));
    witness_of(at, told, variables, limits, slots)
}

/// A program that is started for each block, in the place of a node that is asked.
fn read_witness_command(fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let command = match fields
        .texts("command", "command = [\"./witness\", \"{hash}\"]: the program, then its arguments")
    {
        Read::Is(command) => command,
        Read::Bad => return Some(Vec::new()),
        Read::Absent => {
            if let Read::Is(names) = fields.get("environment_from") {
                let help = "a node is asked with the variables of `rpc_from`";
                fields.mistakes.add(
                    names.key_at,
                    "`environment_from` has no meaning without `command`",
                    help,
                );
            }
            return None;
        }
    };
    if command.value.first().is_none_or(|program| program.value.trim().is_empty()) {
        let help = "the program, then its arguments, as in [\"./witness\", \"{hash}\"]";
        fields.mistakes.add(command.at, "`command` names no program", help);
    }
    for key in ["method", "params"] {
        if let Read::Is(asked) = fields.get(key) {
            let message = format!("`{key}` has no meaning beside `command`");
            fields.mistakes.add(
                asked.key_at,
                message,
                "it says what a node is asked: leave it out, or `command`",
            );
        }
    }
    Some(command.value.into_iter().map(|word| word.value).collect())
}

/// The chain's id, where provers are given the input of EIP-8025's guest, which it is part of, in the place of a witness.
fn read_encoding(fields: &mut Fields<'_, '_>) -> Option<u64> {
    let encoding = fields.choice("encoding", &[("json", false), ("ssz", true)]);
    let chain_id = fields.number("chain_id", 0..=u64::MAX >> 1);
    let is_guest_input = matches!(encoding, Read::Is(At { value: true, .. }));
    match (&encoding, &chain_id) {
        (Read::Is(At { value: true, .. }), _) => {
            fields.require("chain_id", "chain_id = 1, which the guest's input has in it")
        }
        (Read::Absent | Read::Is(_), Read::Is(chain_id)) => {
            let help = "with encoding = \"ssz\" it is part of what provers get";
            fields.mistakes.add(chain_id.key_at, "`chain_id` has no meaning in a witness of JSON", help);
        }
        _ => {}
    }
    chain_id.value().filter(|_| is_guest_input)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn witness_slots(fields: &mut Fields<'_, '_>) -> u32 {
    small(fields.number_or("slots", 1..=4_096, 4))
}

fn witness_limits(fields: &mut Fields<'_, '_>) -> TaskLimits {
    TaskLimits {
        max_attempts: small(fields.number_or("max_attempts", 1..=1_000, 10)),
        max_losses: 10,
        max_crashes: 3,
        backoff_ms: 1_000,
        time_limit_ms: fields.number_or("time_limit_ms", 1..=MAX_MS, 120_000),
        total_ms: None,
        hedge_ms: None,
        output_bytes: fields.number_or("output_bytes", 1..=1 << 40, 512 << 20),
        memory_bytes: None,
    }
}

/// The stage that fetches, its prover and its pool; `told` is what the prover hears.
fn witness_of(
    at: usize,
    told: Vec<(&str, Json)>,
    environment_from: Vec<String>,
    limits: TaskLimits,
    slots: u32,
) -> RawWitness {
    let told = told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let prover = own_prover(&FETCHES, told, environment_from);
    let pool = own_pool(slots);
    let here = |value: String| At { value, key_at: at, at };
    let stage = RawStage {
        name: WITNESS.to_owned(),
        at,
        kind: Some(Kind::Match),
        from: Read::Is(At { value: vec![here("block".to_owned())], key_at: at, at }),
        provers: Read::Is(At {
            value: vec![At { value: (0, WITNESS.to_owned()), key_at: at, at }],
            key_at: at,
            at,
        }),
        pool: Read::Is(here(WITNESS.to_owned())),
        output: Read::Is(At { value: Output::Data, key_at: at, at }),
        on: Vec::new(),
        need: Read::Absent,
        cancel_rest: Read::Absent,
        size: Read::Absent,
        cut: None,
        block_fields: Vec::new(),
        limits,
        limit_key: None,
        action: None,
    };
    RawWitness {
        stage,
        prover: Named { name: WITNESS.to_owned(), at, value: prover },
        pool: Named { name: WITNESS.to_owned(), at, value: pool },
    }
}

/// One of the yard's programs, whose output is data.
pub(super) fn own_prover(
    command: &[&str],
    arguments: Map<String, Json>,
    environment_from: Vec<String>,
) -> Prover {
    Prover {
        command: command.iter().map(|&part| part.to_owned()).collect(),
        protocol: Protocol::Stream,
        verify: Verify::None,
        verification_key: None,
        arguments,
        environment: BTreeMap::new(),
        environment_from,
        files: Vec::new(),
        writes: Vec::new(),
        contract: None,
    }
}

/// Where it works: in a process that is there anyway, which costs nothing more.
pub(super) fn own_pool(slots: u32) -> Pool {
    Pool {
        slots,
        gpus_per_slot: 0,
        lease_ms: 30_000,
        quarantine_after: 5,
        quarantine_ms: 1_000,
        workers_advance: false,
        price_microusd_per_hour: Some(0),
        watts: Some(0),
    }
}

pub(super) fn urls(fields: &mut Fields<'_, '_>, key: &str, schemes: [&str; 2]) -> Vec<String> {
    let help = format!("{key} = [\"{}127.0.0.1:8545\"]", schemes[0]);
    let urls = few(fields, key, &help);
    for url in &urls {
        if !schemes.iter().any(|scheme| url.value.starts_with(scheme)) {
            let message = format!("`{key}` holds \"{}\"", shown(&url.value));
            let right = format!("a URL that begins with {} or {}", schemes[0], schemes[1]);
            fields.mistakes.add(url.at, message, right);
        }
    }
    urls.into_iter().map(|url| url.value).collect()
}

pub(super) fn variables(fields: &mut Fields<'_, '_>, key: &str) -> Vec<String> {
    let names =
        few(fields, key, &format!("{key} = [\"NODE_URL\"], variables of the environment that hold URLs"));
    for name in &names {
        if name.value.contains('=') || name.value.contains("://") {
            let message = format!("`{key}` holds \"{}\"", shown(&name.value));
            fields.mistakes.add(name.at, message, "the name of a variable, not what it holds");
        }
    }
    names.into_iter().map(|name| name.value).collect()
}

fn few(fields: &mut Fields<'_, '_>, key: &str, help: &str) -> Vec<At<String>> {
    let texts = fields.one_or_more_texts(key, help).value().unwrap_or_default();
    if let Some(too_many) = texts.get(MAX_ENDPOINTS) {
        let message = format!("`{key}` has {} entries", texts.len());
        fields.mistakes.add(too_many.at, message, format!("at most {MAX_ENDPOINTS}"));
    }
    texts
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
