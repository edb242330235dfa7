//! The program alone, as a yard runs it; and what it does where nothing goes wrong.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use proofyard_core::pipeline::parse;
use proofyard_programs::programs;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::evm::KEY;
use crate::ledger::Ledger;

/// What calls the ledger, unless a test wants something else.
pub const CALL: &str =
    "function = \"submit(uint256 height, bytes proof)\"\narguments = [\"{to}\", \"{proof}\"]";

pub struct Submitter {
    pub folder: TempDir,
    target: Value,
    pub key: String,
    pub sink: String,
}

#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub reason: String,
}

impl Answer {
    #[track_caller]
    pub fn done(self) {
        assert_eq!(self.code, Some(0), "{}", self.reason);
    }

    #[track_caller]
    pub fn later(self, because: &str) {
        assert_eq!(self.code, Some(75), "{}", self.reason);
        assert!(self.reason.contains(because), "{because}: {}", self.reason);
    }

    #[track_caller]
    pub fn refused(self, because: &str) {
        assert_eq!(self.code, Some(65), "{}", self.reason);
        assert!(self.reason.contains(because), "{because}: {}", self.reason);
    }
}

/// A sink's table, as the pipeline has it.
pub fn target(table: &str) -> Value {
    let text = format!(
        "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 8\n\n[stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\n\
         prover = \"toy\"\npool = \"main\"\n\n[prover.toy]\ncommand = [\"toy\"]\n\n[pool.main]\nslots = 1\n\n\
         [sink.l1]\n{table}\n"
    );
    match parse(&text) {
        Ok(checked) => serde_json::to_value(&checked.pipeline.sinks["l1"].target).unwrap(),
        Err(mistakes) => panic!("{mistakes:#?}"),
    }
}

impl Submitter {
    /// One that calls the ledger by a node at this URL; `keys` are more ones of its table.
    pub fn of(ledger: &Ledger, url: &str, keys: &str) -> Self {
        let call = if keys.starts_with("function") { "" } else { CALL };
        let address = &ledger.address;
        Self::with(&format!(
            "contract = \"{address}\"\nrpc = [\"{url}\"]\nchain_id = 31337\nkey_from = \"KEY\"\n{call}\n{keys}"
        ))
    }

    pub fn with(table: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proof"), b"a proof").unwrap();
        Self { folder, target: target(table), key: KEY.to_owned(), sink: "l1".to_owned() }
    }

    /// Another sink, of the same account and the same yard.
    pub fn beside(&self, sink: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proof"), b"another").unwrap();
        let other =
            Self { folder, target: self.target.clone(), key: self.key.clone(), sink: sink.to_owned() };
        std::os::unix::fs::symlink(self.journal(), other.journal()).unwrap();
        other
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("accounts")
    }

    pub fn journaled(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.journal_file()).unwrap()).unwrap()
    }

    pub fn rewrite_journal(&self, change: impl FnOnce(&mut Value)) {
        let mut journal = self.journaled();
        change(&mut journal);
        fs::write(self.journal_file(), journal.to_string()).unwrap();
    }

    fn journal_file(&self) -> PathBuf {
        let found = fs::read_dir(self.journal()).unwrap().map(|entry| entry.unwrap().path());
        let mut found = found.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        found.next().unwrap()
    }

    fn message(&self, height: u64) -> Value {
        let block = json!({ "chain_id": 1, "block": { "number": format!("{height:#x}"), "timestamp": "0x64",
            "withdrawals": [{ "index": "0x7" }] } });
        fs::write(self.folder.path().join("block"), block.to_string()).unwrap();
        json!({
            "message": "entry", "key": format!("c/commits/{height}"), "chain": "c", "log": "commits",
            "sequence": height, "at_ms": 1, "kind": "proof", "from": height, "to": height, "hash": "0xab",
            "scope": format!("c:b:{height}:ab:0"),
            "proofs": [{ "stage": "prove", "index": 0, "artifact": { "sha256": "00", "bytes": 7 },
                "public_values": "0011223344", "verification_key": null, "proof_system": "toy" }],
            "proof_files": [self.folder.path().join("proof")],
            "block_file": self.folder.path().join("block"),
        })
    }

    /// Submits the proof of a block.
    pub fn submit(&self, height: u64) -> Answer {
        self.tell(&self.message(height))
    }

    pub fn retract(&self, height: u64) -> Answer {
        self.tell(&json!({
            "message": "entry", "key": format!("c/commits/{height}r"), "chain": "c", "log": "commits",
            "sequence": height, "at_ms": 1, "kind": "retract", "from": height, "to": height,
        }))
    }

    fn tell(&self, message: &Value) -> Answer {
        let child = self.start(message);
        let output = child.wait_with_output().unwrap();
        answer(output.status.code(), &output.stdout)
    }

    pub fn start_submitting(&self, height: u64) -> Child {
        self.start(&self.message(height))
    }

    fn start(&self, message: &Value) -> Child {
        let mut command = Command::new(programs().join("proofyard-contract"));
        command.arg("--journal").arg(self.journal()).args(["--sink", &self.sink]).env("KEY", &self.key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let told = json!({ "target": self.target, "message": message });
        child.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
        child
    }
}

pub fn answer(code: Option<i32>, stdout: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(stdout);
    let last = text.lines().last().unwrap_or_default();
    let line: Value = serde_json::from_str(last).unwrap_or_default();
    Answer { code, reason: line["reason"].as_str().unwrap_or(last).to_owned() }
}

#[test]
fn each_entry_is_one_transaction_also_when_it_comes_again() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    for height in [5, 6, 5, 6] {
        submitter.submit(height).done();
    }
    assert_eq!((ledger.times(5), ledger.times(6), ledger.calls()), (1, 1, 2));
}

#[test]
fn what_the_contract_has_already_is_not_sent() {
    let ledger = Ledger::start();
    let keys = "confirmations = 1\ndone_if = [\"{seen}\", \">=\", \"{to}\"]\n\
                [sink.l1.read.seen]\nfunction = \"latest() returns (uint256)\"";
    // Somebody else did it, or this yard before it lost its folder.
    Submitter::of(&ledger, &ledger.anvil.url(), keys).submit(7).done();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(7).done();
    submitter.submit(6).done();
    submitter.submit(8).done();
    assert_eq!((ledger.times(7), ledger.times(6), ledger.times(8)), (1, 0, 1));
}

#[test]
fn what_may_not_be_sent_yet_waits_and_says_for_what() {
    let ledger = Ledger::start();
    let keys = "confirmations = 1\nsend_if = [[\"{state.isOpen}\", \"==\", \"true\"], [\"{state.height}\", \"==\", \"{to-1}\"]]\n\
                [sink.l1.read.state]\nfunction = \"state() returns (uint256 height, bool isOpen)\"";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(2).later("{state.height} is 0, and == 1 is waited for");
    submitter.submit(1).done();
    submitter.submit(2).done();
    assert_eq!(ledger.calls(), 2);
}

#[test]
fn an_entry_is_done_once_blocks_confirm_its_transaction() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 3\ntime_limit_ms = 500";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(5).later("waits for a block");
    ledger.mine(1);
    submitter.submit(5).later("1 of 3 confirmations");
    ledger.mine(2);
    submitter.submit(5).done();
    assert_eq!(ledger.calls(), 1);
}

#[test]
fn value_and_a_nodes_answer_are_put_in() {
    let ledger = Ledger::start();
    ledger.tell("ask(uint256)", 77);
    let keys = "function = \"submit(uint256,bytes)\"\narguments = [\"{tip.number}\", \"0x{to:u256}{public_values[1..3]:raw}\"]\n\
                value = \"{price}\"\nconfirmations = 1\n\
                [sink.l1.read.price]\nfunction = \"price() returns (uint256)\"\n\
                [sink.l1.read.tip]\nmethod = \"eth_getBlockByNumber\"\nparams = [\"{asked:hex}\", false]\n\
                [sink.l1.read.asked]\nfunction = \"closedSince() returns (uint256)\"";
    Submitter::of(&ledger, &ledger.anvil.url(), keys).submit(9).done();
    let balance = ledger.anvil.ask("eth_getBalance", &json!([ledger.address, "latest"]));
    assert_eq!((balance.as_str().unwrap(), ledger.times(0)), ("0x4d", 1));
}

#[test]
fn fields_of_the_block_are_put_in_under_the_nodes_own_names() {
    let ledger = Ledger::start();
    let keys = "function = \"submit(uint256,bytes)\"\narguments = [\"{block.timestamp+1}\", \"0x{block.withdrawals.0.index:u32}\"]\n\
                confirmations = 1\nsend_if = [\"{block.number}\", \"==\", \"{to}\"]";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(9).done();
    assert_eq!(ledger.times(101), 1);
    let keys = keys.replace("block.timestamp+1", "block.noSuchField");
    Submitter::of(&ledger, &ledger.anvil.url(), &keys).submit(9).later("there is no noSuchField in block");
}
