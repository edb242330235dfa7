//! What a yard does with the prover: starts it, asks it, keeps its checkpoints, cancels, kills.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_proofyard-remote");
const PATIENCE: Duration = Duration::from_secs(60);

/// A token that the prover is given in its environment.
pub const TOKEN: (&str, &str) = ("PROVER_TOKEN", "a-secret-token");

/// One process of the prover.
pub struct Prover {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    folder: TempDir,
    requests: u32,
    /// The last checkpoint that was kept.
    pub checkpoint: Option<String>,
    /// All that it has said of its progress.
    pub said: Vec<String>,
}

/// One attempt at a task.
#[derive(Clone)]
pub struct Attempt {
    pub task: &'static str,
    pub number: u32,
    pub input: Vec<u8>,
    /// How often the input is there once more.
    pub more_inputs: usize,
    pub resume: Option<String>,
    pub deadline_ms: u64,
}

impl Default for Attempt {
    fn default() -> Attempt {
        let input = b"a block".to_vec();
        Attempt { task: "t1", number: 1, input, more_inputs: 0, resume: None, deadline_ms: 30_000 }
    }
}

impl Attempt {
    pub fn again(&self, resume: Option<String>) -> Attempt {
        Attempt { number: self.number + 1, resume, ..self.clone() }
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Prover {
    pub fn start() -> Prover {
        Prover::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Prover {
        let mut command = Command::new(PROGRAM);
        command.args(options).env_clear().env(TOKEN.0, TOKEN.1).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let folder = tempfile::tempdir().unwrap();
        Prover { child, stdin, lines, folder, requests: 0, checkpoint: None, said: Vec::new() }
    }

    /// A process that is set up.
    pub fn ready(arguments: &Value) -> Prover {
        let mut prover = Prover::start();
        let answer = prover.setup(arguments);
        assert!(answer["ok"].is_object(), "{answer}");
        prover
    }

    pub fn setup(&mut self, arguments: &Value) -> Value {
        self.ask(json!({"verb": "setup", "gpus": [], "arguments": arguments}));
        self.line()
    }

    /// Proves to the end, and returns the answer.
    pub fn prove(&mut self, attempt: &Attempt) -> Value {
        self.begin(attempt);
        self.answer()
    }

    /// Reads for this long and keeps checkpoints, as long as it is not done; returns whether it is.
    pub fn is_done_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { return false };
            if let Some(checkpoint) = line["checkpoint"].as_str() {
                self.checkpoint = Some(checkpoint.into());
                self.kept();
            } else if line["progress"].is_null() {
                proof(&line);
                return true;
            }
        }
    }

    pub fn begin(&mut self, attempt: &Attempt) {
        let (input, output_dir) = (self.folder.path().join("input"), self.output_dir());
        std::fs::write(&input, &attempt.input).unwrap();
        std::fs::create_dir_all(&output_dir).unwrap();
        let inputs = vec![json!({"kind": "block", "path": input}); 1 + attempt.more_inputs];
        let mut request = json!({"verb": "prove", "task": attempt.task, "attempt": attempt.number, "gpus": [],
            "inputs": inputs, "output_dir": output_dir, "deadline_ms": attempt.deadline_ms});
        if let Some(resume) = &attempt.resume {
            request["resume"] = json!(resume);
        }
        self.ask(request);
    }

    pub fn verify(&mut self, proof: &[u8], input: &[u8], key: Option<&str>) -> Value {
        let (proof_path, input_path) = (self.folder.path().join("proof"), self.folder.path().join("input"));
        std::fs::write(&proof_path, proof).unwrap();
        std::fs::write(&input_path, input).unwrap();
        self.ask(json!({"verb": "verify", "proof": proof_path, "verification_key": key,
            "inputs": [{"kind": "block", "path": input_path}], "output_dir": self.folder.path()}));
        self.line()
    }

    pub fn cancel(&mut self, reason: &str) {
        let id = self.id();
        self.write(&json!({"id": id, "verb": "cancel", "reason": reason}));
    }

    /// Reads to the answer; checkpoints are kept meanwhile.
    pub fn answer(&mut self) -> Value {
        loop {
            let line = self.line();
            if let Some(checkpoint) = line["checkpoint"].as_str() {
                self.checkpoint = Some(checkpoint.into());
                self.kept();
            } else if line["progress"].is_null() {
                return line;
            }
        }
    }

    /// Reads until it wants a checkpoint kept, and does not yet keep it.
    pub fn wants_checkpoint(&mut self) -> String {
        loop {
            let line = self.line();
            if let Some(checkpoint) = line["checkpoint"].as_str() {
                return checkpoint.into();
            }
            assert!(line["progress"].is_number(), "{line}");
        }
    }

    pub fn kept(&mut self) {
        let id = self.id();
        self.write(&json!({"id": id, "verb": "checkpointed"}));
    }

    /// Reads until it says this, keeping checkpoints.
    pub fn says(&mut self, words: &str) {
        loop {
            let line = self.line();
            if let Some(checkpoint) = line["checkpoint"].as_str() {
                self.checkpoint = Some(checkpoint.into());
                self.kept();
                continue;
            }
            assert!(line["progress"].is_number(), "{line}");
            if line["message"].as_str().unwrap().contains(words) {
                return;
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn has_said(&self, words: &str) -> bool {
        self.said.iter().any(|said| said.contains(words))
    }

    fn output_dir(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn id(&self) -> String {
        format!("request-{}", self.requests)
    }

    fn ask(&mut self, mut request: Value) {
        self.requests += 1;
        request["id"] = json!(self.id());
        self.write(&request);
    }

    fn write(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the prover says nothing");
        assert_eq!(line["id"], self.id(), "{line}");
        if let Some(said) = line["message"].as_str() {
            self.said.push(said.into());
        }
        line
    }
}

/// The proof that an answer names.
#[track_caller]
pub fn proof(answer: &Value) -> Vec<u8> {
    assert!(answer["ok"].is_object(), "{answer}");
    std::fs::read(answer["ok"]["proof"].as_str().unwrap()).unwrap()
}

/// It failed like this, and says so.
#[track_caller]
pub fn failed(answer: &Value, kind: &str, words: &str) {
    let error = &answer["error"];
    assert_eq!(error["kind"], kind, "{answer}");
    assert!(error["message"].as_str().unwrap().contains(words), "{answer}");
}

/// Waits until it is so.
#[track_caller]
pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited for {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
