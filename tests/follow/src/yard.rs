//! A yard that follows nodes, run as its user runs it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use proofyard_programs::programs;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::anvil::Anvil;
use crate::wait_for;

/// How a node is followed in these tests: often, so that they are over soon.
const SOURCE: &str = "poll_ms = 200\nchain_id = 31337\n";

pub struct FollowingYard {
    folder: TempDir,
    process: Option<Child>,
    /// Variables that it has beside this test's.
    pub environment: Vec<(&'static str, String)>,
}

/// What a yard handed on.
pub struct HandedOn {
    /// Heights that stand, with their hashes, after what was taken back was taken away.
    pub blocks: BTreeMap<u64, String>,
    pub retracts: usize,
}

impl FollowingYard {
    /// A yard that is not started.
    pub fn new(rpc: &[String], ws: &[String]) -> Self {
        Self::with(rpc, ws, "", "\"block\"")
    }

    /// One whose prover is given each block's witness too.
    pub fn with_witness(rpc: &[String]) -> Self {
        let table = "[source.node.witness]\nparams = [\"{height}\"]\n\n";
        Self::with(rpc, &[], table, "[\"block\", \"witness\"]")
    }

    /// One whose witnesses a shell says, by this script: its first argument is the height, its second the hash, its third a folder
    /// that the test writes to. `keys` are more ones of the witness's table. The prover's output is the list of its inputs.
    pub fn with_witness_script(rpc: &[String], script: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Where provers have users of their own, these look in too.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let text = format!(
            "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 16\nreal_time = true\n\n\
             [source.node]\nrpc = {rpc:?}\n{SOURCE}\n\
             [source.node.witness]\n\
             command = [\"sh\", \"-c\", {script:?}, \"sh\", \"{{height}}\", \"{{hash}}\", {:?}]\n{keys}\n\
             [stage.prove]\nstrategy = \"match\"\nfrom = [\"block\", \"witness\"]\nprover = \"copy\"\npool = \"main\"\n\n\
             [prover.copy]\ncommand = [\"cp\", \"{{input}}\", \"{{output}}\"]\nprotocol = \"files\"\n\
             payload = \"bare\"\nverify = \"none\"\n\n\
             [pool.main]\nslots = 2\n\n[sink.out]\nfile = \"out.jsonl\"\n",
            folder.path().display().to_string(),
        );
        fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder, process: None, environment: Vec::new() }
    }

    /// One of `examples/`, on this node and with the toy prover in the place of what it names; its sink of commits is the one that
    /// is looked at.
    pub fn of_example(name: &str, node: &str, ws: &str, changes: &[(&str, &str)]) -> Self {
        let path = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut text = fs::read_to_string(path).unwrap();
        let prover = programs().join("proofyard-toy-prover");
        let toy = format!("command = [{prover:?}, \"--work-ms\", \"1\"]");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in &mut lines {
            if line.starts_with("command = ") {
                line.clone_from(&toy);
            } else if line.starts_with("rpc = ") {
                *line = format!("rpc = [{node:?}]");
            } else if line.starts_with("ws = ") {
                *line = format!("ws = [{ws:?}]\npoll_ms = 200");
            }
        }
        text = lines.join("\n");
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder, process: None, environment: Vec::new() }
    }

    /// One that stands between a consensus client and this execution client; where the former calls. Its prover is given each
    /// payload's witness; `keys` are more ones of the witness's table.
    pub fn between_clients(execution: &str, keys: &str) -> (Self, SocketAddr) {
        let listen = free_address();
        let source = format!(
            "[source.engine]\nkind = \"engine-proxy\"\nlisten = \"{listen}\"\nexecution = \"{execution}\"\n\
             timeout_ms = 3000\n\n[source.engine.witness]\nwait_ms = 1000\n{keys}\n"
        );
        (Self::of_source(&source, "[\"block\", \"witness\"]"), listen)
    }

    /// One whose prover is given no witness, and which asks for none.
    pub fn between_clients_without_witness(execution: &str) -> (Self, SocketAddr) {
        let listen = free_address();
        let source = format!(
            "[source.engine]\nkind = \"engine-proxy\"\nlisten = \"{listen}\"\nexecution = \"{execution}\"\n\n"
        );
        (Self::of_source(&source, "\"block\""), listen)
    }

    /// One of this pipeline, in which `TOY` is the toy prover's path.
    pub fn of_pipeline(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prover = programs().join("proofyard-toy-prover");
        fs::write(folder.path().join("pipeline.toml"), text.replace("TOY", prover.to_str().unwrap()))
            .unwrap();
        Self { folder, process: None, environment: Vec::new() }
    }

    fn with(rpc: &[String], ws: &[String], witness: &str, from: &str) -> Self {
        let list = |urls: &[String]| urls.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(", ");
        let ws = if ws.is_empty() { String::new() } else { format!("ws = [{}]\n", list(ws)) };
        Self::of_source(&format!("[source.node]\nrpc = [{}]\n{ws}{SOURCE}\n{witness}", list(rpc)), from)
    }

    fn of_source(source: &str, from: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prover = programs().join("proofyard-toy-prover");
        let text = format!(
            "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 16\nreal_time = true\n\n{source}\
             [stage.prove]\nstrategy = \"match\"\nfrom = {from}\nprover = \"toy\"\npool = \"main\"\n\n\
             [prover.toy]\ncommand = [{prover:?}, \"--work-ms\", \"1\"]\n\n\
             [pool.main]\nslots = 2\n\n[sink.out]\nfile = \"out.jsonl\"\n"
        );
        fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder, process: None, environment: Vec::new() }
    }

    pub fn following(anvil: &Anvil) -> Self {
        let mut yard = Self::new(&[anvil.url()], &[anvil.ws()]);
        yard.start();
        yard
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("run.log")).unwrap();
        let mut command = Command::new(programs().join("proofyard"));
        // What fetches witnesses is found there.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs().display()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["run", "pipeline.toml", "--data", "yard"]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// As by a crash.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// As a user ends it; answers its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.end(Signal::INT)
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        let mut process = self.process.take()?;
        let pid = Pid::from_raw(process.id().cast_signed()).unwrap();
        let _ = kill_process(pid, signal);
        process.wait().unwrap().code()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("run.log")).unwrap_or_default()
    }

    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(programs().join("proofyard"));
        let output = command.args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// `None` until there is a yard.
    pub fn status(&self) -> Option<Value> {
        let (is_good, text) = self.command(&["status", "--data", "yard", "--json"]);
        is_good.then(|| serde_json::from_str(text.lines().next()?).ok()).flatten()
    }

    /// Waits until the status says so of one of the endpoints.
    pub fn wait_for_endpoint(&self, index: usize, state: &str) -> Value {
        let mut last = Value::Null;
        wait_for(&format!("endpoint {index} is {state}; now {last}"), || {
            last = self.status()?["following"]["endpoints"][index].clone();
            (last["state"] == state).then(|| last.clone())
        })
    }

    /// Everything that was handed on: once each, in order, and nothing twice.
    pub fn handed_on(&self) -> HandedOn {
        let mut handed = HandedOn { blocks: BTreeMap::new(), retracts: 0 };
        let text = fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (sequence, line) in whole.lines().enumerate() {
            let entry: Value = serde_json::from_str(line).unwrap();
            assert_eq!(entry["sequence"], sequence, "each once, in order: {line}");
            let (from, to) = (entry["from"].as_u64().unwrap(), entry["to"].as_u64().unwrap());
            if entry["kind"] == "retract" {
                handed.retracts += 1;
                assert_eq!(handed.blocks.keys().next_back(), Some(&to), "{line}");
                handed.blocks.retain(|height, _| *height < from);
                continue;
            }
            let next = handed.blocks.keys().next_back().map_or(1, |height| height + 1);
            assert_eq!((from, to), (next, next), "{line}");
            handed.blocks.insert(from, entry["hash"].as_str().unwrap().to_owned());
        }
        handed
    }

    /// When each block was first committed, by its hash.
    pub fn committed_ms(&self) -> BTreeMap<String, u64> {
        let mut committed = BTreeMap::new();
        let text = fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let (Some(hash), Some(at_ms)) = (entry["hash"].as_str(), entry["at_ms"].as_u64()) {
                committed.entry(hash.to_owned()).or_insert(at_ms);
            }
        }
        committed
    }

    /// Waits until exactly the node's chain is handed on.
    pub fn wait_for_chain_of(&mut self, anvil: &Anvil) -> HandedOn {
        let newest = anvil.height();
        let tip = anvil.hash(newest);
        wait_for(&format!("block {newest} {tip} is handed on"), || {
            (self.handed_on().blocks.last_key_value() == Some((&newest, &tip))).then_some(())
        });
        let handed = self.handed_on();
        for (height, hash) in &handed.blocks {
            assert_eq!(*hash, anvil.hash(*height), "{height}");
        }
        assert_eq!(handed.blocks.len() as u64, newest);
        assert!(self.is_running(), "{}", self.log());
        handed
    }
}

/// Of this machine, where nobody listens: a loopback address of its own, so that no other test gets its port while a yard that
/// was killed does not hold it.
pub fn free_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 64 | (high & 0x3f), low, TAKEN.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

impl Drop for FollowingYard {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
