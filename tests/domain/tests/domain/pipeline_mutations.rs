//! Whatever a file holds, reading it ends with a pipeline whose derived parts fit, or with mistakes that stand in it.

use proofyard_core::pipeline::*;

const FILES: [&str; 4] = [
    include_str!("pipeline/demo.toml"),
    include_str!("pipeline/realtime.toml"),
    include_str!("pipeline/rollup.toml"),
    include_str!("pipeline/folding.toml"),
];
const SCRAPS: &[&str] = &[
    "=",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "\n",
    "\r\n",
    "#",
    " ",
    "-1",
    "0",
    "1",
    "2",
    "99999999999999999999",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    "\"\"\"",
    "ü",
    "\u{0}",
    "\u{feff}",
    "\\",
    "\\u0000",
    "block",
    "\"block\"",
    "[\"block\"]",
    "[stage.x]\n",
    "[[stage]]\n",
    "[pool.x]\n",
    "from = \"wrap\"\n",
    "need = 2\n",
    "size = 1\n",
    "strategy = \"match\"",
    "strategy = \"split\"",
    "strategy = \"sequential\"",
    "output = \"data\"\n",
    "commit = \"join\"\n",
    "late = \"miss\"\n",
    "from = [\"a\", \"b\"]\n",
    "stage.x.y.z = 1\n",
    "prover = []\n",
    "lease_s = 9\n",
];

/// A small generator of our own, so that a failure can be made again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }

    fn place(&mut self, text: &str) -> usize {
        text.floor_char_boundary(self.below(text.len() + 1))
    }
}

fn mutate(text: &mut String, random: &mut Random) {
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_string).collect();
    let at = random.place(text);
    match random.below(6) {
        0 => text.insert_str(at, SCRAPS[random.below(SCRAPS.len())]),
        1 => text.replace_range(at..text.ceil_char_boundary((at + 1 + random.below(4)).min(text.len())), ""),
        2 => text.insert_str(at, &lines[random.below(lines.len())]),
        3 => *text = without(&lines, random.below(lines.len())),
        4 => text.truncate(text.floor_char_boundary(text.len() - random.below(text.len() / 8))),
        _ => swap_values(text, &lines, random),
    }
}

fn without(lines: &[String], index: usize) -> String {
    lines.iter().enumerate().filter(|(line, _)| *line != index).map(|(_, line)| line.as_str()).collect()
}

/// Gives one key the value of another: what stays is TOML, and mostly wrong.
fn swap_values(text: &mut String, lines: &[String], random: &mut Random) {
    let (to, from) = (&lines[random.below(lines.len())], &lines[random.below(lines.len())]);
    if let (Some((key, _)), Some((_, value))) = (to.split_once(" = "), from.split_once(" = ")) {
        *text = text.replacen(to.as_str(), &format!("{key} = {value}"), 1);
    }
}

fn check(text: &str) -> bool {
    match parse(text) {
        Ok(checked) => {
            check_pipeline(&checked.pipeline);
            check_places(text, &checked.warnings);
            assert_ne!(draw(&checked.pipeline), "");
            true
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a word");
            check_places(text, &mistakes);
            false
        }
    }
}

fn check_pipeline(pipeline: &Pipeline) {
    let stages = &pipeline.stages;
    let mut leads_to_commit = vec![false; stages.len()];
    leads_to_commit[pipeline.commit] = true;
    for (index, stage) in stages.iter().enumerate().rev() {
        for source in &stage.from {
            let Source::Stage(source) = source else { continue };
            assert!(*source < index, "a stage stands after all that it reads from");
            leads_to_commit[*source] |= leads_to_commit[index];
            let starts_a_cut = matches!(stage.strategy, Strategy::Sequential(_));
            assert!(starts_a_cut || stages[*source].cut_by == stage.cut_by, "one scope");
            assert!(!starts_a_cut || stages[*source].cut_by.is_none(), "no cuts of cuts");
        }
        assert_eq!(matches!(stage.strategy, Strategy::Sequential(_)), stage.cut_by == Some(index));
        assert_eq!(stage.provers.is_empty(), stage.pool.is_empty());
        for (_, prover) in &stage.provers {
            assert!(pipeline.provers.contains_key(prover));
        }
        assert!(stage.pool.is_empty() || pipeline.pools.contains_key(&stage.pool));
        assert!(stage.provers.is_empty() || stage.prover_at(pipeline.chain.start_height).is_some());
    }
    for (stage, leads) in stages.iter().zip(&leads_to_commit) {
        assert_eq!(stage.after_commit, !leads);
    }
    let commit = &stages[pipeline.commit];
    assert!(commit.strategy != Strategy::Split && commit.output == Output::Proof);
    if let Some(cut) = pipeline.commit_cut() {
        let Strategy::Sequential(rule) = &stages[cut].strategy else { panic!("a cut without a rule") };
        assert!((1..=pipeline.chain.window).contains(&rule.size));
    }
    if pipeline.cut_stages().next().is_some() {
        assert_eq!(pipeline.chain.late, Late::Wait);
    }
}

fn check_places(text: &str, mistakes: &[Mistake]) {
    let lines: Vec<&str> = text.split('\n').collect();
    for mistake in mistakes {
        let line = lines.get(mistake.line - 1).expect("a line of the file");
        assert!((1..=line.chars().count() + 1).contains(&mistake.column), "{mistake:?}");
        assert!(!mistake.message.chars().any(char::is_control), "{mistake:?}");
        assert!(!mistake.help.is_empty() && !mistake.help.chars().any(char::is_control), "{mistake:?}");
    }
    assert!(mistakes.is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
}

#[test]
fn no_mutation_breaks_the_reader() {
    let mut good = 0;
    const SEEDS: u64 = 20_000;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut text = FILES[random.below(FILES.len())].to_string();
        for _ in 0..=random.below(4) {
            mutate(&mut text, &mut random);
        }
        let checked = std::panic::catch_unwind(|| check(&text));
        good += usize::from(checked.unwrap_or_else(|_| panic!("seed {seed}:\n{text}")));
    }
    println!("{good} of {SEEDS} mutated files are good");
    assert!(good > 100, "mutations that keep a file good are tried too");
}

#[test]
fn deep_and_wide_files_are_refused_or_read() {
    let deep = MAX_TEXT_BYTES - 16;
    for text in [
        "[".repeat(deep),
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a = ".repeat(deep / 5)),
        format!("{}a = 1", "a.".repeat(deep / 2)),
        format!("[stage.{}]", "a.".repeat(deep / 2)),
        "\n".repeat(deep),
        "=".repeat(deep),
        "\u{0}".repeat(deep),
        "a ".repeat(deep / 2),
        "a = \"\n".repeat(deep / 6),
        "a = 1\n".repeat(deep / 6),
        format!("[stage]\n{}", (0..60_000).map(|index| format!("s{index}.x=1\n")).collect::<String>()),
        format!("[chain]\n{} = 1", "k".repeat(deep - 100)),
        format!("[stage.a]\nfrom = [{}]", "\"x\",".repeat(deep / 4 - 10)),
        format!("[stage.a]\nprover = [{}]", "{},".repeat(deep / 3 - 10)),
    ] {
        assert!(!check(&text));
    }
}
