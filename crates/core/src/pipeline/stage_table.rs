//! A `[stage.NAME]` table: which keys its strategy has, and what they may hold.

use std::ops::RangeInclusive;

use super::action_table::{self, Action};
use super::keys::{CHOSEN_PROVER, STAGE};
use super::reader::{At, Entry, Fields, Read, Value, shown};
use super::{CutBudget, CutRule, MAX_ARITY, MAX_BACKOFF_MS, MAX_CUT_BLOCKS, MAX_HEIGHT, MAX_MS};
use super::{MAX_QUORUM_MEMBERS, Output, TaskLimits};

use super::mistake::Mistakes;

const OF_MATCH: &[&str] = &["on", "need", "after_need"];
const OF_SEQUENTIAL: &[&str] = &["size", "arity", "budget", "max_wait_ms", "cut_on"];
/// Keys that say how a task is run.
const OF_TASKS: &[&str] = &[
    "max_attempts",
    "max_losses",
    "max_crashes",
    "backoff_ms",
    "time_limit_ms",
    "total_ms",
    "hedge_ms",
    "output_bytes",
    "memory_bytes",
];
const BUDGET: &[&str] = &["field", "max"];

/// Entries of one list: sources, fields, provers by height.
const MAX_LIST: usize = 64;
/// A prover below this much memory does not start; who writes less thought of another unit.
const LEAST_MEMORY_BYTES: u64 = 1 << 20;
const MAX_BYTES: u64 = 1 << 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Split,
    Match,
    Sequential,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Match => "match",
            Self::Sequential => "sequential",
        }
    }
}

pub(super) struct RawStage {
    pub name: String,
    pub at: usize,
    pub kind: Option<Kind>,
    pub from: Read<Vec<At<String>>>,
    /// By the height from which they are used.
    pub provers: Read<Vec<At<(u64, String)>>>,
    pub pool: Read<String>,
    pub output: Read<Output>,
    pub on: Vec<String>,
    pub need: Read<u64>,
    pub cancel_rest: Read<bool>,
    pub size: Read<u64>,
    /// `None` where its size is not known.
    pub cut: Option<CutRule>,
    /// Fields of blocks by which its cuts close.
    pub block_fields: Vec<At<String>>,
    pub limits: TaskLimits,
    /// The first of the keys that say how a task is run.
    pub limit_key: Option<At<&'static str>>,
    /// What it does in the place of proving.
    pub action: Option<Action>,
}

impl RawStage {
    pub(super) fn read(entry: Entry<'_>, mistakes: &mut Mistakes) -> Self {
        let Entry { name, at, keys } = entry;
        let mut fields = Fields::open(format!("[stage.{}]", shown(&name)), at, keys, STAGE, mistakes);
        fields.require("strategy", "strategy = \"split\", \"match\" or \"sequential\"");
        fields.require("from", "from = \"block\", the name of a stage, or a list of them");
        let kinds = [Kind::Split, Kind::Match, Kind::Sequential].map(|kind| (kind.word(), kind));
        let kind = fields.choice("strategy", &kinds).value();
        let mut stage = Self {
            name,
            at,
            kind,
            from: read_sources(&mut fields),
            provers: read_provers(&mut fields),
            pool: fields.text("pool"),
            output: fields.choice("output", &[("proof", Output::Proof), ("data", Output::Data)]),
            on: Vec::new(),
            need: Read::Absent,
            cancel_rest: Read::Absent,
            size: Read::Absent,
            cut: None,
            block_fields: Vec::new(),
            limits: read_limits(&mut fields),
            limit_key: first_of(OF_TASKS, &fields),
            action: None,
        };
        if belongs(Kind::Match, kind, OF_MATCH, &mut fields) {
            stage.read_match(&mut fields);
        }
        if belongs(Kind::Sequential, kind, OF_SEQUENTIAL, &mut fields) {
            stage.read_cut(&mut fields);
        }
        action_table::read(&mut stage, &mut fields);
        stage
    }

    fn read_match(&mut self, fields: &mut Fields<'_, '_>) {
        if let Read::Is(on) = fields.texts("on", "a list of field names") {
            if on.value.len() > MAX_LIST {
                let message = format!("`on` lists {} fields", on.value.len());
                fields.mistakes.add(on.at, message, format!("at most {MAX_LIST}"));
            }
            self.on = on.value.into_iter().map(|field| field.value).collect();
        }
        self.need = fields.number("need", 1..=MAX_QUORUM_MEMBERS as u64);
        self.cancel_rest = fields.choice("after_need", &[("run", false), ("cancel", true)]);
        if let (Read::Is(after), Read::Absent) = (&self.cancel_rest, &self.need) {
            let help = "need = 2, how many of the stages read from must agree; or leave `after_need` out";
            fields.mistakes.add(after.key_at, "`after_need` without `need`", help);
        }
    }

    fn read_cut(&mut self, fields: &mut Fields<'_, '_>) {
        if self.kind == Some(Kind::Sequential) {
            fields.require("size", "size = 8, how many blocks make a cut at most");
        }
        self.size = fields.number("size", 1..=MAX_CUT_BLOCKS);
        let budget = read_budget(fields);
        let cut_on = fields.text("cut_on").value_at();
        let rest = CutRule {
            size: 0,
            budget: budget.as_ref().map(|(field, max)| CutBudget { field: field.value.clone(), max: *max }),
            max_wait_ms: fields.number("max_wait_ms", 1..=MAX_MS).value(),
            cut_on: cut_on.as_ref().map(|field| field.value.clone()),
            arity: fields.number("arity", 2..=MAX_ARITY).value().and_then(|arity| u32::try_from(arity).ok()),
        };
        self.cut = self.size.is().map(|size| CutRule { size: size.value, ..rest });
        self.block_fields = budget.map(|(field, _)| field).into_iter().chain(cut_on).collect();
    }

    /// Reduces a cut by a tree of tasks.
    pub(super) fn reduces(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.arity.is_some())
    }

    /// Only decides whether its sources agree: a quorum that runs nothing.
    pub(super) fn only_decides(&self) -> bool {
        self.provers.is_absent() && !self.need.is_absent()
    }
}

/// Whether keys of `owner` stages may stand in a stage of this kind; complains of those that may not.
fn belongs(owner: Kind, kind: Option<Kind>, keys: &[&str], fields: &mut Fields<'_, '_>) -> bool {
    let Some(kind) = kind.filter(|kind| *kind != owner) else { return true };
    for key in keys {
        if let Read::Is(found) = fields.get(key) {
            let message = format!("`{key}` has no meaning in a {} stage", kind.word());
            fields.mistakes.add(found.key_at, message, format!("`{key}` is for {} stages", owner.word()));
        }
    }
    false
}

fn first_of(keys: &[&'static str], fields: &Fields<'_, '_>) -> Option<At<&'static str>> {
    let there = keys.iter().filter_map(|key| match fields.get(key) {
        Read::Is(found) => Some(At { value: *key, key_at: found.key_at, at: found.at }),
        _ => None,
    });
    there.min_by_key(|found| found.key_at)
}

fn read_sources(fields: &mut Fields<'_, '_>) -> Read<Vec<At<String>>> {
    let what = "\"block\", the name of a stage, or a list of them";
    let Read::Is(mut from) = fields.one_or_more_texts("from", what) else {
        return if fields.get("from").is_absent() { Read::Absent } else { Read::Bad };
    };
    if from.value.len() > MAX_LIST {
        fields.mistakes.add(
            from.at,
            format!("`from` lists {} sources", from.value.len()),
            format!("at most {MAX_LIST}"),
        );
        return Read::Bad;
    }
    let mut seen: Vec<At<String>> = Vec::new();
    for source in std::mem::take(&mut from.value) {
        if seen.iter().any(|earlier| earlier.value == source.value) {
            let message = format!("`from` lists \"{}\" twice", shown(&source.value));
            fields.mistakes.add(source.at, message, "list each source once");
        } else {
            seen.push(source);
        }
    }
    Read::Is(At { value: seen, ..from })
}

/// One name, or a list of provers by height.
fn read_provers(fields: &mut Fields<'_, '_>) -> Read<Vec<At<(u64, String)>>> {
    let Read::Is(found) = fields.get("prover") else {
        return if fields.get("prover").is_absent() { Read::Absent } else { Read::Bad };
    };
    let what = "the name of a prover, or a list such as [{ prover = \"a\", from_height = 0 }]";
    let place = |value| At { value, key_at: found.key_at, at: found.at };
    if found.value.get_ref().is_str() {
        return match fields.text("prover") {
            Read::Is(name) => Read::Is(place(vec![place_of(&name, (0, name.value.clone()))])),
            _ => Read::Bad,
        };
    }
    let Some(list) = found.value.get_ref().as_array().filter(|list| (1..=MAX_LIST).contains(&list.len()))
    else {
        fields.wrong_type("prover", found.value, &format!("{what}, of 1 to {MAX_LIST}"));
        return Read::Bad;
    };
    let mut provers: Vec<At<(u64, String)>> = Vec::new();
    let mut bad = false;
    for entry in list.iter() {
        let after = provers.last().map(|earlier| earlier.value.0);
        match read_chosen_prover(entry, after, what, fields) {
            Some(prover) => provers.push(prover),
            None => bad = true,
        }
    }
    if bad { Read::Bad } else { Read::Is(place(provers)) }
}

fn read_chosen_prover(
    entry: &Value<'_>,
    after: Option<u64>,
    what: &str,
    fields: &mut Fields<'_, '_>,
) -> Option<At<(u64, String)>> {
    let Some(table) = entry.get_ref().as_table() else {
        fields.wrong_type("prover", entry, what);
        return None;
    };
    let place = format!("`prover` of {}", fields.place);
    let mut chosen = Fields::open(place, entry.span().start, table, CHOSEN_PROVER, fields.mistakes);
    chosen.require("prover", "prover = \"a\", the name of a prover");
    if after.is_some() {
        chosen.require("from_height", "from_height = 100, the height from which it is used");
    }
    let height = match chosen.number("from_height", 0..=MAX_HEIGHT) {
        Read::Absent if after.is_none() => 0,
        Read::Is(height) => match after.filter(|after| *after >= height.value) {
            None => height.value,
            Some(after) => {
                let message = format!("`from_height` is {}, after {after}", height.value);
                chosen.mistakes.add(height.at, message, "list provers by ascending height, each height once");
                return None;
            }
        },
        _ => return None,
    };
    match chosen.text("prover") {
        Read::Is(name) => Some(place_of(&name, (height, name.value.clone()))),
        _ => None,
    }
}

fn place_of<T, U>(at: &At<T>, value: U) -> At<U> {
    At { value, key_at: at.key_at, at: at.at }
}

/// The field that is summed, and the most that its sum may be.
fn read_budget(fields: &mut Fields<'_, '_>) -> Option<(At<String>, u64)> {
    let what = "a table: budget = { field = \"gasUsed\", max = 30000000 }";
    let Read::Is(budget) = fields.table("budget", what) else { return None };
    let place = format!("`budget` of {}", fields.place);
    let mut keys = Fields::open(place, budget.at, budget.value, BUDGET, fields.mistakes);
    keys.require("field", "field = \"gasUsed\", a number that blocks have");
    keys.require("max", "max = 30000000, the most that its sum over a cut may be");
    let max = keys.number("max", 1..=u64::MAX).value();
    Some((keys.text("field").value_at()?, max?))
}

fn read_limits(fields: &mut Fields<'_, '_>) -> TaskLimits {
    const DEFAULT_TIME_LIMIT_MS: u64 = 600_000;
    let mut small =
        |key: &str, range: RangeInclusive<u64>, default| fields.number_or(key, range, default) as u32;
    let (max_attempts, max_losses) =
        (small("max_attempts", 1..=1_000, 3), small("max_losses", 1..=10_000, 10));
    let max_crashes = small("max_crashes", 1..=1_000, 3);
    let backoff_ms = fields.number_or("backoff_ms", 0..=MAX_BACKOFF_MS, 1_000);
    let time_limit = fields.number("time_limit_ms", 1..=MAX_MS);
    let total = fields.number("total_ms", 1..=MAX_MS);
    let hedge = fields.number("hedge_ms", 1..=MAX_MS);
    let limit_ms = match &time_limit {
        Read::Is(limit) => Some((limit.value, "")),
        Read::Absent => Some((DEFAULT_TIME_LIMIT_MS, ", the default")),
        Read::Bad => None,
    };
    if let (Some((limit_ms, default)), Read::Is(total)) = (limit_ms, &total)
        && total.value < limit_ms
    {
        let message = format!("`total_ms` is {}, but one attempt may take {limit_ms}{default}", total.value);
        fields.mistakes.add(total.at, message, "at least `time_limit_ms`: it is for all attempts together");
    }
    if let (Some((limit_ms, default)), Read::Is(hedge)) = (limit_ms, &hedge)
        && hedge.value >= limit_ms
    {
        let message = format!("`hedge_ms` is {}, but an attempt ends after {limit_ms}{default}", hedge.value);
        fields.mistakes.add(
            hedge.at,
            message,
            "less than `time_limit_ms`, or no second copy would ever start",
        );
    }
    TaskLimits {
        max_attempts,
        max_losses,
        max_crashes,
        backoff_ms,
        time_limit_ms: time_limit.or(DEFAULT_TIME_LIMIT_MS),
        total_ms: total.value(),
        hedge_ms: hedge.value(),
        output_bytes: fields.number_or("output_bytes", 1..=MAX_BYTES, 16 << 20),
        memory_bytes: fields.number("memory_bytes", LEAST_MEMORY_BYTES..=MAX_BYTES).value(),
    }
}
