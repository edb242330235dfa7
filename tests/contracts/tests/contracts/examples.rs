//! The examples that propose to L1, on anvil, with contracts that have the real ones' calls.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::http::{answer, read_message};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use serde_json::{Value, json};

use crate::cut::Way;
use crate::evm::{KEY, deployed, view, word};

/// A rollup's node, as far as it says what its state is: a root that has the block's number in it.
fn rollup_node() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut output = stream.try_clone().unwrap();
                let mut input = BufReader::new(stream);
                while let Some(request) = read_message(&mut input) {
                    let request: Value = serde_json::from_slice(&request.body).unwrap();
                    assert_eq!(request["method"], "optimism_outputAtBlock");
                    let block = request["params"][0].as_str().unwrap().trim_start_matches("0x").to_owned();
                    let root = format!("0x{block:0>64}");
                    let body =
                        json!({ "jsonrpc": "2.0", "id": request["id"], "result": { "outputRoot": root } });
                    if output.write_all(&answer("200 OK", "", body.to_string().as_bytes())).is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

pub fn proposing(name: &str, chain: &Anvil, l1: &Anvil, contract: &str) -> FollowingYard {
    let path = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(path).unwrap();
    for (old, new) in [
        ("http://127.0.0.1:8545", chain.url()),
        ("http://127.0.0.1:9545", format!("http://{}", rollup_node())),
        ("0x5FbDB2315678afecb367f032d93F642f64180aa3", contract.to_owned()),
        ("chain_id = 1\n", "chain_id = 31337\n".to_owned()),
        ("confirmations = 10", "confirmations = 2".to_owned()),
        ("proofyard-toy-prover", "TOY".to_owned()),
    ] {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, &new);
    }
    let mut yard = FollowingYard::of_pipeline(&text);
    yard.environment = vec![("L1_RPC", l1.url()), ("PROPOSER_KEY", KEY.to_owned())];
    yard
}

/// Says what the yard's transactions took, and how many questions its nodes were asked for each.
pub fn say_costs(what: &str, yard: &FollowingYard, way: &Way) {
    let journals =
        fs::read_dir(yard.folder().join("yard/accounts")).unwrap().map(|entry| entry.unwrap().path());
    let journals = journals.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
    let sent: Vec<Value> =
        journals.map(read).flat_map(|journal| journal["sent"].as_array().cloned().unwrap()).collect();
    let mut gas: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for each in &sent {
        let used = each["included"]["gas_used"].as_u64();
        gas.entry(each["sink"].as_str().unwrap().to_owned()).or_default().extend(used);
    }
    let questions = way.asked() as f64 / sent.len() as f64;
    println!("{what}: gas {gas:?}, {} transactions, {questions:.1} questions to L1 for each", sent.len());
    assert!(gas.values().flatten().all(|gas| *gas < 500_000), "{gas:?}");
}

pub fn l1() -> Anvil {
    let l1 = Anvil::start();
    l1.mine_fast(3);
    l1.ask("evm_setIntervalMining", &json!([1]));
    l1
}

#[test]
fn output_oracle_takes_each_range_once_and_in_order() {
    let (chain, l1) = (Anvil::start(), l1());
    let oracle = deployed(&l1, "OutputOracle", &[word(0), word(4), word(42)].concat());
    chain.mine_fast(13);
    let mut yard = proposing("output-oracle.toml", &chain, &l1, &oracle);
    let way = Way::to(l1.at);
    yard.environment[0].1 = format!("http://{}", way.at);
    yard.start();
    wait_for("the second range is proposed", || {
        (view(&l1, &oracle, "latestBlockNumber()", "") >= 8).then_some(())
    });
    yard.kill();
    yard.start();
    wait_for("all ranges are proposed", || {
        (view(&l1, &oracle, "latestBlockNumber()", "") == 12).then_some(())
    });
    for block in [4, 8, 12] {
        assert_eq!(view(&l1, &oracle, "times(uint256)", &word(block)), 1);
        assert_eq!(view(&l1, &oracle, "outputs(uint256)", &word(block)), block);
    }
    say_costs("an oracle of outputs that checks proofs", &yard, &way);
}

#[test]
fn dispute_games_are_created_once_for_each_range_with_their_parents_and_bonds() {
    let (chain, l1) = (Anvil::start(), l1());
    let games = deployed(&l1, "DisputeGames", &word(0));
    chain.mine_fast(9);
    let mut yard = proposing("dispute-games.toml", &chain, &l1, &games);
    let way = Way::to(l1.at);
    yard.environment[0].1 = format!("http://{}", way.at);
    yard.start();
    wait_for("both games are there", || (view(&l1, &games, "gameCount()", "") == 3).then_some(()));
    let balance = l1.ask("eth_getBalance", &json!([games, "latest"]));
    assert_eq!(balance, "0x470de4df820000");
    say_costs("dispute games", &yard, &way);
}
