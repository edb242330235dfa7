//! The tables of a pipeline file, read one by one: what each key may hold, and its default.
//!
//! Names are only gathered here; [`super::rules`] says whether they name anything.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::arguments;
use super::files;
use super::keys::{CHAIN, POOL, PROVER, ROOT, SINK, TABLES};
use super::mistake::Mistakes;
use super::reader::{At, Entry, Fields, Read, shown};
use super::stage_table::RawStage;
use super::suggest;
use super::{
    Chain, Header, Late, MAX_HEIGHT, MAX_MS, MAX_WINDOW, PINNED_KEY, Pool, Protocol, Prover, SinkFrom,
    SinkTarget, Verify,
};
use crate::judge::JUDGE_POOL;
use crate::record::MAX_VERIFICATION_KEY_BYTES;
use crate::state::COMMITS;

pub(super) const MAX_STAGES: usize = 64;
/// Provers, pools or sinks of one file.
const MAX_OTHERS: usize = 256;
const MAX_LEASE_MS: u64 = 86_400_000;
/// A proof that names a longer one is refused.
const MAX_KEY_BYTES: usize = MAX_VERIFICATION_KEY_BYTES;

/// What the file says, table by table, in file order.
#[derive(Default)]
pub(super) struct File {
    pub chain: Option<RawChain>,
    pub stages: Vec<RawStage>,
    pub provers: Vec<Named<Prover>>,
    pub pools: Vec<Named<Pool>>,
    pub sinks: Vec<Named<RawSink>>,
    /// There is more than may be looked at.
    pub too_large: bool,
}

pub(super) struct Named<T> {
    pub name: String,
    pub at: usize,
    pub value: T,
}

pub(super) struct RawChain {
    pub at: usize,
    pub name: Option<String>,
    pub start_height: Option<u64>,
    pub window: Read<u64>,
    pub late: Option<Late>,
    /// Where `late` stands, or the chain.
    pub late_at: usize,
    pub lane: u64,
    pub tick_ms: u64,
    pub strict: bool,
    pub commit: Read<String>,
    pub header: Read<Header>,
}

pub(super) struct RawSink {
    pub stage: Read<String>,
    pub from: SinkFrom,
    pub target: Option<SinkTarget>,
}

impl File {
    pub(super) fn read(root: &DeTable<'_>, mistakes: &mut Mistakes) -> Self {
        let mut file = Self::default();
        let mut tables: Vec<_> = root.iter().collect();
        tables.sort_by_key(|(key, _)| key.span().start);
        let mut stages_explained = false;
        for (key, value) in tables {
            let at = key.span().start;
            let Some(kind) = known_table(key.get_ref(), at, mistakes) else { continue };
            let before = mistakes.len();
            match value.get_ref().as_table() {
                Some(table) => file.read_table(kind, at, table, mistakes),
                None => {
                    let right =
                        if kind == "chain" { "[chain]".to_string() } else { format!("[{kind}.NAME]") };
                    let message = format!("`{}` is not a table", shown(key.get_ref()));
                    mistakes.add(at, message, format!("write {right}"));
                }
            }
            stages_explained |= kind == "stage" && mistakes.len() > before;
        }
        if file.chain.is_none() && !root.contains_key("chain") {
            mistakes.add(0, "`[chain]` is missing", "[chain] with `name`, `start_height` and `window`");
        }
        if file.stages.is_empty() && !stages_explained {
            let at = file.chain.as_ref().map_or(0, |chain| chain.at);
            let help = "[stage.NAME] with `strategy`, `from`, `prover` and `pool`";
            mistakes.add(at, "no stage is there", help);
        }
        file
    }

    fn read_table(&mut self, kind: &'static str, at: usize, table: &DeTable<'_>, mistakes: &mut Mistakes) {
        match kind {
            "chain" => self.chain = Some(RawChain::read(at, table, mistakes)),
            _ => self.read_entries(kind, table, mistakes),
        }
    }

    fn read_entries(&mut self, kind: &'static str, table: &DeTable<'_>, mistakes: &mut Mistakes) {
        let entries = named_tables(kind, table, mistakes);
        let most = if kind == "stage" { MAX_STAGES } else { MAX_OTHERS };
        if let Some(first_too_many) = entries.get(most) {
            self.too_large = true;
            let message = format!("{} {kind}s in one pipeline", entries.len());
            mistakes.add(first_too_many.at, message, format!("at most {most}"));
        }
        for entry in entries.into_iter().take(most) {
            match kind {
                "stage" => self.stages.push(RawStage::read(entry, mistakes)),
                "prover" => self.provers.push(read_prover(entry, mistakes)),
                "pool" => self.pools.push(read_pool(entry, mistakes)),
                _ => self.sinks.push(read_sink(entry, mistakes)),
            }
        }
    }
}

/// The kind of a table at the top; for a slip of the pen, what was meant, so that what it holds is read all the
/// same.
fn known_table(key: &str, at: usize, mistakes: &mut Mistakes) -> Option<&'static str> {
    if let Some(kind) = ROOT.iter().find(|kind| **kind == key) {
        return Some(kind);
    }
    let meant = suggest::closest_within(2, key, ROOT.iter().copied());
    let meant = meant.and_then(|meant| ROOT.iter().copied().find(|kind| *kind == meant));
    let help = match (meant, TABLES.iter().find(|(_, keys)| keys.contains(&key))) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some((table, _))) => format!("`{key}` belongs in {table}"),
        (None, None) => {
            "tables are [chain], [stage.NAME], [prover.NAME], [pool.NAME], [sink.NAME]".to_string()
        }
    };
    mistakes.add(at, format!("unknown key `{}` at the top", shown(key)), help);
    meant
}

fn named_tables<'t>(kind: &str, table: &'t DeTable<'t>, mistakes: &mut Mistakes) -> Vec<Entry<'t>> {
    let mut entries = Vec::new();
    for (key, value) in table.iter() {
        let at = key.span().start;
        let Some(keys) = value.get_ref().as_table() else {
            let message = format!("`{}` stands in no {kind}", shown(key.get_ref()));
            mistakes.add(at, message, format!("a {kind} is a table: [{kind}.NAME]"));
            continue;
        };
        check_name(kind, key.get_ref(), at, mistakes);
        entries.push(Entry { name: key.get_ref().to_string(), at, keys });
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn check_name(kind: &str, name: &str, at: usize, mistakes: &mut Mistakes) {
    let fits = |name: &str| {
        (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !fits(name) {
        let near = name.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
        let such_as = if fits(&near) { format!(", such as \"{near}\"") } else { String::new() };
        let message = format!("\"{}\" cannot be the name of a {kind}", shown(name));
        mistakes.add(at, message, format!("1 to 32 letters a-z, digits and -{such_as}"));
    } else if kind == "stage" && (name == "block" || name == COMMITS) {
        let help = match name {
            "block" => "name it otherwise: \"block\" is what stages read a block by",
            _ => "name it otherwise: \"commits\" is the log of what is committed",
        };
        mistakes.add(at, format!("\"{name}\" cannot be the name of a stage"), help);
    } else if kind == "pool" && name == JUDGE_POOL {
        let help =
            "name it otherwise: \"judge\" is the pool of those who verify once more what is to be handed on";
        mistakes.add(at, format!("\"{name}\" cannot be the name of a pool"), help);
    }
}

impl RawChain {
    fn read(at: usize, table: &DeTable<'_>, mistakes: &mut Mistakes) -> Self {
        let mut fields = Fields::open("[chain]".to_string(), at, table, CHAIN, mistakes);
        fields.require("name", "name = \"demo\", the name of the chain");
        fields.require("start_height", "start_height = 1, the first height to prove");
        fields.require("window", "window = 8, how many heights from the frontier may be in work at once");
        let name = fields.text("name");
        if let Read::Is(name) = &name {
            check_name("chain", &name.value, name.at, fields.mistakes);
        }
        let tick_ms = if fields.flag("real_time").or(false) { 1_000 } else { 15_000 };
        let late_at = fields.get("late").is().map_or(at, |late| late.key_at);
        Self {
            at,
            name: name.value(),
            start_height: fields.number("start_height", 0..=MAX_HEIGHT).value(),
            window: fields.number("window", 1..=MAX_WINDOW),
            late: read_late(&mut fields),
            late_at,
            lane: fields.number_or("lane", 0..=99, 0),
            tick_ms: fields.number_or("tick_ms", 100..=3_600_000, tick_ms),
            strict: fields.flag("strict").or(false),
            commit: fields.text("commit"),
            header: fields.choice("header", &[("ethereum", Header::Ethereum), ("trusted", Header::Trusted)]),
        }
    }

    pub(super) fn settled(self) -> Option<Chain> {
        Some(Chain {
            name: self.name?,
            start_height: self.start_height?,
            window: self.window.value()?,
            late: self.late?,
            lane: u8::try_from(self.lane).ok()?,
            tick_ms: self.tick_ms,
            header: self.header.or(Header::Ethereum),
            strict: self.strict,
        })
    }
}

fn read_late(fields: &mut Fields<'_, '_>) -> Option<Late> {
    let late = fields.choice("late", &[("wait", false), ("miss", true)]);
    let deadline_ms = fields.number("deadline_ms", 1..=MAX_MS);
    match (late, deadline_ms) {
        (Read::Bad, _) | (_, Read::Bad) => None,
        (Read::Is(At { value: true, .. }), Read::Is(deadline)) => {
            Some(Late::Miss { deadline_ms: deadline.value })
        }
        (Read::Is(At { value: true, key_at, .. }), Read::Absent) => {
            let help = "deadline_ms = 10000, after which a block is given up";
            fields.mistakes.add(key_at, "`late = \"miss\"` without `deadline_ms`", help);
            None
        }
        (_, Read::Is(deadline)) => {
            let help = "late = \"miss\" gives up a block at its deadline; late blocks that wait have none";
            fields.mistakes.add(deadline.key_at, "`deadline_ms` without `late = \"miss\"`", help);
            None
        }
        (_, Read::Absent) => Some(Late::Wait),
    }
}

fn read_pool(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<Pool> {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[pool.{}]", shown(&name)), at, keys, POOL, mistakes);
    let mut small = |key: &str, range, default| fields.number_or(key, range, default) as u32;
    let value = Pool {
        slots: small("slots", 1..=4_096, 1),
        gpus_per_slot: small("gpus_per_slot", 0..=64, 0),
        quarantine_after: small("quarantine_after", 1..=1_000_000, 5),
        lease_ms: fields.number_or("lease_ms", 300..=MAX_LEASE_MS, 30_000),
        quarantine_ms: fields.number_or("quarantine_ms", 1..=MAX_MS, 60_000),
        workers_advance: fields
            .choice("advance", &[("collector", false), ("worker", true)])
            .value()
            .unwrap_or_default(),
    };
    Named { name, at, value }
}

fn read_sink(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<RawSink> {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[sink.{}]", shown(&name)), at, keys, SINK, mistakes);
    fields.require("file", "file = \"out.jsonl\", the file that finished proofs are appended to");
    if let Read::Is(confirm) = fields.text("confirm") {
        let help = match confirm.value.as_str() {
            "latest" => None,
            "safe" | "finalized" => Some("\"latest\" until a followed node says what is safe or finalized"),
            _ => Some("\"latest\""),
        };
        if let Some(help) = help {
            let message = format!("`confirm = \"{}\"` is not offered", shown(&confirm.value));
            fields.mistakes.add(confirm.at, message, help);
        }
    }
    let from = fields.choice("from", &[("start", SinkFrom::Start), ("now", SinkFrom::Now)]);
    let from = from.value().unwrap_or(SinkFrom::Start);
    let target = fields.text("file").value().map(|path| SinkTarget::File { path });
    Named { name, at, value: RawSink { stage: fields.text("stage"), from, target } }
}

fn read_prover(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<Prover> {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[prover.{}]", shown(&name)), at, keys, PROVER, mistakes);
    fields.require("command", "command = [\"program\", \"argument\"]");
    let protocol = read_protocol(&mut fields);
    let value = Prover {
        command: read_command(&mut fields, protocol),
        protocol: protocol.unwrap_or(Protocol::Stream),
        verify: read_verify(&mut fields, protocol),
        verification_key: read_verification_key(&mut fields),
        arguments: arguments::read(&mut fields, protocol),
        environment: read_environment(&mut fields),
        environment_from: read_environment_from(&mut fields),
        files: files::read(&mut fields),
        writes: read_writes(&mut fields),
    };
    files::expect_folder_where_there_are_files(&value, &mut fields);
    expect_key_where_it_is_told(&value, &mut fields);
    Named { name, at, value }
}

fn read_protocol(fields: &mut Fields<'_, '_>) -> Option<Protocol> {
    let files = fields.choice("protocol", &[("stream", false), ("files", true)]);
    let forms = [
        ("request", Protocol::Files),
        ("bare", Protocol::FilesBare),
        ("height", Protocol::FilesHeight),
        ("list", Protocol::FilesList),
    ];
    let payload = fields.choice("payload", &forms);
    if let (Read::Absent | Read::Is(At { value: false, .. }), Read::Is(payload)) = (&files, &payload) {
        let help = "`payload` is for protocol = \"files\"; a stream's requests have one form";
        fields.mistakes.add(payload.key_at, "`payload` has no meaning in a stream prover", help);
        return None;
    }
    match files {
        Read::Bad => None,
        Read::Is(At { value: true, .. }) => Some(payload.or(Protocol::Files)),
        _ => Some(Protocol::Stream),
    }
}

fn read_command(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Vec<String> {
    match fields.texts("command", "a list: the program, then its arguments") {
        Read::Is(command) => settled_command("command", command, protocol, fields.mistakes),
        _ => Vec::new(),
    }
}

/// A command whose placeholders are those of its protocol.
fn settled_command(
    key: &str,
    command: At<Vec<At<String>>>,
    protocol: Option<Protocol>,
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let is_stream = protocol.map(|protocol| protocol == Protocol::Stream);
    for part in ["{input}", "{output}"] {
        let named = command.value.iter().find(|argument| argument.value.contains(part));
        match (is_stream, named) {
            (Some(false), None) => {
                let help =
                    "a files prover is told its two files, as in [\"program\", \"{input}\", \"{output}\"]";
                mistakes.add(command.at, format!("`{key}` does not say where {part} goes"), help);
            }
            (Some(true), Some(argument)) => {
                let help = "protocol = \"files\" fills it in; a stream prover reads its requests from standard input";
                let message = format!("{part} has no meaning in a stream prover's command");
                mistakes.add(argument.at, message, help);
            }
            _ => {}
        }
    }
    command.value.into_iter().map(|argument| argument.value).collect()
}

fn read_verify(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Verify {
    let what =
        "a list, the verifier's program and arguments, or \"none\"; left out: the prover's own command";
    match fields.get("verify") {
        Read::Is(found) if found.value.get_ref().as_str() == Some("none") => Verify::None,
        _ => match fields.texts("verify", what) {
            Read::Is(command) => {
                Verify::Command(settled_command("verify", command, protocol, fields.mistakes))
            }
            _ => Verify::Same,
        },
    }
}

/// Bare lower-case hex, however it was written, so that keys compare as text.
fn read_verification_key(fields: &mut Fields<'_, '_>) -> Option<String> {
    let Read::Is(key) = fields.text("verification_key") else { return None };
    let bare = key.value.strip_prefix("0x").unwrap_or(&key.value);
    let is_hex = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && bare.len().is_multiple_of(2) && (2..=2 * MAX_KEY_BYTES).contains(&bare.len()) {
        return Some(bare.to_ascii_lowercase());
    }
    let message = format!("`verification_key` is \"{}\"", shown(&key.value));
    let help =
        format!("an even number of hexadecimal digits, with or without 0x, of 1 to {MAX_KEY_BYTES} bytes");
    fields.mistakes.add(key.at, message, help);
    None
}

fn read_writes(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let Read::Is(folders) = fields.texts("writes", "a list of folders: writes = [\"~/.cache/prover\"]")
    else {
        return Vec::new();
    };
    for folder in &folders.value {
        if !folder.value.starts_with('/') && !folder.value.starts_with("~/") {
            let message = format!("\"{}\" may be another folder elsewhere", shown(&folder.value));
            fields.mistakes.add(folder.at, message, "a path that begins with / or ~/");
        }
    }
    folders.value.into_iter().map(|folder| folder.value).collect()
}

/// A key that is told must be there, and one that is pinned must be held against something.
fn expect_key_where_it_is_told(prover: &Prover, fields: &mut Fields<'_, '_>) {
    let verifier = match &prover.verify {
        Verify::Command(command) => command.as_slice(),
        Verify::Same | Verify::None => &[],
    };
    let is_told = prover.command.iter().chain(verifier).any(|text| text.contains(PINNED_KEY));
    match fields.get("verification_key") {
        Read::Absent if is_told => {
            let message = format!("{PINNED_KEY} stands for `verification_key`, and none is pinned");
            fields.mistakes.add(
                fields.at,
                message,
                "verification_key = \"...\", the key in hexadecimal digits",
            );
        }
        Read::Is(key) if prover.verify == Verify::None && prover.protocol != Protocol::Stream => {
            let message = "`verification_key` pins nothing where nothing verifies";
            fields.mistakes.add(key.key_at, message, "leave it out, or name a verifier in place of \"none\"");
        }
        _ => {}
    }
}

/// Names of variables. Those by which a worker reaches AWS are its own.
fn read_environment_from(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let what = "a list of names: environment_from = [\"API_KEY\"]";
    let Read::Is(names) = fields.texts("environment_from", what) else { return Vec::new() };
    let mut good = Vec::new();
    for At { value: name, at, .. } in names.value {
        let shown = shown(&name);
        if name.contains(['=', '\0']) {
            let message = format!("\"{shown}\" cannot name an environment variable");
            fields.mistakes.add(at, message, "a name such as API_KEY");
        } else if name.starts_with("AWS_") || name.starts_with("ECS_") {
            let message = format!("\"{shown}\" leads to the worker's own credentials");
            let help = "give a prover credentials of its own, under another name, or in a file";
            fields.mistakes.add(at, message, help);
        } else if good.contains(&name) {
            fields.mistakes.add(at, format!("\"{shown}\" is there twice"), "name each variable once");
        } else {
            good.push(name);
        }
    }
    good
}

fn read_environment(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let what = "a table: environment = { KEY = \"value\" }";
    let Some(table) = fields.table("environment", what).value() else { return BTreeMap::new() };
    let mut environment = BTreeMap::new();
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("\"{}\" cannot name an environment variable", shown(name));
            fields.mistakes.add(key.span().start, message, "a name such as RUST_LOG");
        } else if value.get_ref().as_str() == Some("") {
            environment.insert(name.to_string(), String::new());
        } else if let Some(value) = fields.text_of(name, value) {
            environment.insert(name.to_string(), value);
        }
    }
    environment
}
