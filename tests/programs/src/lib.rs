//! The workspace's programs, for tests that run them as users do: built once, as everything else is built, so that
//! nothing is built twice.

#![allow(clippy::unwrap_used, reason = "a test without its programs is over")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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
        "--bins",
    ]);
    assert!(build.status().unwrap().success(), "the programs under test do not build");
    // This test is target/release/deps/NAME.
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}
