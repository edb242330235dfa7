//! The recorded files, and ways to spoil them.

use std::io::{BufReader, Cursor, Read};

use proofyard_blocks::{BlocksError, Line, Reader, RecordedBlock, Rules, Summary, check_file, parse_line};
use serde_json::Value;

pub fn chain() -> Vec<String> {
    lines(include_str!("../../../../examples/blocks/chain.jsonl"))
}

pub fn reorg() -> Vec<String> {
    lines(include_str!("../../../../examples/blocks/reorg.jsonl"))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

pub fn check(lines: &[String]) -> Result<Summary, BlocksError> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    check_bytes(text.as_bytes())
}

pub fn check_bytes(bytes: &[u8]) -> Result<Summary, BlocksError> {
    check_read(Cursor::new(bytes))
}

pub fn check_read(read: impl Read) -> Result<Summary, BlocksError> {
    check_file(Reader::new("blocks.jsonl", BufReader::new(read), Rules::default()))
}

/// One line that is a block, under these rules.
pub fn read(line: &str, rules: &Rules) -> Result<RecordedBlock, String> {
    match parse_line("blocks.jsonl", 1, line.as_bytes(), rules) {
        Ok(Line::Block(block)) => Ok(*block),
        Ok(Line::Reorg { .. }) => Err("a reorg".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What the file is refused with, which must be at that line.
pub fn refusal(lines: &[String], at_line: u64) -> String {
    let error = check(lines).expect_err("a bad file was accepted");
    let message = error.to_string();
    assert_eq!(error.line, at_line, "{message}");
    assert!(message.starts_with(&format!("blocks.jsonl:{at_line}: ")), "{message}");
    assert!(message.len() < 1000, "a message of {} bytes", message.len());
    message
}

/// The line with its JSON changed.
pub fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap();
    change(&mut value);
    value.to_string()
}

pub fn block_hash(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value["block"]["hash"].as_str().unwrap().to_owned()
}

pub fn reorg_to(hash: &str) -> String {
    format!("{{\"reorg\":\"{hash}\"}}")
}

#[track_caller]
pub fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}
