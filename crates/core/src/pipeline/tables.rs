//! The tables of a pipeline file, read one by one: what each key may hold, and its default.
//!
//! Names are only gathered here; [`super::rules`] says whether they name anything.

use toml::de::DeTable;

use super::keys::{CHAIN, POOL, ROOT, TABLES};
use super::mistake::Mistakes;
use super::prover_table::read_prover;
use super::reader::{At, Entry, Fields, Read, shown};
use super::sink_table::{RawSink, read_sink};
use super::source_table::{RawSource, SourceTable, read_source};
use super::stage_table::RawStage;
use super::suggest;
use super::{Chain, Header, JUDGE_POOL, Late, MAX_HEIGHT, MAX_MS, MAX_WINDOW, Pool, Prover};
use crate::state::{COMMITS, ChainName, NAME_RULE, is_name};

pub(super) const MAX_STAGES: usize = 64;
/// Provers, pools or sinks of one file.
const MAX_OTHERS: usize = 256;
const MAX_LEASE_MS: u64 = 86_400_000;
/// Of one worker.
const MAX_USD_PER_HOUR: u64 = 1_000_000;
/// Of one slot.
const MAX_WATTS: u64 = 1_000_000;

/// What the file says, table by table, in file order.
#[derive(Default)]
pub(super) struct File {
    pub chain: Option<RawChain>,
    pub stages: Vec<RawStage>,
    pub provers: Vec<Named<Prover>>,
    pub pools: Vec<Named<Pool>>,
    pub sinks: Vec<Named<RawSink>>,
    pub sources: Vec<Named<SourceTable>>,
    /// The file exceeds a limit, and what is beyond it was skipped.
    pub too_large: bool,
}

pub(super) struct Named<T> {
    pub name: String,
    pub at: usize,
    pub value: T,
}

pub(super) struct RawChain {
    pub at: usize,
    pub name: Option<ChainName>,
    pub start_height: Option<u64>,
    pub window: Read<u64>,
    pub late: Option<Late>,
    /// The place of `late` in the text, else of `[chain]`.
    pub late_at: usize,
    pub lane: u64,
    pub tick_ms: u64,
    pub strict: bool,
    pub commit: Read<String>,
    pub header: Read<Header>,
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
                "stage" => {
                    let stage = RawStage::read(entry, mistakes);
                    if let Some(action) = &stage.action {
                        self.provers.push(action.prover());
                        self.pools.push(action.pool());
                    }
                    self.stages.push(stage);
                }
                "prover" => self.provers.push(read_prover(entry, mistakes)),
                "pool" => self.pools.push(read_pool(entry, mistakes)),
                "source" => {
                    let RawSource { source, witness } = read_source(entry, mistakes);
                    self.sources.push(source);
                    if let Some(witness) = witness {
                        self.stages.push(witness.stage);
                        self.provers.push(witness.prover);
                        self.pools.push(witness.pool);
                    }
                }
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
            "tables are [chain], [source.node], [source.engine], [stage.NAME], [prover.NAME], [pool.NAME], [sink.NAME]"
                .to_string()
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
    if !is_name(name) {
        let near = name.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
        let such_as = if is_name(&near) { format!(", such as \"{near}\"") } else { String::new() };
        let message = format!("\"{}\" cannot be the name of a {kind}", shown(name));
        mistakes.add(at, message, format!("{NAME_RULE}{such_as}"));
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
            name: name.value().and_then(|name| name.parse().ok()),
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
        price_microusd_per_hour: fields.millionths("price_usd_per_hour", MAX_USD_PER_HOUR).value(),
        watts: fields.number("watts", 1..=MAX_WATTS).value().map(|watts| watts as u32),
    };
    Named { name, at, value }
}
