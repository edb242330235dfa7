//! The pipelines of `examples/` on recorded blocks, with the real provers that they name. Each is run as its first lines
//! say, on fewer blocks, and what it committed is verified again.

#![allow(clippy::unwrap_used)]

mod folding;
mod pairs;
mod realtime;
mod rollup;

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proofyard_programs::programs;
use serde_json::Value;
use tempfile::TempDir;

/// An example's pipeline and some of the quiet chain's blocks, in a folder of their own.
struct Example {
    folder: TempDir,
    name: &'static str,
    /// Where Groth16 looks for its keys.
    keys: PathBuf,
}

/// Development keys are kept from one run of the tests to the next, also those of other tests.
fn keys() -> PathBuf {
    programs().join("../tmp/keys")
}

impl Example {
    /// `changes` are replaced in the pipeline's text; each must be there.
    fn new(name: &'static str, heights: RangeInclusive<usize>, changes: &[(&str, &str)]) -> Self {
        let example = Self { folder: tempfile::tempdir().unwrap(), name, keys: keys() };
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let blocks = fs::read_to_string(examples.join("blocks/quiet.jsonl")).unwrap();
        let count = heights.clone().count();
        let lines: String = blocks.split_inclusive('\n').skip(heights.start() - 1).take(count).collect();
        fs::write(example.path("blocks.jsonl"), lines).unwrap();
        fs::copy(examples.join(format!("{name}.toml")), example.path("pipeline.toml")).unwrap();
        let start = format!("start_height = {}", heights.start());
        for (old, new) in changes.iter().copied().chain([("start_height = 1", start.as_str())]) {
            example.replace(old, new);
        }
        example
    }

    /// What is replaced must be in the pipeline's text.
    fn replace(&self, old: &str, new: &str) {
        let pipeline = fs::read_to_string(self.path("pipeline.toml")).unwrap();
        assert!(pipeline.contains(old), "{old:?} is not in {}.toml", self.name);
        fs::write(self.path("pipeline.toml"), pipeline.replace(old, new)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn proofyard(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(programs().join("proofyard"));
        command.args(arguments).arg("--data").arg(self.path("yard"));
        command.env("PROOFYARD_KEYS", &self.keys);
        if fs::read_to_string(self.path("pipeline.toml")).unwrap().contains("writes") {
            // Development keys are made once for all tests, by whoever needs them first.
            command.env("PROOFYARD_ISOLATION", "none");
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the pipeline to its end and verifies what it committed; answers what was handed on.
    fn run(&self) -> Vec<Value> {
        said(&self.proofyard(&["run", "pipeline.toml", "--blocks", "blocks.jsonl"]));
        said(&self.proofyard(&["verify"]));
        let out = fs::read_to_string(self.path(&format!("{}.out.jsonl", self.name))).unwrap();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What a command that succeeded said.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn each_is_right_and_nothing_about_it_is_odd() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pipelines: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    assert!(pipelines.len() >= 6, "{pipelines:?}");
    for pipeline in pipelines {
        let checked =
            Command::new(programs().join("proofyard")).arg("check").arg(&pipeline).output().unwrap();
        let told = said(&checked) + &String::from_utf8_lossy(&checked.stderr);
        assert!(!told.contains("warning"), "{}: {told}", pipeline.display());
    }
}
