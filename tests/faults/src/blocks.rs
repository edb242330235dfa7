//! The recorded blocks files, whole or in part, and the chain that they lead to, read without the yard's own reader.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A recorded file of `examples/blocks`.
#[derive(Clone, Copy)]
pub enum BlocksFile {
    Chain,
    /// Ten blocks, four of another branch, a reorg line, five more blocks.
    Reorg,
}

impl BlocksFile {
    pub fn lines(self) -> Vec<String> {
        let name = match self {
            Self::Chain => "chain.jsonl",
            Self::Reorg => "reorg.jsonl",
        };
        let path = examples().join(name);
        fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blocks")
}

/// (height, hash) of a block's line.
pub fn block_of(line: &str) -> Option<(u64, String)> {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let block = line.get("block")?;
    let number = block["number"].as_str().unwrap().trim_start_matches("0x");
    Some((u64::from_str_radix(number, 16).unwrap(), block["hash"].as_str().unwrap().to_owned()))
}

/// The chain that these lines end with: the last block and all that it stands on.
pub fn final_chain(lines: &[String]) -> Vec<(u64, String)> {
    let mut parents = HashMap::new();
    for line in lines {
        if let Some(block) = block_of(line) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            parents
                .insert(block.1.clone(), (block.0, line["block"]["parentHash"].as_str().unwrap().to_owned()));
        }
    }
    let mut chain = Vec::new();
    let mut next = lines.iter().rev().find_map(|line| block_of(line)).map(|(_, hash)| hash);
    while let Some(hash) = next.take() {
        if let Some((height, parent)) = parents.get(&hash) {
            chain.push((*height, hash));
            next = Some(parent.clone());
        }
    }
    chain.reverse();
    chain
}
