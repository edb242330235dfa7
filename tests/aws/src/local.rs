//! A local AWS, started by the command that users start it with, gone with the value.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

pub use proofyard_programs::programs;

/// How `localstack/venv.sh tier` ends where LocalStack cannot be had, and tests may go on without it.
const NO_PYTHON: i32 = 3;

/// A started local AWS with the resources of one yard.
pub struct LocalAws {
    /// None if it was there before.
    process: Option<Child>,
    /// It stops when this is let go of, also by a test that is killed.
    stdin: Option<ChildStdin>,
    state: tempfile::TempDir,
    pub yard: String,
    /// What programs are to find in their environment.
    pub environment: BTreeMap<String, String>,
}

impl LocalAws {
    /// Queues, table and bucket, and nobody who works.
    pub fn without_functions() -> Self {
        Self::start(&["--no-functions"])
    }

    /// All of it, with the real functions.
    pub fn whole(options: &[&str]) -> Self {
        programs();
        Self::start(options)
    }

    /// All of it on LocalStack's own queues, mappings and rules; `None` where there is no Python that LocalStack runs on,
    /// which is said.
    pub fn on_localstack() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../localstack/venv.sh");
        let made = Command::new("bash").args([script, "tier"]).stdout(Stdio::null()).status().unwrap();
        if made.code() == Some(NO_PYTHON) {
            return None;
        }
        assert!(made.success(), "LocalStack's environment was not made: {made}");
        programs();
        Some(Self::start(&["--on", "localstack"]))
    }

    /// All of it; or the yard that `PROOFYARD_TEST_YARD` names, on the AWS that the environment names.
    pub fn whole_or_named() -> Self {
        let Ok(yard) = std::env::var("PROOFYARD_TEST_YARD") else { return Self::whole(&[]) };
        let state = tempfile::tempdir().unwrap();
        Self { process: None, stdin: None, state, yard, environment: BTreeMap::new() }
    }

    fn start(options: &[&str]) -> Self {
        let yard = "test".to_owned();
        let state = tempfile::Builder::new().prefix("proofyard-aws-test-").tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../localstack/start.sh");
        let mut process = Command::new("bash")
            .args([
                script,
                "--yard",
                &yard,
                "--port",
                "0",
                "--batch-port",
                "0",
                "--until-stdin-ends",
                "--state",
            ])
            .arg(state.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.starts_with("ready: "), "the local AWS did not start: {ready:?}");
        let environment = std::fs::read_to_string(state.path().join("env")).unwrap();
        let environment = environment.lines().map(|line| {
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        });
        Self { process: Some(process), stdin, environment: environment.collect(), state, yard }
    }

    pub fn endpoint(&self) -> &str {
        &self.environment["AWS_ENDPOINT_URL"]
    }

    pub fn bucket(&self) -> &str {
        &self.environment["PROOFYARD_BUCKET"]
    }

    /// Where its DynamoDB is.
    pub fn table_endpoint(&self) -> &str {
        self.environment.get("AWS_ENDPOINT_URL_DYNAMODB").map_or_else(|| self.endpoint(), String::as_str)
    }

    /// The folder with its logs.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// A program of the workspace, in this AWS's environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(programs().join(name));
        command.envs(&self.environment);
        command
    }

    /// Asks the stand-in for AWS Batch, by its API or its controls for tests.
    pub fn batch(&self, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let headers = [("Content-Type", "application/json")];
        let request = Request { method: "POST", path, headers: &headers, body: &body.to_string() };
        let (status, said) = request.send(&self.environment["AWS_ENDPOINT_URL_BATCH"]);
        assert_eq!(status, 200, "{path}: {said}");
        said
    }
}

/// One request, for what has no client here.
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

impl Request<'_> {
    /// Answers the status, and the JSON of the answer.
    pub fn send(&self, endpoint: &str) -> (u16, serde_json::Value) {
        use std::io::{Read, Write};
        let Self { method, path, headers, body } = self;
        let address = endpoint.strip_prefix("http://").unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in *headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {address}\r\n");
        }
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "{head}\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let json = content.find('{').map_or("null", |begin| &content[begin..=content.rfind('}').unwrap()]);
        (status.unwrap_or_else(|| panic!("{answer}")), serde_json::from_str(json).unwrap())
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        self.stdin = None;
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }
}
