//! Whole yards: what their sinks are told, whatever happens to either side.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::ethproofs_server::{CLUSTER, Ethproofs};
use crate::server::{Answer, Server, status};
use crate::wait_for;
use crate::yard::Yard;

pub fn hook(server: &Server) -> String {
    format!("[sink.hook]\nwebhook = \"{}/in\"\nsecret_from = \"SECRET\"\ntime_limit_ms = 2000\n", server.url)
}

pub fn reports(server: &Server) -> String {
    format!(
        "[sink.reports]\nethproofs = \"{}\"\ncluster_id = {CLUSTER}\ntoken_from = \"TOKEN\"\ntime_limit_ms = 2000\n",
        server.url
    )
}

/// The sequences that a webhook was told of and took, a repeat right behind its first time counted once.
fn sequences(server: &Server) -> Vec<u64> {
    let requests = server.requests();
    let mut sequences: Vec<u64> =
        requests.iter().map(|request| request.json()["sequence"].as_u64().unwrap()).collect();
    sequences.dedup();
    sequences
}

#[test]
fn a_run_ends_when_every_sink_is_told() {
    let hooked = Server::start(|_| status(200));
    let (ethproofs, server) = Ethproofs::start();
    let program = "[sink.program]\ncommand = [\"./note\"]\n[sink.file]\nfile = \"out.jsonl\"\n";
    let yard = Yard::new(6, 20, &(hook(&hooked) + &reports(&server) + program));
    yard.script("note", "cat >> noted.jsonl");
    yard.run();
    assert_eq!(sequences(&hooked), [0, 1, 2, 3, 4, 5]);
    assert_eq!(hooked.requests().len(), 6, "nothing happened, so nothing came twice");
    let noted = fs::read_to_string(yard.path("noted.jsonl")).unwrap();
    let noted: Vec<Value> = noted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(noted.len(), 6);
    for (sequence, message) in noted.iter().enumerate() {
        assert_eq!(message["key"], format!("demo/commits/{sequence}"));
        let proof = fs::read(message["proof_files"][0].as_str().unwrap()).unwrap();
        assert_eq!(proof.len() as u64, message["proofs"][0]["artifact"]["bytes"].as_u64().unwrap());
    }
    assert_eq!(fs::read_to_string(yard.path("out.jsonl")).unwrap().lines().count(), 6);
    let blocks = ethproofs.blocks();
    assert_eq!(blocks.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    for (number, block) in blocks {
        assert_eq!(block.said.first().map(String::as_str), Some("queued"), "{number}: {:?}", block.said);
        assert_eq!(block.said.last().map(String::as_str), Some("proved"));
        assert!(
            block.proof.unwrap()["proving_time"].as_u64().unwrap() >= 20,
            "at least what the prover took"
        );
    }
    let status = yard.ask(&["status"]).unwrap();
    assert!(status.contains("reports"), "{status}");
}

#[test]
fn servers_that_hang_hold_up_nothing_else_and_are_told_later() {
    let hooked = Server::start(|_| Answer::Silence(Duration::from_secs(600)));
    let (ethproofs, server) = Ethproofs::start();
    server.answer(|_| status(503));
    let yard = Yard::new(6, 20, &(hook(&hooked) + &reports(&server) + "[sink.file]\nfile = \"out.jsonl\"\n"));
    let mut run = yard.start(None);
    yard.wait_until_committed(7);
    wait_for("the file has all", || {
        fs::read_to_string(yard.path("out.jsonl")).ok().filter(|text| text.lines().count() == 6)
    });
    let failed = wait_for("both have failed", || {
        let sinks = [yard.sink("hook")?, yard.sink("reports")?];
        sinks.iter().all(|sink| sink["failures"].as_u64() > Some(0)).then_some(sinks)
    });
    assert!(failed[0]["last_error"].as_str().unwrap().contains("127.0.0.1"), "{failed:?}");
    assert!(failed[1]["last_error"].as_str().unwrap().contains("503"), "{failed:?}");
    hooked.answer(|_| status(200));
    server.answer(ethproofs.answers());
    // It waits for its next try, unless an operator says to go on.
    yard.ask(&["sink", "hook", "--resume"]).unwrap();
    yard.ask(&["sink", "reports", "--resume"]).unwrap();
    assert!(run.wait().unwrap().success());
    assert_eq!(sequences(&hooked), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ethproofs.proved(), 6);
    let said = ethproofs.blocks().into_values().map(|block| block.said);
    assert!(said.into_iter().all(|said| said == ["queued", "proved"]), "what is over is not told of");
}

#[test]
fn a_lost_answer_repeats_one_message_under_its_key() {
    let mut count = 0;
    let hooked = Server::start(move |_| {
        count += 1;
        if count % 2 == 1 { Answer::HangUp } else { status(200) }
    });
    let yard = Yard::new(2, 1, &hook(&hooked));
    yard.run();
    let keys = hooked.requests();
    let keys: Vec<_> = keys.iter().map(|request| request.header("x-proofyard-key").unwrap()).collect();
    assert_eq!(keys, ["demo/commits/0", "demo/commits/0", "demo/commits/1", "demo/commits/1"]);
}

#[test]
fn an_entry_that_is_refused_for_good_waits_for_an_operator_and_only_its_sink_does() {
    let hooked = Server::start(|request| status(if request.json()["sequence"] == 1 { 422 } else { 200 }));
    let yard = Yard::new(3, 1, &hook(&hooked));
    let mut run = yard.start(None);
    wait_for("it is refused", || yard.sink("hook").filter(|sink| sink["failures"].as_u64() > Some(0)));
    let wrong = yard.ask(&["sink", "hook", "--skip", "2"]).unwrap_err();
    assert!(wrong.contains("PY0121") && wrong.contains("waits with entry 1, not with 2"), "{wrong}");
    let said = yard.ask(&["sink", "hook", "--skip", "1"]).unwrap();
    assert_eq!(said, "sink hook skips 1, and goes on with 2\n");
    assert!(run.wait().unwrap().success());
    assert_eq!(sequences(&hooked), [0, 1, 2]);
    let wrong = yard.ask(&["sink", "hok", "--pause"]).unwrap_err();
    assert!(wrong.contains("has no sink hok"), "{wrong}");
}

/// Each step of a sink, with the yard killed right before and right behind it: nothing is left out, and of a block no older
/// word follows a newer one.
#[test]
fn a_yard_that_is_killed_at_any_step_tells_all_and_in_order() {
    for side in ["before", "after"] {
        for (boundary, nth) in [
            ("sink", 1),
            ("sink", 2),
            ("block told", 1),
            ("block told", 2),
            ("block told", 5),
            ("block told", 8),
            ("blocks settled", 1),
        ] {
            let hooked = Server::start(|_| status(200));
            let (ethproofs, server) = Ethproofs::start();
            let yard = Yard::new(3, 5, &(hook(&hooked) + &reports(&server)));
            let at = format!("{boundary}:{nth}:{side}");
            let died = yard.start(Some(&at)).wait().unwrap();
            assert_eq!(died.signal(), Some(9), "{at}");
            yard.run();
            assert_eq!(sequences(&hooked), [0, 1, 2], "{at}");
            check_reports(&ethproofs, 3, &at);
        }
    }
}

#[test]
fn a_yard_that_is_killed_again_and_again_tells_all_and_in_order() {
    let hooked = Server::start(|_| status(200));
    let (ethproofs, server) = Ethproofs::start();
    let yard = Yard::new(24, 30, &(hook(&hooked) + &reports(&server)));
    for kill in 0..12_u64 {
        let mut run = yard.start(None);
        thread::sleep(Duration::from_millis(120 + 35 * (kill * 7 % 11)));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    yard.run();
    assert_eq!(sequences(&hooked), (0..24).collect::<Vec<_>>());
    check_reports(&ethproofs, 24, "at random");
}

fn check_reports(ethproofs: &Ethproofs, blocks: usize, when: &str) {
    assert_eq!(ethproofs.proved(), blocks, "{when}");
    let newness: BTreeMap<&str, u8> = [("queued", 0), ("proving", 1), ("proved", 2)].into();
    for (number, block) in ethproofs.blocks() {
        let said: Vec<u8> = block.said.iter().map(|word| newness[word.as_str()]).collect();
        assert!(said.is_sorted(), "{when}, block {number}: {:?}", block.said);
    }
}

#[test]
fn what_a_sink_needs_is_asked_for_before_anything_is_proved() {
    let yard = Yard::new(1, 1, "[sink.hook]\nwebhook_from = \"HOOK_URL_THAT_NOBODY_HAS\"\n");
    let error = yard.ask(&["run", "pipeline.toml", "--blocks", "blocks.jsonl"]).unwrap_err();
    assert!(error.contains("sink hook needs HOOK_URL_THAT_NOBODY_HAS"), "{error}");
}
