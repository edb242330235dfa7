//! Contracts on a real EVM: Solidity compiled by npm's solc, and put on anvil.

#![allow(clippy::unwrap_used, reason = "this is for tests")]

use std::path::Path;
use std::process::{Command, Stdio};

use proofyard_programs::npm_installed;
use serde_json::Value;

/// Where the contracts of tests are.
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The contracts of these Solidity files, or of all in these folders: `{"NAME": {"abi": [...], "bytecode": "0x..."}}`.
/// What the compiler warns of is a mistake.
pub fn compiled(sources: &[&Path]) -> Value {
    let package = Path::new(FOLDER);
    npm_installed(package);
    let mut compile = Command::new("node");
    compile.arg(package.join("compile.mjs")).args(sources).stdin(Stdio::null());
    let output = compile.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}
