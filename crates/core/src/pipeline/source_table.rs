//! `[source.node]`: the node whose chain is followed, and what is fetched of it with each block.
//!
//! A witness is the output of a stage like any other, so that it is fetched once, retried, timed, kept by its content and shown
//! like any other: `[source.node.witness]` stands for a stage, a prover and a pool, all named `witness`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use toml::de::DeTable;

use super::keys::{SOURCE, WITNESS as WITNESS_KEYS};
use super::mistake::Mistakes;
use super::reader::{At, Entry, Fields, Read, shown};
use super::stage_table::{Kind, RawStage};
use super::tables::Named;
use super::{MAX_MS, NodeSource, Output, Pool, Protocol, Prover, TaskLimits, Verify, arguments};

/// What fetches it, the name of the stage, the prover and the pool.
pub(crate) const WITNESS: &str = "witness";
/// The program that fetches, which `PATH` must have where workers run.
const FETCHES: [&str; 2] = ["proofyard-node", "witness"];

pub(super) struct RawSource {
    pub node: Named<NodeSource>,
    pub witness: Option<RawWitness>,
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
    RawSource { node: Named { name, at, value }, witness }
}

fn read_witness(at: usize, table: &DeTable<'_>, node: &NodeSource, mistakes: &mut Mistakes) -> RawWitness {
    let place = "[source.node.witness]".to_owned();
    let mut fields = Fields::open(place, at, table, WITNESS_KEYS, mistakes);
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
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let limits = TaskLimits {
        max_attempts: small(fields.number_or("max_attempts", 1..=1_000, 10)),
        max_losses: 10,
        max_crashes: 3,
        backoff_ms: 1_000,
        time_limit_ms: fields.number_or("time_limit_ms", 1..=MAX_MS, 120_000),
        total_ms: None,
        hedge_ms: None,
        output_bytes: fields.number_or("output_bytes", 1..=1 << 40, 512 << 20),
        memory_bytes: None,
    };
    let told = [
        ("rpc", json!(node.rpc)),
        ("rpc_from", json!(node.rpc_from)),
        ("method", json!(method)),
        ("time_limit_ms", json!(limits.time_limit_ms)),
        ("params", params),
    ];
    let prover = Prover {
        command: FETCHES.map(str::to_owned).to_vec(),
        protocol: Protocol::Stream,
        verify: Verify::None,
        verification_key: None,
        arguments: told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
        environment: BTreeMap::new(),
        environment_from: node.rpc_from.clone(),
        files: Vec::new(),
        writes: Vec::new(),
    };
    let pool = Pool {
        slots: small(fields.number_or("slots", 1..=4_096, 4)),
        gpus_per_slot: 0,
        lease_ms: 30_000,
        quarantine_after: 5,
        quarantine_ms: 1_000,
        workers_advance: false,
    };
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
    };
    RawWitness {
        stage,
        prover: Named { name: WITNESS.to_owned(), at, value: prover },
        pool: Named { name: WITNESS.to_owned(), at, value: pool },
    }
}

fn urls(fields: &mut Fields<'_, '_>, key: &str, schemes: [&str; 2]) -> Vec<String> {
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

fn variables(fields: &mut Fields<'_, '_>, key: &str) -> Vec<String> {
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
