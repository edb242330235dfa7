//! The workspace's programs, for tests that run them as users do: built once, as everything else is built, so that
//! nothing is built twice.

#![allow(clippy::unwrap_used, reason = "a test without its programs is over")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Where the programs are, if they are built already; else they are built first.
const PROGRAMS: &str = "PROOFYARD_PROGRAMS";

/// The folder with the programs, built from these very sources.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os(PROGRAMS).map_or_else(built, PathBuf::from))
}

fn built() -> PathBuf {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // A test's own CARGO_ variables would have build scripts run again, and all that depends on them built again.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_test)) {
        build.env_remove(name);
    }
    build.args([
        "build",
        "--quiet",
        "--release",
        "--workspace",
        "--exclude",
        "proofyard-simulation",
        "--exclude",
        "proofyard-baselines",
        "--bins",
    ]);
    assert!(build.status().unwrap().success(), "the programs under test do not build");
    // This test is target/PROFILE/deps/NAME. The programs are optimised also where it is not: proofs would take minutes.
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("release")
}

/// Runs a program once on this input.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What exits at once with a usage mistake does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Sends requests to one new process of a prover, a line each; returns all lines that it answers, progress as well.
pub fn ask(program: &str, verb: &str, requests: &[Value]) -> Vec<Value> {
    let input: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let output = run(program, &[verb], &input);
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// As [`ask`], without the progress.
pub fn answers(program: &str, verb: &str, requests: &[Value]) -> Vec<Value> {
    let mut lines = ask(program, verb, requests);
    lines.retain(|line| line.get("progress").is_none());
    lines
}

/// Installs what a folder's `package-lock.json` pins, unless it is there; whoever comes meanwhile waits.
pub fn npm_installed(package: &Path) {
    let lock = File::open(package.join("package-lock.json")).unwrap();
    lock.lock().unwrap();
    // npm writes this file last.
    if package.join("node_modules/.package-lock.json").is_file() {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(package);
    assert!(npm.stdout(Stdio::null()).status().unwrap().success(), "npm ci failed in {}", package.display());
}
