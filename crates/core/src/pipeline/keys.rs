//! The keys that a pipeline file's tables may have.

pub(super) const ROOT: &[&str] = &["chain", "source", "stage", "prover", "pool", "sink"];
pub(super) const CHAIN: &[&str] = &[
    "name",
    "start_height",
    "window",
    "late",
    "deadline_ms",
    "lane",
    "real_time",
    "tick_ms",
    "commit",
    "header",
    "strict",
];
pub(super) const PROVER: &[&str] = &[
    "command",
    "protocol",
    "payload",
    "verify",
    "verification_key",
    "arguments",
    "environment",
    "environment_from",
    "files",
    "writes",
];
/// One of a prover's files.
pub(super) const FILE: &[&str] = &["name", "sha256", "bytes"];
pub(super) const POOL: &[&str] = &[
    "slots",
    "gpus_per_slot",
    "lease_ms",
    "quarantine_after",
    "quarantine_ms",
    "advance",
    "price_usd_per_hour",
    "watts",
];
/// A node that is followed.
pub(super) const SOURCE: &[&str] = &[
    "rpc",
    "ws",
    "rpc_from",
    "ws_from",
    "chain_id",
    "genesis",
    "poll_ms",
    "batch_blocks",
    "requests_at_once",
    "witness",
];
/// What is fetched with each block.
pub(super) const WITNESS: &[&str] = &[
    "method",
    "params",
    "command",
    "environment_from",
    "encoding",
    "slots",
    "max_attempts",
    "time_limit_ms",
    "output_bytes",
];
/// A consensus client whose calls go through here.
pub(super) const ENGINE: &[&str] = &["kind", "listen", "execution", "timeout_ms", "body_bytes", "witness"];
/// What the execution client gives with each payload.
pub(super) const ENGINE_WITNESS: &[&str] = &[
    "wait_ms",
    "keep_bytes",
    "encoding",
    "chain_id",
    "rpc",
    "rpc_from",
    "slots",
    "max_attempts",
    "time_limit_ms",
    "output_bytes",
];
pub(super) const SINK: &[&str] = &joined::<{ OF_SINKS.len() + CONTRACT.len() }>(OF_SINKS, CONTRACT);
const OF_SINKS: &[&str] = &[
    "file",
    "command",
    "webhook",
    "webhook_from",
    "ethproofs",
    "ethproofs_from",
    "beacon",
    "beacon_from",
    "contract",
    "sqs",
    "sns",
    "eventbridge",
    "stage",
    "from",
    "confirm",
    "each",
    "events",
    "every_ms",
    "time_limit_ms",
    "environment_from",
    "secret_from",
    "body",
    "cluster_id",
    "token_from",
    "proof_types",
    "keystore",
    "validator_index",
];
/// What a call of a contract may have, a sink's and a stage's, beside `contract` itself.
pub(super) const CONTRACT: &[&str] = &[
    "rpc",
    "rpc_from",
    "chain_id",
    "key_from",
    "key_file",
    "key_kms",
    "password_from",
    "function",
    "arguments",
    "value",
    "done_if",
    "send_if",
    "read",
    "errors",
    "confirmations",
    "max_fee_gwei",
    "replace_after_ms",
];
/// What whoever calls a contract asks before it sends, and a stage behind it too.
pub(super) const CONTRACT_READ: &[&str] =
    &["function", "contract", "arguments", "method", "params", "rpc", "rpc_from"];
pub(super) const STAGE: &[&str] = &joined::<{ OF_STAGES.len() + CONTRACT.len() }>(OF_STAGES, CONTRACT);
const OF_STAGES: &[&str] = &[
    "strategy",
    "from",
    "prover",
    "pool",
    "output",
    "on",
    "need",
    "after_need",
    "size",
    "arity",
    "budget",
    "max_wait_ms",
    "cut_on",
    "max_attempts",
    "max_losses",
    "max_crashes",
    "backoff_ms",
    "time_limit_ms",
    "total_ms",
    "hedge_ms",
    "output_bytes",
    "memory_bytes",
    "action",
    "slots",
    "contract",
    "after",
];
/// A prover of a stage, from a height on.
pub(super) const CHOSEN_PROVER: &[&str] = &["prover", "from_height"];

/// Where a key belongs that stands elsewhere.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    ("[chain]", CHAIN),
    ("[source.node]", SOURCE),
    ("[source.node.witness]", WITNESS),
    ("[source.engine]", ENGINE),
    ("[source.engine.witness]", ENGINE_WITNESS),
    ("[stage.NAME]", STAGE),
    ("[prover.NAME]", PROVER),
    ("[pool.NAME]", POOL),
    ("[sink.NAME]", SINK),
    ("[sink.NAME.read.NAME]", CONTRACT_READ),
    ("[stage.NAME.read.NAME]", CONTRACT_READ),
];

/// Two lists as one; as many as both have.
pub(super) const fn joined<const BOTH: usize>(
    first: &[&'static str],
    second: &[&'static str],
) -> [&'static str; BOTH] {
    let mut all = [""; BOTH];
    let mut index = 0;
    while index < BOTH {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}
