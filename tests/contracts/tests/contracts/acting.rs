//! The program as a stage's prover: a crash between any two of its steps, what a later attempt says, and what it says of a contract
//! that does not take the call.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use proofyard_programs::programs;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cut::Way;
use crate::evm::KEY;
use crate::ledger::Ledger;
use crate::program::target;

/// The newest block, as its height is when the call is made, stands for what is put on record.
const KEYS: &str = "function = \"submit(uint256 height, bytes proof)\"\narguments = [\"{to}\", \"0x{tip.number:u64}\"]\n\
                    confirmations = 1\nerrors = [\"Closed(uint256)\"]\n\
                    [sink.l1.read.tip]\nmethod = \"eth_getBlockByNumber\"\nparams = [\"latest\", false]";

struct Actor {
    folder: TempDir,
    contract: Value,
    inputs: Value,
}

impl Actor {
    fn of(ledger: &Ledger, url: &str) -> Self {
        let count =
            json!({ "call": { "address": null, "function": "calls() returns (uint256)", "arguments": [] } });
        Self::with(ledger, url, "", json!({ "calls": count }))
    }

    fn with(ledger: &Ledger, url: &str, more: &str, after: Value) -> Self {
        let address = &ledger.address;
        let table = format!(
            "contract = \"{address}\"\nrpc = [\"{url}\"]\nchain_id = 31337\nkey_from = \"KEY\"\n{more}{KEYS}"
        );
        let mut contract = target(&table)["contract"].clone();
        contract["after"] = after;
        Self { folder: tempfile::tempdir().unwrap(), contract, inputs: json!([]) }
    }

    /// An attempt at the task of this block.
    fn start(&self, height: u64) -> Child {
        let mut command = Command::new(programs().join("proofyard-contract"));
        command.arg("--journal").arg(self.folder.path().join("accounts")).args(["--stage", "checkpoint"]);
        command.env("KEY", KEY).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let output = self.folder.path().join("output");
        fs::create_dir_all(&output).unwrap();
        let setup =
            json!({ "id": "0a", "verb": "setup", "gpus": [], "arguments": { "contract": self.contract } });
        let prove = json!({
            "id": "0b", "verb": "prove", "task": format!("c:b:{height}:0xab:0/checkpoint/0"), "attempt": 1, "inputs": self.inputs,
            "output_dir": output, "gpus": [], "deadline_ms": 20_000,
        });
        // Who is killed may not hear all of it.
        let _ = child.stdin.as_mut().unwrap().write_all(format!("{setup}\n{prove}\n").as_bytes());
        child
    }

    /// What an attempt comes to, or its error.
    fn act(&self, height: u64) -> Result<Value, Value> {
        let mut child = self.start(height);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answers = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let answer = answers.into_iter().find(|answer| answer["id"] == "0b").unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        match answer["ok"]["proof"].as_str() {
            Some(path) => Ok(serde_json::from_slice(&fs::read(path).unwrap()).unwrap()),
            None => Err(answer["error"].clone()),
        }
    }
}

#[test]
fn a_crash_at_any_question_leaves_one_transaction_and_one_outcome() {
    let ledger = Ledger::start();
    let way = Way::to(ledger.anvil.at);
    let actor = Actor::of(&ledger, &format!("http://{}", way.at));
    let (mut height, mut kills) = (0, 0);
    for node_gets_it in [false, true] {
        for question in 0.. {
            height += 1;
            let cut = way.cut_at(question, node_gets_it);
            let mut child = actor.start(height);
            let answers = BufReader::new(child.stdout.take().unwrap()).lines();
            let ended =
                thread::spawn(move || answers.map_while(Result::ok).any(|line| line.contains("\"0b\"")));
            let is_killed = loop {
                if cut.try_recv().is_ok() {
                    break true;
                }
                if ended.is_finished() {
                    break false;
                }
                thread::sleep(Duration::from_millis(2));
            };
            child.kill().unwrap();
            child.wait().unwrap();
            ended.join().unwrap();
            way.mend();
            // The chain goes on meanwhile: what was read before is not read anew.
            ledger.mine(2);
            let outcome = actor.act(height).unwrap();
            let what = format!("question {question}, the node gets it: {node_gets_it}");
            assert_eq!(ledger.times(height), 1, "{what}");
            let tip = outcome["reads"]["tip"]["number"].as_str().unwrap().trim_start_matches("0x").to_owned();
            assert_eq!(outcome["arguments"][1], format!("0x{tip:0>16}"), "{what}");
            assert_eq!(outcome["after"]["calls"], height.to_string(), "{what}");
            assert_eq!(actor.act(height).unwrap(), outcome, "{what}");
            if !is_killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 20, "only {kills} kills");
    assert_eq!(ledger.calls(), height);
}

#[test]
fn a_contract_that_refuses_uses_up_attempts_and_nodes_that_are_down_do_not() {
    let ledger = Ledger::start();
    ledger.tell("close(uint256)", 7);
    let error = Actor::of(&ledger, &ledger.anvil.url()).act(1).unwrap_err();
    assert_eq!(
        (&error["kind"], &error["message"]),
        (&json!("transient"), &json!("submit would revert: Closed(7)"))
    );
    let error = Actor::of(&ledger, "http://127.0.0.1:9").act(1).unwrap_err();
    assert_eq!(error["kind"], "unavailable", "{error}");
}

#[test]
fn what_somebody_else_has_done_has_no_transaction_and_nothing_behind_it() {
    let ledger = Ledger::start();
    ledger.mine(3);
    let block = json!({ "rpc": { "rpc": [], "method": "eth_getBlockByNumber", "params": ["{included.number}", false] } });
    let again =
        json!({ "rpc": { "rpc": [], "method": "eth_getBlockByHash", "params": ["{own.hash}", false] } });
    let count =
        json!({ "call": { "address": null, "function": "calls() returns (uint256)", "arguments": [] } });
    let after = json!({ "again": again, "calls": count, "own": block });
    let actor = Actor::with(&ledger, &ledger.anvil.url(), "done_if = [\"{to}\", \">=\", \"1\"]\n", after);
    let outcome = actor.act(1).unwrap();
    assert_eq!(outcome["after"], json!({ "again": null, "calls": "0", "own": null }));
    for nothing in ["transaction", "included", "arguments"] {
        assert_eq!(outcome[nothing], Value::Null, "{nothing}");
    }
    assert_eq!(ledger.calls(), 0);
}

#[test]
fn an_answer_that_is_too_long_for_the_journal_is_refused_by_its_name() {
    let ledger = Ledger::start();
    let address = "0x00000000000000000000000000000000000000ff";
    let long = json!({ "rpc": { "rpc": [], "method": "eth_getCode", "params": [address, "latest"] } });
    let actor = Actor::with(&ledger, &ledger.anvil.url(), "", json!({}));
    let mut contract = actor.contract.clone();
    contract["reads"]["code"] = long;
    contract["arguments"][1] = json!("{code}");
    ledger.anvil.ask("anvil_setCode", &json!([address, format!("0x{}", "00".repeat(9_000))]));
    let actor = Actor { contract, ..actor };
    let error = actor.act(1).unwrap_err();
    assert_eq!(error["kind"], "permanent");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("read code has 18004 bytes") && said.contains("16384"), "{said}");
    assert_eq!(ledger.calls(), 0);
}

#[test]
fn a_task_names_fields_of_its_block() {
    let ledger = Ledger::start();
    let mut actor = Actor::with(&ledger, &ledger.anvil.url(), "", json!({}));
    actor.contract["arguments"] = json!(["{block.timestamp}", "0x"]);
    fs::write(actor.folder.path().join("block"), "{\"block\":{\"timestamp\":\"0x2a\"}}").unwrap();
    actor.inputs = json!([{ "kind": "block", "path": actor.folder.path().join("block"), "task_index": 0 }]);
    assert_eq!(actor.act(1).unwrap()["arguments"][0], "0x2a");
    assert_eq!(ledger.times(42), 1);
}
