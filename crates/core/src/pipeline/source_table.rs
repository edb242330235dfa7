//! `[source.node]`: the node whose chain is followed.

use super::keys::SOURCE;
use super::mistake::Mistakes;
use super::reader::{At, Entry, Fields, Read, shown};
use super::tables::Named;
use super::{MAX_MS, NodeSource};

/// Endpoints of one kind.
const MAX_ENDPOINTS: usize = 16;
/// As many as nodes take in one request.
const MAX_BATCH_BLOCKS: u64 = 256;
const MAX_REQUESTS_AT_ONCE: u64 = 32;

pub(super) fn read_source(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<NodeSource> {
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
    Named { name, at, value }
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
