//! `[sink.NAME]` as the file says it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::MAX_MS;
use super::arguments;
use super::beacon_table::{named_provers, read_beacon};
use super::contract_table::{self, CalledFor};
use super::keys::{CONTRACT, SINK, joined};
use super::mistake::Mistakes;
use super::reader::{At, Entry, Fields, Read, shown};
use super::sink::{
    AwsTarget, BlockWord, Confirm, EndpointUrl, EntryKind, Ethproofs, Follows, SinkFrom, SinkTarget,
    VARIABLE, Webhook, placeholders,
};
use super::tables::Named;

pub(super) struct RawSink {
    pub stage: Read<String>,
    pub from: SinkFrom,
    pub confirm: Read<Confirm>,
    pub follows: Follows,
    pub every_ms: Option<u64>,
    pub target: Option<SinkTarget>,
    /// The provers that `proof_types` names.
    pub proof_types: Vec<At<String>>,
}

/// Each key that says who is told, with what else belongs to it.
const TARGETS: [(&str, &[&str]); 9] = [
    ("file", &[]),
    ("command", &["each", "time_limit_ms", "environment_from"]),
    ("webhook", &["each", "time_limit_ms", "secret_from", "body"]),
    ("ethproofs", &["time_limit_ms", "cluster_id", "token_from"]),
    ("beacon", &["time_limit_ms", "proof_types", "keystore", "password_from", "validator_index"]),
    ("contract", &joined::<{ 2 + CONTRACT.len() }>(&["time_limit_ms", "every_ms"], CONTRACT)),
    ("sqs", &[]),
    ("sns", &[]),
    ("eventbridge", &[]),
];
/// The same for a URL that a variable of the environment holds.
const URLS: [(&str, &str); 3] =
    [("webhook_from", "webhook"), ("ethproofs_from", "ethproofs"), ("beacon_from", "beacon")];
/// Those that are notified of blocks, and of which words: for these it is no choice.
const REPORTS: [(&str, &[BlockWord], &str); 2] = [
    (
        "ethproofs",
        &[BlockWord::Arrived, BlockWord::Started, BlockWord::Accepted],
        "take it out: a block is queued, proving, then proved",
    ),
    ("beacon", &[BlockWord::Accepted], "take it out: a block's proofs are handed in once they are accepted"),
];

const ENTRY_KINDS: [(&str, EntryKind); 2] = [("proof", EntryKind::Proof), ("retract", EntryKind::Retract)];
const BLOCK_WORDS: [(&str, BlockWord); 6] = [
    ("arrived", BlockWord::Arrived),
    ("started", BlockWord::Started),
    ("accepted", BlockWord::Accepted),
    ("committed", BlockWord::Committed),
    ("missed", BlockWord::Missed),
    ("retracted", BlockWord::Retracted),
];
/// What a body's braces may hold, beside `{env.NAME}`: of an entry, and of a block.
const OF_ENTRIES: [&str; 8] = ["key", "chain", "log", "sequence", "kind", "from", "to", "hash"];
const OF_BLOCKS: [&str; 5] = ["key", "chain", "word", "height", "hash"];

const VARIABLES: &str = "environment_from = [\"L1_KEY\"], variables of the environment that the program gets";

/// An answer that takes longer is none.
const TIME_LIMIT_MS: u64 = 30_000;

pub(super) fn read_sink(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<RawSink> {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[sink.{}]", shown(&name)), at, keys, SINK, mistakes);
    let kind = target_kind(&mut fields);
    let each_block = match fields.choice("each", &[("entry", false), ("block", true)]).value() {
        Some(each_block) => each_block,
        None => REPORTS.iter().any(|(report, ..)| kind == Some(report)),
    };
    let follows = match each_block {
        false => Follows::Log(events(&mut fields, &ENTRY_KINDS)),
        true => Follows::Blocks(block_words(&mut fields, kind)),
    };
    let confirm = fields.choice(
        "confirm",
        &[("latest", Confirm::Latest), ("safe", Confirm::Safe), ("finalized", Confirm::Finalized)],
    );
    if each_block {
        for (key, why) in [
            ("stage", "blocks are told of, not a stage's log"),
            ("confirm", "what is told of a block is told at once, and followed by `retracted`"),
        ] {
            if let Read::Is(found) = fields.get(key) {
                let message = format!("`{key}` has no meaning where each block is told of");
                fields.mistakes.add(found.key_at, message, format!("take it out: {why}"));
            }
        }
    }
    let from = fields.choice("from", &[("start", SinkFrom::Start), ("now", SinkFrom::Now)]);
    let from = from.value().unwrap_or(SinkFrom::Start);
    let every_ms = fields.number("every_ms", 1..=MAX_MS).value();
    if let Read::Is(found) = fields.get("every_ms")
        && !follows.has(EntryKind::Proof)
    {
        let message = "`every_ms` has no meaning where no proofs are told of";
        fields.mistakes.add(found.key_at, message, "name \"proof\" in `events` too, or take it out");
    }
    let target = kind.and_then(|kind| target(kind, each_block, &mut fields));
    let stage = if each_block { Read::Absent } else { fields.text("stage") };
    let proof_types = if kind == Some("beacon") { named_provers(&fields) } else { Vec::new() };
    Named { name, at, value: RawSink { stage, from, confirm, follows, every_ms, target, proof_types } }
}

/// Which one of [`TARGETS`] it is; complains of none, of several, and of what belongs to another.
fn target_kind(fields: &mut Fields<'_, '_>) -> Option<&'static str> {
    let named = TARGETS.iter().map(|(kind, _)| (*kind, *kind)).chain(URLS);
    let named: Vec<(&str, &'static str)> = named.filter(|(key, _)| !fields.get(key).is_absent()).collect();
    let Some((key, kind)) = named.first().copied() else {
        let help = "one of file = \"out.jsonl\", command = [\"./submit\"], webhook = \"https://...\", ethproofs = \
                    \"https://...\", beacon = [\"http://...\"] and contract = \"0x...\", or on AWS sqs = \"https://...\", \
                    sns = \"arn:...\" and eventbridge = \"BUS\"";
        let message = format!("{} says nobody who is told", fields.place);
        fields.mistakes.add(fields.at, message, help);
        return None;
    };
    if let Some((other, _)) = named.get(1)
        && let Read::Is(found) = fields.get(other)
    {
        let message = format!("`{other}` stands beside `{key}` in {}", fields.place);
        fields.mistakes.add(found.key_at, message, "give each a sink of its own");
    }
    let belongs = TARGETS.iter().find(|(other, _)| *other == kind).map_or(&[][..], |(_, keys)| keys);
    for (_, keys) in TARGETS {
        for other in keys.iter().filter(|other| !belongs.contains(other)) {
            if let Read::Is(found) = fields.get(other) {
                let owners: Vec<String> = TARGETS
                    .iter()
                    .filter(|(_, keys)| keys.contains(other))
                    .map(|(owner, _)| format!("`{owner}`"))
                    .collect();
                let message = format!("`{other}` has no meaning beside `{kind}`");
                fields.mistakes.add(found.key_at, message, format!("it belongs to {}", owners.join(" and ")));
            }
        }
    }
    Some(kind)
}

/// Which of these are wanted: all, where nothing is said.
fn events<T: Copy + Ord>(fields: &mut Fields<'_, '_>, known: &[(&'static str, T)]) -> BTreeSet<T> {
    let words: Vec<String> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let help = format!("a list of {}", words.join(", "));
    let Read::Is(wanted) = fields.one_or_more_texts("events", &help) else {
        return known.iter().map(|(_, event)| *event).collect();
    };
    let mut events = BTreeSet::new();
    for word in wanted.value {
        match known.iter().find(|(name, _)| *name == word.value) {
            Some((_, event)) => {
                events.insert(*event);
            }
            None => {
                let message = format!("`events` holds \"{}\"", shown(&word.value));
                fields.mistakes.add(word.at, message, help.clone());
            }
        }
    }
    events
}

fn block_words(fields: &mut Fields<'_, '_>, kind: Option<&str>) -> BTreeSet<BlockWord> {
    let Some((kind, words, help)) = REPORTS.iter().find(|(report, ..)| kind == Some(report)) else {
        let words = events(fields, &BLOCK_WORDS);
        if let Read::Is(found) = fields.get("events")
            && words == BTreeSet::from([BlockWord::Retracted])
        {
            let message = "only what was told is taken back, and nothing else is told here";
            fields.mistakes.add(found.at, message, "name \"committed\" too, or what else is to be told");
        }
        return words;
    };
    if let Read::Is(found) = fields.get("events") {
        fields.mistakes.add(found.key_at, format!("`events` has no meaning beside `{kind}`"), *help);
    }
    words.iter().copied().collect()
}

fn target(kind: &str, each_block: bool, fields: &mut Fields<'_, '_>) -> Option<SinkTarget> {
    let time_limit_ms = match kind {
        "file" | "contract" | "sqs" | "sns" | "eventbridge" => 0,
        _ => fields.number_or("time_limit_ms", 1..=MAX_MS, TIME_LIMIT_MS),
    };
    Some(match kind {
        "file" => SinkTarget::File { path: fields.text("file").value()? },
        "command" => {
            let command =
                fields.texts("command", "command = [\"./submit\", \"--chain\", \"mine\"]").value()?;
            let command = command.into_iter().map(|word| word.value).collect();
            let environment_from = match fields.one_or_more_texts("environment_from", VARIABLES) {
                Read::Is(names) => names.value.into_iter().map(|name| variable_name(name, fields)).collect(),
                _ => Vec::new(),
            };
            SinkTarget::Command { command, environment_from, time_limit_ms }
        }
        "webhook" => SinkTarget::Webhook(Webhook {
            url: url("webhook", fields)?,
            secret_from: variable("secret_from", fields),
            body: body(each_block, fields),
            time_limit_ms,
        }),
        "sqs" => {
            let url = fields.text("sqs").value_at()?;
            SinkTarget::Aws(AwsTarget::Sqs(http_url("sqs", url, fields)))
        }
        "sns" => SinkTarget::Aws(AwsTarget::Sns(topic(fields)?)),
        "eventbridge" => SinkTarget::Aws(AwsTarget::Eventbridge(fields.text("eventbridge").value()?)),
        "contract" => {
            let time_limit_ms = contract_table::time_limit_ms(fields);
            let contract = contract_table::read(fields, CalledFor::Entry, time_limit_ms)?;
            SinkTarget::Contract(Box::new(contract))
        }
        "beacon" => SinkTarget::Beacon(read_beacon(fields, time_limit_ms)?),
        _ => {
            fields.require("cluster_id", "cluster_id = 7, the number that the server gave the cluster");
            fields.require(
                "token_from",
                "token_from = \"ETHPROOFS_TOKEN\", the variable that holds the API key",
            );
            SinkTarget::Ethproofs(Ethproofs {
                url: url("ethproofs", fields)?,
                cluster_id: fields.number("cluster_id", 0..=u64::MAX >> 11).value()?,
                token_from: variable("token_from", fields)?,
                time_limit_ms,
            })
        }
    })
}

fn url(key: &str, fields: &mut Fields<'_, '_>) -> Option<EndpointUrl> {
    let from = format!("{key}_from");
    if let Read::Is(_) = fields.get(&from) {
        return variable(&from, fields).map(EndpointUrl::From);
    }
    fields.text(key).value_at().map(|url| EndpointUrl::Is(http_url(key, url, fields)))
}

fn topic(fields: &mut Fields<'_, '_>) -> Option<String> {
    let topic = fields.text("sns").value_at()?;
    let is_topic = topic.value.split(':').nth(2) == Some("sns") && topic.value.starts_with("arn:");
    if !is_topic {
        let message = format!("`sns` is \"{}\"", shown(&topic.value));
        fields.mistakes.add(topic.at, message, "a topic's ARN: arn:aws:sns:REGION:ACCOUNT:NAME");
    }
    Some(topic.value)
}

pub(super) fn http_url(key: &str, url: At<String>, fields: &mut Fields<'_, '_>) -> String {
    if !["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme)) {
        let message = format!("`{key}` is \"{}\"", shown(&url.value));
        fields.mistakes.add(url.at, message, "a URL that begins with https:// or http://");
    }
    url.value
}

/// The name of a variable of the environment.
pub(super) fn variable(key: &str, fields: &mut Fields<'_, '_>) -> Option<String> {
    fields.text(key).value_at().map(|name| variable_name(name, fields))
}

fn variable_name(name: At<String>, fields: &mut Fields<'_, '_>) -> String {
    if !name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let message = format!("\"{}\" is no variable's name", shown(&name.value));
        fields.mistakes.add(name.at, message, "the name of a variable of the environment, not what it holds");
    }
    name.value
}

fn body(each_block: bool, fields: &mut Fields<'_, '_>) -> Option<Map<String, Json>> {
    let Read::Is(table) = fields.table("body", "a table: body = { text = \"{chain}: {from} to {to}\" }")
    else {
        return None;
    };
    let body = arguments::read_table(table.value, fields);
    let known: &[&str] = if each_block { &OF_BLOCKS } else { &OF_ENTRIES };
    let names = body.values().flat_map(placeholders);
    if let Some(name) = names.into_iter().find(|name| !known.contains(name) && !name.starts_with(VARIABLE)) {
        let message = format!("`body` holds {{{}}}", shown(name));
        let help = format!("braces may hold {} and env.NAME", known.join(", "));
        fields.mistakes.add(table.at, message, help);
    }
    Some(body)
}
