//! A yard whose blocks are one task each of the toy prover, and real workers for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use proofyard_core::state::{ArtifactRef, Block, ScopeId, Task, TaskId};
use proofyard_core::transaction::read;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::driver::{Driver, PIPELINE, block};
use crate::local::LocalAws;
use crate::wait_for;

pub struct ToyYard {
    pub aws: LocalAws,
    pub runtime: Runtime,
    pub driver: Driver,
    folder: tempfile::TempDir,
}

/// The program of a job, as a process. It ends with the value.
pub struct Worker {
    process: Child,
    log: PathBuf,
}

impl ToyYard {
    /// The toy is told `faults`, and the stage and the pool have these lines too.
    pub fn new(faults: &[&str], stage: &str, pool: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("toy.log");
        let mut command = vec!["proofyard-toy-prover", "--log", log.to_str().unwrap()];
        command.extend(faults);
        let text = PIPELINE
            .replace(r#"command = ["prover"]"#, &format!("command = {}", json!(command)))
            // Dead workers are found within a lease and a tick.
            .replace("[chain]", "[chain]\ntick_ms = 500")
            .replace("[stage.prove]", &format!("[stage.prove]\n{stage}"))
            .replace("[pool.cpu]", &format!("[pool.cpu]\n{pool}"));
        Self::with_pipeline(&text, folder)
    }

    /// The same, where nothing is handed on before the judge has looked at it.
    pub fn judged(self) -> Self {
        Self { driver: self.driver.judged(), ..self }
    }

    /// With a pipeline of its own in place of the toy's.
    pub fn with_pipeline(text: &str, folder: tempfile::TempDir) -> Self {
        let aws = LocalAws::whole(&["--no-functions"]);
        let runtime = Runtime::new().unwrap();
        let driver = runtime.block_on(Driver::with_pipeline(&aws, text));
        Self { aws, runtime, driver, folder }
    }

    /// Records a block whose payload is in the bucket; answers its task.
    pub fn block(&self, height: u64) -> TaskId {
        let content = payload(height);
        let block = Block { payload: artifact(&content), ..block(height, "a", "a") };
        let put = self.driver.home.objects.put_bytes(&block.payload, content);
        self.runtime.block_on(put).unwrap();
        self.runtime.block_on(async {
            self.driver.home.yard.record_block(&"c".parse().unwrap(), &block).await.unwrap();
            self.driver.take_steps().await.unwrap();
        });
        TaskId::new(&ScopeId::of_block(&"c".parse().unwrap(), height, &block.hash, 0), "prove", 0)
    }

    pub fn task(&self, id: &TaskId) -> Task {
        let task = self.runtime.block_on(read(&self.driver.home.yard.port, &id.task_key()));
        task.unwrap().expect("the task is there")
    }

    /// How many attempts at a task the toy was asked to prove.
    pub fn asked_to_prove(&self, id: &TaskId) -> usize {
        let log = fs::read_to_string(self.folder.path().join("toy.log")).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(&format!("prove {id} "))).count()
    }

    /// Nothing is claimed until it is resumed.
    pub fn pause(&self) {
        self.runtime.block_on(self.driver.home.yard.pause(&"c".parse().unwrap())).unwrap();
    }

    pub fn resume(&self) {
        self.runtime.block_on(async {
            self.driver.home.yard.resume(&"c".parse().unwrap()).await.unwrap();
            self.driver.take_steps().await.unwrap();
        });
    }

    /// One tick.
    pub fn sweep(&self) {
        self.runtime.block_on(self.driver.home.sweep()).unwrap();
    }

    /// Takes the workers' messages, and answers which heights are committed then.
    pub fn committed(&self) -> Vec<u64> {
        self.runtime.block_on(async {
            self.driver.drain_all().await;
            self.driver.committed("c").await.into_iter().map(|(height, _)| height).collect()
        })
    }

    /// Starts a worker of one slot. No other one is submitted when tasks are listed again.
    pub fn worker(&self, name: &str, change: impl FnOnce(&mut Command)) -> Worker {
        let log = self.folder.path().join(format!("{name}.log"));
        let mut command = self.aws.program("proofyard-worker");
        command.args(["--aws", &self.aws.yard, "--scratch"]).arg(self.folder.path());
        // The toy keeps its log there for the test, whoever it is.
        command.env("PROOFYARD_ISOLATION", "none");
        command.env("PROOFYARD_POOLS", "{}").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&log).unwrap());
        change(&mut command);
        if !command.get_args().any(|argument| argument == "--pool") {
            command.args(["--pool", "cpu"]);
        }
        Worker { process: command.spawn().unwrap(), log }
    }

    /// Starts the judge, under its own role.
    pub fn judge(&self, name: &str) -> Worker {
        let [key, secret, token] =
            self.runtime.block_on(self.driver.credentials_of(&self.aws, "worker-judge"));
        self.worker(name, |command| {
            command.args(["--pool", "judge"]).env("AWS_ACCESS_KEY_ID", key);
            command.env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_SESSION_TOKEN", token);
        })
    }

    /// What the command says, and its exit code.
    pub fn command(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.aws.program("proofyard").args(arguments).args(["--aws", &self.aws.yard]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (said.into_owned(), output.status.code().unwrap())
    }

    /// The bucket, for what no worker does to it.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.driver.config).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    pub fn overwrite(&self, key: &str, content: impl Into<Vec<u8>>) {
        let put = self.s3().put_object().bucket(self.aws.bucket()).key(key).body(content.into().into());
        self.runtime.block_on(put.send()).unwrap();
    }

    pub fn object(&self, key: &str) -> Vec<u8> {
        let get = self.s3().get_object().bucket(self.aws.bucket()).key(key);
        self.runtime.block_on(async { get.send().await.unwrap().body.collect().await.unwrap().to_vec() })
    }

    pub fn remove(&self, key: &str) {
        let delete = self.s3().delete_object().bucket(self.aws.bucket()).key(key);
        self.runtime.block_on(delete.send()).unwrap();
    }
}

impl Worker {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of a worker", || self.process.try_wait().unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!(
                "what {} has:\n{}",
                self.log.display(),
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// Of the block of this height.
pub fn payload(height: u64) -> Vec<u8> {
    format!(r#"{{"block":{{"number":{height}}}}}"#).into_bytes()
}

pub fn artifact(content: &[u8]) -> ArtifactRef {
    ArtifactRef { sha256: hex::encode(Sha256::digest(content)), bytes: content.len() as u64 }
}

/// Where the bucket has it.
pub fn key_of(artifact: &ArtifactRef) -> String {
    format!("artifacts/{}/{}", &artifact.sha256[..2], artifact.sha256)
}
