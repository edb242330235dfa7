//! Edits of pipelines that are in use: each makes another text from the one in force, as a person would edit the file, or
//! answers that it does not apply. The yard may refuse an edit; that is counted too.

use proofyard_memory_store::Random;

pub type Edit = fn(&str, &mut Random) -> Option<String>;

/// A new edit is added here. After any edit that the yard accepts, it must be able to finish open and future work.
pub const EDITS: &[(&str, Edit)] = &[
    ("world: limits changed", other_limits),
    ("world: sink renamed", other_sink),
    ("world: stage added after the commit", one_stage_more),
    ("world: stage taken away after the commit", one_stage_less),
    ("world: cuts added after the commit", cuts_more),
    ("world: quorum's need changed", other_need),
    ("world: quorum's rest changed", other_rest),
    ("world: cut size changed", other_cut_size),
    ("world: cut's arity changed", other_arity),
    ("world: tick changed", other_tick),
    ("world: lane changed", other_lane),
    ("world: lateness changed", other_late),
    ("world: fork changed", other_fork),
    ("world: stage moved to another pool", other_pool),
];

/// Names that the sink of a commit stage has had or may get.
pub const SINK_NAMES: [&str; 2] = ["main", "again"];

fn other_limits(text: &str, random: &mut Random) -> Option<String> {
    let text = with_numbers(text, "max_losses", |_| random.between(2, 9))?;
    with_numbers(&text, "max_attempts", |_| random.between(2, 5))
}

fn other_sink(text: &str, _: &mut Random) -> Option<String> {
    let [one, other] = SINK_NAMES.map(|name| format!("[sink.{name}]"));
    let (from, to) = if text.contains(&one) { (one, other) } else { (other, one) };
    text.contains(&from).then(|| text.replace(&from, &to))
}

const EXTRA: &str = "\n[stage.extra]\n";

/// Over each committed block, or each committed cut.
fn one_stage_more(text: &str, random: &mut Random) -> Option<String> {
    let commit = text.lines().find_map(|line| line.strip_prefix("commit = "))?;
    let pool = text.lines().find_map(|line| line.strip_prefix("[pool.")?.strip_suffix(']'))?;
    let (sinks, max_losses) = (text.find("\n[sink.")?, random.between(2, 9));
    let stage = format!(
        "{EXTRA}strategy = \"match\"\nfrom = {commit}\nprover = \"p\"\npool = \"{pool}\"\nmax_losses = {max_losses}\nmax_attempts = 3\nbackoff_ms = 100\n"
    );
    (!text.contains(EXTRA)).then(|| format!("{}{stage}{}", &text[..sinks], &text[sinks..]))
}

fn one_stage_less(text: &str, _: &mut Random) -> Option<String> {
    let from = text.find(EXTRA)?;
    let to = from + EXTRA.len() + text[from + EXTRA.len()..].find("\n[")?;
    Some(format!("{}{}", &text[..from], &text[to..]))
}

/// The new stage's cuts hold only blocks that were opened with it.
fn cuts_more(text: &str, random: &mut Random) -> Option<String> {
    let commit = text.lines().find_map(|line| line.strip_prefix("commit = "))?;
    let pool = text.lines().find_map(|line| line.strip_prefix("[pool.")?.strip_suffix(']'))?;
    let (sinks, size) = (text.find("\n[sink.")?, random.between(1, 4));
    // A quorum without a prover of its own has no single output for a block.
    let from = if commit == "\"agree\"" { "\"block\"" } else { commit };
    let stage = format!(
        "\n[stage.batch]\nstrategy = \"sequential\"\nfrom = {from}\nprover = \"p\"\npool = \"{pool}\"\nsize = {size}\nmax_wait_ms = 1000\n"
    );
    let sink = "\n[sink.cuts]\nstage = \"batch\"\nfile = \"cuts.jsonl\"\n";
    let fits = !text.contains("sequential") && !text.contains("late = ");
    fits.then(|| format!("{}{stage}{sink}{}", &text[..sinks], &text[sinks..]))
}

/// Never so many that one member that disagrees could keep the quorum from ever deciding.
fn other_need(text: &str, random: &mut Random) -> Option<String> {
    with_numbers(text, "need", |_| random.between(1, 2))
}

fn other_rest(text: &str, _: &mut Random) -> Option<String> {
    const CANCEL: &str = "after_need = \"cancel\"\n";
    match text.contains(CANCEL) {
        true => Some(text.replace(CANCEL, "")),
        false => text.contains("\nneed = ").then(|| text.replace("\nneed = ", &format!("\n{CANCEL}need = "))),
    }
}

/// Where cuts commit, never more than the window.
fn other_cut_size(text: &str, random: &mut Random) -> Option<String> {
    let window = text.lines().find_map(|line| line.strip_prefix("window = ")?.parse::<u64>().ok())?;
    with_numbers(text, "size", |size| random.between(1, size.max(window.min(6))).min(window))
}

fn other_arity(text: &str, random: &mut Random) -> Option<String> {
    with_numbers(text, "arity", |_| random.between(2, 4))
}

fn other_tick(text: &str, random: &mut Random) -> Option<String> {
    with_numbers(text, "tick_ms", |_| *random.pick(&[1_000, 5_000]))
}

/// Late blocks are missed from now on, or waited for; does not apply where there are cuts.
fn other_late(text: &str, random: &mut Random) -> Option<String> {
    if let Some(edited) = with_numbers(text, "deadline_ms", |_| *random.pick(&[5_000, 60_000])) {
        let waits =
            edited.lines().filter(|line| !line.starts_with("late = ") && !line.starts_with("deadline_ms = "));
        return Some(if random.chance(5_000) { edited } else { waits.collect::<Vec<_>>().join("\n") + "\n" });
    }
    let misses = format!("\nlate = \"miss\"\ndeadline_ms = {}\ncommit = ", random.pick(&[5_000, 60_000]));
    (!text.contains("sequential")).then(|| text.replacen("\ncommit = ", &misses, 1))
}

/// A stage's prover changes at some height, or no longer does.
fn other_fork(text: &str, random: &mut Random) -> Option<String> {
    let start = text.lines().find_map(|line| line.strip_prefix("start_height = ")?.parse::<u64>().ok())?;
    let is_prover = |line: &&str| line.starts_with("prover = ");
    let at = random.index(text.lines().filter(is_prover).count().max(1));
    let old = text.lines().filter(is_prover).nth(at)?;
    let new = match old.contains("from_height") {
        true => "prover = \"p\"".to_owned(),
        false => {
            let fork = start + random.between(1, 8);
            format!("prover = [{{ prover = \"p\" }}, {{ prover = \"q\", from_height = {fork} }}]")
        }
    };
    Some(with_line(text, old, at, &new))
}

fn other_pool(text: &str, random: &mut Random) -> Option<String> {
    let is_pool = |line: &&str| line.starts_with("pool = ");
    let at = random.index(text.lines().filter(is_pool).count().max(1));
    let old = text.lines().filter(is_pool).nth(at)?;
    let pools = text.lines().filter_map(|line| line.strip_prefix("[pool.")?.strip_suffix(']'));
    let new = pools.map(|pool| format!("pool = \"{pool}\"")).find(|new| new != old)?;
    Some(with_line(text, old, at, &new))
}

/// The text with the `at`-th line of `old`'s key replaced.
fn with_line(text: &str, old: &str, at: usize, new: &str) -> String {
    let key = old.split(" = ").next().unwrap_or_default();
    let start = format!("{key} = ");
    let mut seen = 0;
    let lines = text.lines().map(|line| {
        let is_it = line.starts_with(&start) && {
            seen += 1;
            seen == at + 1
        };
        if is_it { new } else { line }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn other_lane(text: &str, random: &mut Random) -> Option<String> {
    with_numbers(text, "lane", |_| random.below(2))
}

/// The text with another number wherever this key stands; `None` where it stands nowhere.
fn with_numbers(text: &str, key: &str, mut number: impl FnMut(u64) -> u64) -> Option<String> {
    let start = format!("{key} = ");
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix(&start).and_then(|was| was.parse().ok()) {
            Some(was) => {
                found = true;
                format!("{start}{}", number(was))
            }
            None => line.to_owned(),
        })
        .collect();
    found.then(|| lines.join("\n") + "\n")
}
