//! A contract's keys in `[sink.NAME]` and in a `[stage.NAME]` with an action, and the tables of what is read.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::MAX_MS;
use super::arguments;
use super::contract::{
    AccountKey, BLOCK, Comparison, Condition, Contract, ContractRead, ENVIRONMENT, RESULTS,
};
use super::keys::CONTRACT_READ;
use super::reader::{At, Fields, Read, Value, shown};
use super::sink::EndpointUrl;
use super::source_table::{urls, variables};
use super::template::{Reference, Template};

/// For what a contract is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CalledFor {
    Entry,
    Task,
}

/// What an entry, and who signs, give to a template.
const OF_ENTRY: [&str; 13] = [
    "key",
    "chain",
    "log",
    "sequence",
    "from",
    "to",
    "hash",
    "proof",
    "public_values",
    "verification_key",
    "account",
    BLOCK,
    RESULTS,
];
/// What a task gives, and who signs.
const OF_TASK: [&str; 10] =
    ["task", "chain", "from", "to", "hash", "proof", "public_values", "verification_key", "account", BLOCK];
/// What a transaction gives to what is read behind it.
const OF_TRANSACTION: [&str; 2] = ["transaction", "included"];

impl CalledFor {
    fn gives(self) -> &'static [&'static str] {
        match self {
            Self::Entry => &OF_ENTRY,
            Self::Task => &OF_TASK,
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Entry => "sink",
            Self::Task => "stage",
        }
    }
}

/// What may stand in braces.
struct Known {
    given: Vec<&'static str>,
    reads: Vec<String>,
}

impl Known {
    fn has(&self, name: &str) -> bool {
        self.given.contains(&name) || self.reads.iter().any(|read| read == name)
    }
}

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::AtMost,
    Comparison::More,
    Comparison::AtLeast,
];

/// Long enough for a block to come.
const TIME_LIMIT_MS: u64 = 120_000;
/// As deep as proposers of rollups commonly wait.
const CONFIRMATIONS: u64 = 10;
/// Nodes that keep no archive answer of states up to 128 blocks old.
const MAX_CONFIRMATIONS: u64 = 120;
/// Three slots: then what was offered is too little.
const REPLACE_AFTER_MS: u64 = 36_000;

const CONDITION: &str = "done_if = [\"{latest}\", \">=\", \"{to}\"], or a list of such";

/// How long a sink's transaction is waited for.
pub(super) fn time_limit_ms(fields: &mut Fields<'_, '_>) -> u64 {
    fields.number_or("time_limit_ms", 1..=MAX_MS, TIME_LIMIT_MS)
}

/// `None` where it lacks what it cannot do without.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    called_for: CalledFor,
    time_limit_ms: u64,
) -> Option<Contract> {
    fields.require("chain_id", "chain_id = 1: nothing is sent to another chain");
    fields.require("function", "function = \"submit(uint256 height, bytes proof)\", as Solidity declares it");
    let rpc = endpoints(fields, true);
    let key = account_key(fields);
    let mut known = Known { given: called_for.gives().to_vec(), reads: Vec::new() };
    let reads = reads(fields, "read", called_for, &mut known);
    let arguments = match fields.get("arguments") {
        Read::Absent => Vec::new(),
        _ => texts(fields, "arguments", &known, "arguments = [\"{to}\", \"{proof}\"]"),
    };
    let value = fields.text("value").value_at().map(|text| template(text, "value", &known, fields));
    let done_if = conditions(fields, "done_if", &known);
    let send_if = conditions(fields, "send_if", &known);
    let errors = match fields.get("errors") {
        Read::Absent => Vec::new(),
        _ => {
            let errors = fields.texts("errors", "errors = [\"NotYet(uint256)\"], as Solidity declares them");
            errors.value().unwrap_or_default().into_iter().map(|error| error.value).collect()
        }
    };
    let confirmations = fields.number_or("confirmations", 1..=MAX_CONFIRMATIONS, CONFIRMATIONS);
    let max_fee_gwei = fields.number("max_fee_gwei", 1..=1_000_000_000).value();
    let replace_after_ms = fields.number_or("replace_after_ms", 1..=MAX_MS, REPLACE_AFTER_MS);
    let after = match called_for {
        CalledFor::Entry => BTreeMap::new(),
        CalledFor::Task => {
            known.given.extend(OF_TRANSACTION);
            self::reads(fields, "after", called_for, &mut known)
        }
    };
    Some(Contract {
        address: address("contract", fields)?,
        rpc,
        chain_id: fields.number("chain_id", 1..=u64::MAX >> 1).value()?,
        key: key?,
        function: function(fields)?,
        arguments,
        value,
        done_if,
        send_if,
        reads,
        after,
        errors,
        confirmations,
        max_fee_gwei,
        replace_after_ms,
        time_limit_ms,
        covers_below: called_for == CalledFor::Entry && !fields.get("every_ms").is_absent(),
    })
}

/// The URLs of `rpc`, and the variables of `rpc_from`.
fn endpoints(fields: &mut Fields<'_, '_>, is_required: bool) -> Vec<EndpointUrl> {
    if is_required && fields.get("rpc").is_absent() && fields.get("rpc_from").is_absent() {
        fields.require(
            "rpc",
            "rpc = [\"http://127.0.0.1:8545\"], where a node of the contract's chain answers",
        );
    }
    let written = urls(fields, "rpc", ["http://", "https://"]).into_iter().map(EndpointUrl::Is);
    written.chain(variables(fields, "rpc_from").into_iter().map(EndpointUrl::From)).collect()
}

fn account_key(fields: &mut Fields<'_, '_>) -> Option<AccountKey> {
    let help = "key_from = \"PROPOSER_KEY\", a variable with 32 bytes in hex, or key_file = \"proposer.json\", or \
                key_kms = \"arn:aws:kms:...\"";
    if let Read::Is(kms) = fields.text("key_kms") {
        return kms_key(kms, fields);
    }
    let (from, file) = (fields.get("key_from"), fields.get("key_file"));
    match (from, file) {
        (Read::Absent, Read::Absent) => {
            fields.require("key_from", help);
            None
        }
        (Read::Is(_), Read::Is(file)) => {
            let message = format!("`key_file` stands beside `key_from` in {}", fields.place);
            fields.mistakes.add(file.key_at, message, "one account signs: name its key once");
            None
        }
        (Read::Absent, _) => {
            let password_from = fields.text("password_from").value();
            Some(AccountKey::File { path: fields.text("key_file").value()?, password_from })
        }
        _ => {
            if let Read::Is(password) = fields.get("password_from") {
                let message = "`password_from` has no meaning beside `key_from`";
                fields.mistakes.add(password.key_at, message, "it opens a `key_file`");
            }
            fields.text("key_from").value().map(AccountKey::From)
        }
    }
}

/// A key of AWS KMS by its ARN, which says the region; an alias's ARN may come to mean another key.
fn kms_key(kms: At<String>, fields: &mut Fields<'_, '_>) -> Option<AccountKey> {
    for other in ["key_from", "key_file", "password_from"] {
        if let Read::Is(found) = fields.get(other) {
            let message = format!("`{other}` stands beside `key_kms` in {}", fields.place);
            fields.mistakes.add(found.key_at, message, "one account signs: name its key once");
        }
    }
    let parts: Vec<&str> = kms.value.split(':').collect();
    let is_key = matches!(parts[..], ["arn", _, "kms", region, account, key]
        if !region.is_empty() && !account.is_empty() && key.starts_with("key/"));
    if !is_key {
        let message = format!("`key_kms` is \"{}\"", shown(&kms.value));
        let help = "the ARN of a key: \"arn:aws:kms:us-east-1:111122223333:key/...\"";
        fields.mistakes.add(kms.at, message, help);
    }
    Some(AccountKey::Kms(kms.value))
}

/// The tables below this key. They may name each other and what is known; from then on they are known too.
fn reads(
    fields: &mut Fields<'_, '_>,
    key: &str,
    called_for: CalledFor,
    known: &mut Known,
) -> BTreeMap<String, ContractRead> {
    let what = format!(
        "tables: [{}.NAME.{key}.latest] with function = \"latest() returns (uint256)\"",
        called_for.table()
    );
    let Read::Is(table) = fields.table(key, &what) else { return BTreeMap::new() };
    let mut named: Vec<_> = table.value.iter().collect();
    named.sort_by_key(|(key, _)| key.span().start);
    let names: Vec<String> = named.iter().map(|(key, _)| key.get_ref().to_string()).collect();
    let earlier = std::mem::take(&mut known.reads);
    known.reads = earlier.iter().cloned().chain(names).collect();
    let of_transaction = OF_TRANSACTION.into_iter().filter(|_| called_for == CalledFor::Task);
    let taken: Vec<&str> = called_for.gives().iter().copied().chain(of_transaction).collect();
    let mut reads = BTreeMap::new();
    for (name_key, value) in named {
        let (name, at) = (name_key.get_ref().to_string(), name_key.span().start);
        let is_name =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name || taken.contains(&name.as_str()) || name == ENVIRONMENT || earlier.contains(&name) {
            let message = format!("a read is called \"{}\"", shown(&name));
            let help = match earlier.contains(&name) {
                true => "each has a name of its own, also behind the transaction".to_owned(),
                false => {
                    format!("lower-case letters, digits and `_`, and not {}, {ENVIRONMENT}", taken.join(", "))
                }
            };
            fields.mistakes.add(at, message, help);
        }
        let Some(keys) = value.get_ref().as_table() else {
            fields.wrong_type(&name, value, "a table with `function` or `method`");
            continue;
        };
        let place = format!("{}.{key}.{}]", fields.place.trim_end_matches(']'), shown(&name));
        let mut of_read = Fields::open(place, at, keys, CONTRACT_READ, fields.mistakes);
        if let Some(read) = read_of(&mut of_read, known) {
            reads.insert(name, read);
        }
    }
    if let Some(name) = in_a_circle(&reads) {
        let message = format!("read \"{}\" needs itself", shown(&name));
        fields.mistakes.add(table.key_at, message, "a read may name those that do not name it");
    }
    reads
}

fn read_of(fields: &mut Fields<'_, '_>, known: &Known) -> Option<ContractRead> {
    let is_call = !fields.get("function").is_absent();
    if is_call != fields.get("method").is_absent() {
        let message = format!("{} is neither a contract's view nor a node's method", fields.place);
        let message = if is_call { format!("{} is two things", fields.place) } else { message };
        fields.mistakes.add(fields.at, message, "one of function = \"...\" and method = \"...\"");
        return None;
    }
    let (here, others): (_, [&str; 2]) =
        if is_call { ("function", ["params", "rpc"]) } else { ("method", ["arguments", "contract"]) };
    for other in others {
        if let Read::Is(found) = fields.get(other) {
            let message = format!("`{other}` has no meaning beside `{here}`");
            fields.mistakes.add(found.key_at, message, "take it out");
        }
    }
    if is_call {
        let address = match fields.text("contract") {
            Read::Is(text) if text.value.contains('{') => Some(template(text, "contract", known, fields)),
            Read::Absent => None,
            _ => Some(address("contract", fields)?),
        };
        let arguments = match fields.get("arguments") {
            Read::Absent => Vec::new(),
            _ => texts(fields, "arguments", known, "arguments = [\"{to}\"]"),
        };
        return Some(ContractRead::Call { address, function: function(fields)?, arguments });
    }
    let params = match fields.get("params") {
        Read::Is(params) if params.value.get_ref().is_array() => {
            let read = arguments::read_value("params", params.value, fields).unwrap_or_default();
            for text in super::contract::texts_in(&read) {
                let text = At { value: text.to_owned(), key_at: params.key_at, at: params.at };
                template(text, "params", known, fields);
            }
            read
        }
        Read::Is(params) => {
            fields.wrong_type("params", params.value, "a list, as in params = [\"{to:hex}\"]");
            Json::Null
        }
        _ => Json::Array(Vec::new()),
    };
    Some(ContractRead::Rpc { rpc: endpoints(fields, false), method: fields.text("method").value()?, params })
}

/// A read that, in the end, names itself.
fn in_a_circle(reads: &BTreeMap<String, ContractRead>) -> Option<String> {
    let named = |name: &str| -> Vec<String> {
        let texts = reads.get(name).map(ContractRead::texts).unwrap_or_default();
        let templates = texts.into_iter().filter_map(|text| Template::parse(text).ok());
        templates
            .flat_map(|template| template.references().map(|each| each.name.clone()).collect::<Vec<_>>())
            .collect()
    };
    reads
        .keys()
        .find(|name| {
            let (mut seen, mut next) = (Vec::new(), named(name));
            while let Some(other) = next.pop() {
                if other == **name {
                    return true;
                }
                if !seen.contains(&other) {
                    next.extend(named(&other));
                    seen.push(other);
                }
            }
            false
        })
        .cloned()
}

fn address(key: &str, fields: &mut Fields<'_, '_>) -> Option<String> {
    let address = fields.text(key).value_at()?;
    let digits = address.value.strip_prefix("0x").unwrap_or_default();
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("`{key}` is \"{}\"", shown(&address.value));
        fields.mistakes.add(address.at, message, "a contract's address: 0x and 40 digits");
    }
    Some(address.value)
}

/// Its types are read by the program that calls it.
fn function(fields: &mut Fields<'_, '_>) -> Option<String> {
    let function = fields.text("function").value_at()?;
    let name = function.value.split('(').next().unwrap_or_default();
    if name.trim().is_empty()
        || name.len() == function.value.len()
        || !function.value.trim_end().ends_with(')')
    {
        let message = format!("`function` is \"{}\"", shown(&function.value));
        let help = "a function as Solidity declares it: \"submit(uint256 height, bytes proof)\"";
        fields.mistakes.add(function.at, message, help);
    }
    Some(function.value)
}

fn texts(fields: &mut Fields<'_, '_>, key: &str, known: &Known, help: &str) -> Vec<String> {
    let texts = fields.texts(key, help).value().unwrap_or_default();
    texts.into_iter().map(|text| template(text, key, known, fields)).collect()
}

/// A text, of which every brace is known.
fn template(text: At<String>, key: &str, known: &Known, fields: &mut Fields<'_, '_>) -> String {
    match Template::parse(&text.value) {
        Err(what) => {
            let help =
                "values stand in braces, as in {to}, {from-1}, {proof}, {public_values[0..32]}, {to:hex}";
            fields.mistakes.add(text.at, format!("`{key}` holds {}", shown(&what)), help);
        }
        Ok(template) => {
            let is_known = |reference: &&Reference| {
                match reference.name.as_str() {
                    ENVIRONMENT => reference.path.len() == 1,
                    // Not the whole of it.
                    BLOCK => !reference.path.is_empty(),
                    name => known.has(name),
                }
            };
            if let Some(unknown) = template.references().find(|reference| !is_known(reference)) {
                let message = format!("`{key}` holds {{{}}}", shown(&unknown.name));
                let given = known.given.iter().map(|name| match *name {
                    BLOCK => format!("{BLOCK}.FIELD"),
                    name => name.to_owned(),
                });
                let given: Vec<String> = given.collect();
                let help = format!(
                    "braces may hold {}, {ENVIRONMENT}.NAME and the names of reads",
                    given.join(", ")
                );
                fields.mistakes.add(text.at, message, help);
            }
        }
    }
    text.value
}

fn conditions(fields: &mut Fields<'_, '_>, key: &str, known: &Known) -> Vec<Condition> {
    let Read::Is(found) = fields.get(key) else { return Vec::new() };
    let Some(list) = found.value.get_ref().as_array() else {
        fields.wrong_type(key, found.value, CONDITION);
        return Vec::new();
    };
    let is_one = list.iter().all(|item| item.get_ref().is_str());
    let each: Vec<&Value<'_>> = if is_one { vec![found.value] } else { list.iter().collect() };
    each.into_iter().filter_map(|each| condition(fields, key, each, known)).collect()
}

fn condition(fields: &mut Fields<'_, '_>, key: &str, value: &Value<'_>, known: &Known) -> Option<Condition> {
    let at = value.span().start;
    let list = value.get_ref().as_array();
    let parts: Vec<&str> = list.into_iter().flatten().filter_map(|part| part.get_ref().as_str()).collect();
    let is_three = list.is_some_and(|list| list.len() == 3);
    let [left, sign, right] = if is_three { &parts[..] } else { &[] }[..] else {
        fields.mistakes.add(at, format!("`{key}` holds what is no comparison"), CONDITION);
        return None;
    };
    let is = COMPARISONS.into_iter().find(|comparison| comparison.sign() == sign);
    let Some(is) = is else {
        let signs = COMPARISONS.map(Comparison::sign).join(", ");
        fields.mistakes.add(
            at,
            format!("`{key}` compares by \"{}\"", shown(sign)),
            format!("one of {signs}"),
        );
        return None;
    };
    let mut side = |text: &str| template(At { value: text.to_owned(), key_at: at, at }, key, known, fields);
    Some(Condition { left: side(left), is, right: side(right) })
}
