//! A yard that proves recorded blocks with the toy prover, and whose sinks are told over HTTP or by programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use proofyard_programs::programs;
use serde_json::Value;
use tempfile::TempDir;

use crate::ethproofs_server::TOKEN;
use crate::wait_for;

pub struct Yard {
    folder: TempDir,
}

impl Yard {
    /// `sinks`: the TOML of the `[sink.*]` tables.
    pub fn new(blocks: usize, work_ms: u64, sinks: &str) -> Self {
        let stages =
            "[stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"toy\"\npool = \"cpu\"\n";
        Self::proving(blocks, work_ms, stages, sinks)
    }

    /// The same with other stages, whose prover is `toy` and whose pool is `cpu`.
    pub fn proving(blocks: usize, work_ms: u64, stages: &str, sinks: &str) -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap() };
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blocks/chain.jsonl");
        let text = fs::read_to_string(recorded).unwrap();
        let lines: Vec<&str> = text.lines().take(blocks).collect();
        assert_eq!(lines.len(), blocks);
        fs::write(yard.path("blocks.jsonl"), lines.join("\n") + "\n").unwrap();
        let toy = programs().join("proofyard-toy-prover");
        let toy = toy.display();
        let pipeline = format!(
            r#"
            [chain]
            name = "demo"
            start_height = 1
            window = 4
            tick_ms = 100

            {stages}

            [prover.toy]
            command = ["{toy}", "--work-ms", "{work_ms}"]

            [pool.cpu]
            slots = 2

            {sinks}
            "#
        );
        fs::write(yard.path("pipeline.toml"), pipeline).unwrap();
        yard
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an executable shell script into the yard's folder.
    pub fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("proofyard"));
        command.args(arguments).args(["--data", "yard"]).current_dir(self.folder.path());
        command
            .env("TOKEN", TOKEN)
            .env("SECRET", "s3cret")
            .env("PASSWORD", "correct horse")
            .stdin(Stdio::null());
        command
    }

    /// Runs until all is proved, and every sink is told.
    pub fn run(&self) -> String {
        let output = self.command(&["run", "pipeline.toml", "--blocks", "blocks.jsonl"]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}{}", String::from_utf8_lossy(&output.stdout));
        log
    }

    pub fn start(&self, crash_at: Option<&str>) -> Child {
        let mut command = self.command(&["run", "pipeline.toml", "--blocks", "blocks.jsonl"]);
        if let Some(crash_at) = crash_at {
            command.env("PROOFYARD_CRASH_AT", crash_at);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    pub fn sink(&self, name: &str) -> Option<Value> {
        let status: Value = serde_json::from_str(&self.ask(&["status", "--json"]).ok()?).unwrap();
        let sinks =
            status["sinks"].as_array().or_else(|| status["status"]["sinks"].as_array()).unwrap().clone();
        sinks.into_iter().find(|sink| sink["sink"] == name)
    }

    pub fn wait_until_committed(&self, frontier: u64) {
        wait_for("blocks are committed", || {
            let status: Value = serde_json::from_str(&self.ask(&["status", "--json"]).ok()?).unwrap();
            (status["frontier"].as_u64()? >= frontier).then_some(())
        });
    }
}
