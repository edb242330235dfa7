//! A yard in a folder of its own, with a toy prover that waits for a gate and fails while it is told to.

use std::cell::Cell;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_programs::programs;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Far beyond what anything here takes, also on a machine that is busy with other work.
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub struct Place {
    folder: TempDir,
    pub data: PathBuf,
    /// Its provers write outside of their folders, for the test to see.
    notes: Cell<bool>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    /// A pipeline over the first `blocks` recorded blocks, of at least two segments each.
    pub fn new(blocks: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("yard");
        let place = Self { folder, data, notes: Cell::new(false) };
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blocks/chain.jsonl");
        let lines: Vec<_> =
            fs::read_to_string(recorded).unwrap().lines().take(blocks).map(str::to_owned).collect();
        fs::write(place.path("blocks.jsonl"), lines.join("\n") + "\n").unwrap();
        place.write_prover();
        place.write_pipeline("");
        place.open_gate();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// While the gate is shut, claimed tasks are not worked on.
    pub fn shut_gate(&self) {
        fs::remove_file(self.path("gate")).unwrap();
    }

    pub fn open_gate(&self) {
        fs::write(self.path("gate"), "").unwrap();
    }

    /// While this is there, tasks whose id contains `only` fail.
    pub fn break_prover(&self, only: &str) {
        fs::write(self.path("broken"), only).unwrap();
    }

    pub fn mend_prover(&self) {
        fs::remove_file(self.path("broken")).unwrap();
    }

    fn write_prover(&self) {
        let toy = programs().join("proofyard-toy-prover");
        let folder = self.folder.path().display();
        let script = format!(
            "#!/bin/sh\nwhile ! [ -e {folder}/gate ]; do sleep 0.02; done\n\
             if [ -e {folder}/broken ]; then exec {toy} --fail --only \"$(cat {folder}/broken)\"; fi\nexec {toy}\n",
            toy = toy.display()
        );
        self.replace_prover(&script);
    }

    /// Shells that run the old one go on reading that.
    pub fn replace_prover(&self, script: &str) {
        let new = self.path("prover.new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("prover.sh")).unwrap();
    }

    /// `more` goes into both stages.
    pub fn write_pipeline(&self, more: &str) {
        let prover = self.path("prover.sh");
        let text = format!(
            r#"
            [chain]
            name = "demo"
            start_height = 1
            window = 4
            tick_ms = 100

            [stage.segment]
            strategy = "split"
            from = "block"
            prover = "toy"
            pool = "cpu"
            {more}

            [stage.join]
            strategy = "match"
            from = ["block", "segment"]
            prover = "toy"
            pool = "cpu"
            {more}

            [prover.toy]
            command = ["{}"]

            [pool.cpu]
            slots = 2

            [sink.file]
            file = "out.jsonl"
            "#,
            prover.display()
        );
        fs::write(self.path("pipeline.toml"), text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        if self.notes.get() {
            command.env("PROOFYARD_ISOLATION", "none");
        }
        command
    }

    /// Lets its provers write outside of their folders.
    pub fn let_provers_take_notes(&self) {
        self.notes.set(true);
    }

    /// A verb about this yard, to its end.
    pub fn verb(&self, arguments: &[&str]) -> Done {
        let mut command = self.command(arguments);
        Done::of(command.arg("--data").arg(&self.data).output().unwrap())
    }

    /// A verb that succeeds and answers in JSON, by line.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let done = self.verb(&with_json).expect_code(0);
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn status(&self) -> Value {
        self.json(&["status", "--tasks"]).remove(0)
    }

    pub fn explain(&self, height: u64) -> Value {
        self.json(&["explain", &height.to_string()]).remove(0)
    }

    pub fn run(&self) -> Done {
        self.start().wait()
    }

    pub fn start(&self) -> Running {
        let mut command = self.command(&["run", "pipeline.toml", "--blocks", "blocks.jsonl", "--data"]);
        command.arg(&self.data).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::of(command)
    }

    /// Starts, and waits until the yard listens.
    pub fn start_listening(&self) -> Running {
        let mut running = self.start();
        until("the yard listens", || {
            assert!(!running.is_over(), "it ended: {:#?}", running.read());
            // At first there is no yard yet, then no chain.
            let done = self.verb(&["status", "--json"]);
            done.code == Some(0) && done.out.contains(r#""running":true"#)
        });
        running
    }
}

impl Done {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    pub fn expect_error(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{part:?} is not told: {self:#?}");
        self
    }

    pub fn expect_output(self, part: &str) -> Self {
        assert!(self.out.contains(part), "{part:?} is not told: {self:#?}");
        self
    }
}

/// A command that goes on; killed at the end of a test that failed.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn of(mut command: Command) -> Self {
        Self { child: command.spawn().unwrap() }
    }

    /// Waits for its end, where its output goes elsewhere.
    pub fn exit_code(mut self) -> Option<i32> {
        until("the command ends", || self.is_over());
        self.child.wait().unwrap().code()
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(mut self) -> Done {
        self.read()
    }

    fn read(&mut self) -> Done {
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let err = thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).map(|_| text)
        });
        let out = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        until("the run ends", || self.is_over());
        let code = self.child.wait().unwrap().code();
        Done { code, out: out.join().unwrap().unwrap(), err: err.join().unwrap().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition that must come.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited for this in vain: {what}");
        thread::sleep(LOOK);
    }
}

/// How many tasks the status counts in this state, over all stages.
pub fn tasks(status: &Value, state: &str) -> u64 {
    status["stages"].as_array().unwrap().iter().map(|stage| stage[state].as_u64().unwrap()).sum()
}
