//! Random pipelines, as the files that people would write.

use proofyard_core::state::ChainName;
use std::fmt::Write;

use proofyard_memory_store::Random;

/// Pools of one name must be declared alike in all chains, so one declaration serves a whole seed.
#[derive(Clone, Debug)]
pub struct Pools {
    pub names: Vec<&'static str>,
    text: String,
}

impl Pools {
    pub fn draw(random: &mut Random) -> Self {
        let names = if random.chance(5_000) { vec!["cpu"] } else { vec!["cpu", "gpu"] };
        let mut text = String::new();
        for name in &names {
            let lease_ms = random.pick(&[3_000, 10_000, 30_000]);
            let (after, quarantine_ms) = (random.between(2, 5), random.pick(&[1_000, 20_000]));
            let _ = writeln!(
                text,
                "[pool.{name}]\nslots = 2\nlease_ms = {lease_ms}\nquarantine_after = {after}\n\
                 quarantine_ms = {quarantine_ms}\n"
            );
        }
        Self { names, text }
    }
}

/// The sink that is told how far each block is.
pub const LEVELS: &str = "levels";

/// The sink that is told once in a while.
pub const RARE: &str = "rare";

/// A pipeline's text.
pub fn draw(chain: &ChainName, start_height: u64, pools: &Pools, random: &mut Random) -> String {
    let mut head = format!("[chain]\nname = \"{chain}\"\nstart_height = {start_height}\n");
    // Quorums and cuts are drawn more often, since most can go wrong there.
    let shape = *random.pick(&[0, 1, 2, 3, 3, 4, 5, 5, 6, 7]);
    let by_ranges = shape == 5 || shape == 6;
    // Sometimes wide enough for cuts that are reduced in several levels.
    let (least, most) = if by_ranges { (3, *random.pick(&[6, 12])) } else { (1, 6) };
    let window = random.between(least, most);
    let (lane, tick_ms) = (random.below(2), random.pick(&[1_000, 5_000, 15_000]));
    let _ = writeln!(head, "window = {window}\nlane = {lane}\ntick_ms = {tick_ms}");
    let misses = !by_ranges && random.chance(2_500);
    if misses {
        let _ = writeln!(head, "late = \"miss\"\ndeadline_ms = {}", random.pick(&[5_000, 60_000]));
    }
    let follows = !by_ranges && !misses && random.chance(6_000);
    let has_extra = random.chance(3_000);
    let fork = random.chance(4_000).then(|| start_height + random.between(1, 8));
    let mut stages = Stages { text: String::new(), pools: &pools.names, fork, random };
    let commit =
        if by_ranges { stages.commit_by_ranges(shape == 6, window) } else { stages.commit_by_blocks(shape) };
    if has_extra {
        stages.stage("extra", "match", &format!("\"{commit}\""), "");
    }
    let logged = if follows { stages.cuts_after(commit) } else { commit };
    let mut rest = format!("[sink.main]\nstage = \"{commit}\"\nfile = \"{chain}.jsonl\"\n");
    if logged != commit {
        let _ = writeln!(rest, "[sink.cuts]\nstage = \"{logged}\"\nfile = \"{chain}-cuts.jsonl\"");
    }
    if stages.random.chance(4_000) {
        let _ = writeln!(rest, "[sink.{LEVELS}]\ncommand = [\"tell\"]\neach = \"block\"");
    }
    if stages.random.chance(4_000) {
        let every_ms = stages.random.pick(&[500, 5_000, 20_000]);
        let _ = writeln!(
            rest,
            "[sink.{RARE}]\nstage = \"{logged}\"\ncontract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nrpc = [\"http://a\"]\n\
             chain_id = 1\nkey_from = \"KEY\"\nfunction = \"submit()\"\nevery_ms = {every_ms}"
        );
    }
    format!(
        "{head}commit = \"{commit}\"\n{}\n{rest}\n[prover.p]\ncommand = [\"p\"]\n\n[prover.q]\ncommand = [\"q\"]\n\n{}",
        stages.text, pools.text
    )
}

struct Stages<'a> {
    text: String,
    pools: &'a [&'static str],
    /// The height at which some stages change their prover.
    fork: Option<u64>,
    random: &'a mut Random,
}

impl Stages<'_> {
    fn stage(&mut self, name: &str, strategy: &str, from: &str, more: &str) {
        let pool = *self.random.pick(self.pools);
        let prover = match self.fork.filter(|_| self.random.chance(5_000)) {
            Some(fork) => format!("[{{ prover = \"p\" }}, {{ prover = \"q\", from_height = {fork} }}]"),
            None => "\"p\"".to_owned(),
        };
        let _ = writeln!(
            self.text,
            "\n[stage.{name}]\nstrategy = \"{strategy}\"\nfrom = {from}\nprover = {prover}\npool = \"{pool}\"\n{more}"
        );
        let limits = [
            ("max_attempts", self.random.between(2, 4)),
            ("max_losses", self.random.between(2, 8)),
            ("max_crashes", self.random.between(1, 3)),
            ("backoff_ms", *self.random.pick(&[0, 100, 2_000])),
        ];
        for (key, value) in limits {
            let _ = writeln!(self.text, "{key} = {value}");
        }
        if self.random.chance(5_000) {
            let time_limit_ms = self.random.between(5_000, 30_000);
            let _ = writeln!(self.text, "time_limit_ms = {time_limit_ms}");
            if self.random.chance(5_000) {
                let _ = writeln!(self.text, "hedge_ms = {}", time_limit_ms / 4);
            }
            if self.random.chance(3_000) {
                let _ = writeln!(self.text, "total_ms = {}", time_limit_ms * 3);
            }
        }
    }

    fn commit_by_blocks(&mut self, shape: u64) -> &'static str {
        match shape {
            0 => {
                self.stage("segment", "split", "\"block\"", "");
                self.stage("join", "match", "\"segment\"", "on = [\"state\"]");
                "join"
            }
            1 => {
                self.stage("prove", "match", "\"block\"", "");
                "prove"
            }
            2 => {
                self.stage("plan", "match", "\"block\"", "output = \"data\"");
                self.stage("part", "split", "\"plan\"", "");
                self.stage("join", "match", "\"part\"", "");
                "join"
            }
            3 => {
                for zkvm in ["one", "two", "three"] {
                    self.stage(zkvm, "match", "\"block\"", "");
                }
                let after_need = if self.random.chance(5_000) { "after_need = \"cancel\"" } else { "" };
                let _ = writeln!(
                    self.text,
                    "\n[stage.agree]\nstrategy = \"match\"\nfrom = [\"one\", \"two\", \"three\"]\nneed = 2\n{after_need}"
                );
                "agree"
            }
            7 => {
                // Early and late stages of one block are listed at the same time.
                self.stage("witness", "match", "\"block\"", "output = \"data\"");
                self.stage("trace", "match", "\"witness\"", "output = \"data\"");
                self.stage("segment", "split", "\"block\"", "");
                self.stage("join", "match", "[\"trace\", \"segment\"]", "");
                "join"
            }
            _ => {
                self.stage("witness", "match", "\"block\"", "output = \"data\"");
                self.stage("segment", "split", "\"block\"", "");
                self.stage("join", "match", "[\"block\", \"witness\", \"segment\"]", "");
                "join"
            }
        }
    }

    fn commit_by_ranges(&mut self, with_wrap: bool, window: u64) -> &'static str {
        self.stage("prove", "match", "\"block\"", "");
        let rule = self.cut_rule(window);
        self.stage("range", "sequential", "\"prove\"", &rule);
        if !with_wrap {
            return "range";
        }
        self.stage("wrap", "match", "\"range\"", "");
        "wrap"
    }

    fn cuts_after(&mut self, commit: &str) -> &'static str {
        let size_max = *self.random.pick(&[4, 10]);
        let rule = self.cut_rule(size_max);
        let from = if commit == "agree" { "\"block\"".to_owned() } else { format!("\"{commit}\"") };
        self.stage("batch", "sequential", &from, &rule);
        if self.random.chance(5_000) {
            self.stage("proof", "match", "\"batch\"", "");
            return "proof";
        }
        "batch"
    }

    fn cut_rule(&mut self, size_max: u64) -> String {
        let arity = self.random.chance(6_000).then(|| *self.random.pick(&[2, 2, 2, 3, 4]));
        let is_plain = arity.is_some() && self.random.chance(7_000);
        // A tree of several levels takes more than a few blocks.
        let least = if arity.is_some() { size_max.div_ceil(2) } else { 1 };
        let mut rule = format!("size = {}\n", self.random.between(least, size_max));
        // Without a time limit, the blocks of an unfinished cut wait for more blocks.
        let max_wait_ms = if is_plain { 60_000 } else { *self.random.pick(&[1_000, 60_000]) };
        let _ = writeln!(rule, "max_wait_ms = {max_wait_ms}");
        if !is_plain && self.random.chance(3_000) {
            let _ = writeln!(rule, "budget = {{ field = \"gas\", max = 150 }}");
        }
        if let Some(arity) = arity {
            let _ = writeln!(rule, "arity = {arity}");
        }
        if !is_plain && self.random.chance(3_000) {
            let _ = writeln!(rule, "cut_on = \"batch\"");
        }
        rule
    }
}
