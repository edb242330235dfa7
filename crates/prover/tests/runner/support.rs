//! A folder with inputs, launches, and looking for processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofyard_prover::confinement::Confinement;
use proofyard_prover::runner::{GuardCommand, Launch, Limits};
use proofyard_prover::{Input, InputKind, ProveRequest, VerifyRequest};
use tempfile::TempDir;

pub const TOY: &str = env!("CARGO_BIN_EXE_proofyard-toy-prover");

/// No test waits longer for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Marks all processes of one test, so that it can look for them.
const MARK: &str = "PROOFYARD_TEST";

pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let block = r#"{"block":{"number":"0x1"},"segments":[{"from":0},{"from":7}]}"#;
        fs::write(folder.path().join("block"), block).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        Place { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }

    pub fn output_dir(&self) -> PathBuf {
        self.path("out")
    }

    pub fn mark(&self) -> String {
        self.folder.path().to_str().unwrap().into()
    }

    pub fn launch(&self, command: &[&str]) -> Launch {
        launch(command, &self.mark())
    }

    pub fn toy(&self, options: &[&str]) -> Launch {
        self.launch(&[&[TOY], options].concat())
    }

    /// A prover in shell, which finds the output folder in `$OUT`; `ask` reads a request into `$line`, its id into `$id`.
    pub fn shell(&self, script: &str) -> Launch {
        let ask = r#"ask() { read -r line; id=${line#*'"id":"'}; id=${id%%'"'*}; }"#;
        let mut launch = self.launch(&["sh", "-c", &format!("{ask}\n{script}")]);
        launch.environment.push(("OUT".into(), self.text("out")));
        launch
    }

    pub fn block(&self, index: Option<u32>) -> Input {
        Input {
            kind: InputKind::Block,
            path: self.path("block"),
            index,
            stage: None,
            task_index: 0,
            public_values: None,
            verification_key: None,
        }
    }

    pub fn prove_request(&self, inputs: Vec<Input>) -> ProveRequest {
        let (task, output_dir) = ("block-1/segment/1".into(), self.output_dir());
        ProveRequest { task, attempt: 1, inputs, output_dir, gpus: vec![], deadline_ms: 60_000, resume: None }
    }

    pub fn prove_segment(&self) -> ProveRequest {
        self.prove_request(vec![self.block(Some(1))])
    }

    pub fn verify_request(&self, proof: &Path, inputs: Vec<Input>) -> VerifyRequest {
        let output_dir = self.path("verify");
        fs::create_dir_all(&output_dir).unwrap();
        VerifyRequest { proof: proof.into(), verification_key: None, inputs, output_dir }
    }

    /// Processes of this test that still run.
    pub fn processes(&self) -> Vec<String> {
        marked_processes(&self.mark())
    }

    pub fn wait_for_no_process(&self, timeout: Duration) {
        wait_for(timeout, || self.processes(), |left| left.is_empty());
    }
}

pub fn launch(command: &[&str], mark: &str) -> Launch {
    Launch {
        command: command.iter().map(ToString::to_string).collect(),
        environment: vec![(MARK.into(), mark.into())],
        gpus: None,
        working_dir: None,
        guard: GuardCommand {
            program: env!("CARGO_BIN_EXE_proofyard-guard").into(),
            leading_arguments: vec![],
        },
        confinement: Confinement::default(),
        limits: Limits { time_ms: 60_000, setup_ms: 60_000, ..Limits::default() },
    }
}

/// "pid command" of each process that was started with this mark.
pub fn marked_processes(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("{} {command}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

/// Looks until it is as wanted.
pub fn wait_for<T: std::fmt::Debug>(
    timeout: Duration,
    mut look: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {timeout:?}, still {seen:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
