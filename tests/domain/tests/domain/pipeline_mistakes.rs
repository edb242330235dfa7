//! What is said about bad pipeline files, word for word: `pipeline/mistakes.txt` holds the cases.
//!
//! A case is a title, the file it starts from, edits (`-` what is there, `+` what stands there instead; without a
//! `-` it is put at the end), and what is told. With `PIPELINE_BLESS=1` the test writes down what is told now.

use proofyard_core::pipeline::{Mistake, parse};

const CASES: &str = include_str!("pipeline/mistakes.txt");

struct Case {
    title: String,
    /// The file it starts from, and the edits, as they stand.
    start: Vec<String>,
    told: String,
}

fn cases() -> Vec<Case> {
    let read = |case: &str| {
        let mut lines = case.lines().map(str::to_string);
        let title = lines.next().unwrap();
        let is_start =
            |line: &String| ["-", "+"].iter().any(|sign| line.starts_with(sign)) || !line.contains(' ');
        let (start, told): (Vec<String>, Vec<String>) =
            lines.filter(|line| !line.is_empty()).partition(is_start);
        Case { title, start, told: told.join("\n") }
    };
    CASES.split("## ").skip(1).map(read).collect()
}

fn edited(start: &[String]) -> String {
    let base = match start[0].as_str() {
        "demo" => include_str!("pipeline/demo.toml"),
        "realtime" => include_str!("pipeline/realtime.toml"),
        "rollup" => include_str!("pipeline/rollup.toml"),
        "folding" => include_str!("pipeline/folding.toml"),
        "empty" => "",
        other => panic!("no file {other}"),
    };
    let mut text = base.to_string();
    let mut old = None;
    for line in &start[1..] {
        let part = line[1..].strip_prefix(' ').unwrap_or_default().replace("\\n", "\n").replace("\\r", "\r");
        match (line.starts_with('-'), old.take()) {
            (true, _) => old = Some(part),
            (false, Some(old)) => {
                assert!(text.contains(&old), "not there: {old}");
                text = text.replacen(&old, &part, 1);
            }
            (false, None) => text.push_str(&part),
        }
    }
    text
}

fn told(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| mistake.display("file").to_string()).collect();
    lines.join("\n").replace("file:", "")
}

#[test]
fn each_mistake_is_told_at_its_place_with_what_would_be_right() {
    let mut anew = String::new();
    let mut different = Vec::new();
    for case in cases() {
        let mistakes = parse(&edited(&case.start)).err().unwrap_or_default();
        let now = told(&mistakes);
        assert_ne!(now, "", "nothing is told: {}", case.title);
        if now != case.told {
            different.push(format!("{}\n{now}\n  instead of\n{}", case.title, case.told));
        }
        anew.push_str(&format!("## {}\n{}\n{now}\n\n", case.title, case.start.join("\n")));
    }
    if std::env::var_os("PIPELINE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/domain/pipeline/mistakes.txt");
        std::fs::write(path, anew.trim_end().to_string() + "\n").unwrap();
    } else {
        assert!(different.is_empty(), "{}", different.join("\n\n"));
    }
}
