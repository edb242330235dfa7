//! Yards that stand between a consensus client and its execution client: the one sees nothing of it, the other is asked for
//! witnesses, and what is valid is proved with them.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use proofyard_follow_tests::engine::{Consensus, Does, Execution, Payload, TOKEN, hex};
use proofyard_follow_tests::http::Message;
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use sha3::{Digest, Keccak256};

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

fn status_of(message: &Message) -> &str {
    message.head.split(' ').nth(1).unwrap()
}

/// Waits until exactly these blocks are handed on.
fn wait_for_blocks(yard: &FollowingYard, blocks: &[Payload]) {
    let last = &blocks[blocks.len() - 1];
    wait_for(&format!("block {} is handed on", last.height), || {
        (yard.handed_on().blocks.last_key_value() == Some((&last.height, &last.hash))).then_some(())
    });
    let expected: Vec<&String> = blocks.iter().map(|block| &block.hash).collect();
    assert_eq!(yard.handed_on().blocks.values().collect::<Vec<_>>(), expected);
}

fn wait_for_trouble(yard: &FollowingYard, words: &str) {
    wait_for(&format!("the status says {words:?}"), || {
        yard.status()?["following"]["trouble"].as_str()?.contains(words).then_some(())
    });
}

/// The execution client, the yard and the consensus client, at their first block, which is known to all.
fn three(keys: &str) -> (Execution, FollowingYard, Consensus, Payload) {
    let execution = Execution::start();
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), keys);
    yard.start();
    let mut consensus = Consensus::connect(listen);
    let first = Payload::first();
    execution.knows(&first);
    assert_eq!(text(&consensus.new_payload(&first)), first.valid());
    (execution, yard, consensus, first)
}

fn bring(execution: &Execution, consensus: &mut Consensus, payload: &Payload) {
    execution.knows(payload);
    assert_eq!(text(&consensus.new_payload(payload)), payload.valid(), "as without a proxy");
}

#[test]
fn payloads_are_proved_with_their_witnesses_and_nobody_sees_the_proxy() {
    let (execution, yard, mut consensus, first) = three("");
    let mut blocks = vec![first.clone()];
    blocks.extend(first.chain(5));
    for (index, payload) in blocks.iter().enumerate().skip(1) {
        execution.now(if index % 2 == 0 { Does::Well } else { Does::WitnessAsObject });
        execution.witness_bytes(if index == 3 { 3_000_000 } else { 1_000 });
        bring(&execution, &mut consensus, payload);
        let asked = execution.last();
        assert_eq!(asked.method, "engine_newPayloadWithWitnessV5");
        assert_eq!(asked.header("authorization"), Some(TOKEN));
        let as_sent = payload.call("engine_newPayloadWithWitnessV5");
        assert_eq!(asked.body, as_sent.as_bytes(), "nothing but the method is another");
        let answer = consensus.head(payload, Some(&blocks[index - 1]), Some(&first));
        assert!(text(&answer).contains("\"VALID\""));
    }
    wait_for_blocks(&yard, &blocks);
    wait_for("what is head, safe and finalized is known", || {
        let status = yard.status()?;
        let (following, finality) = (&status["following"], &status["finality"]);
        let heights = [&following["head"], &finality["safe"], &finality["finalized"]];
        (heights.map(|block| block["height"].as_u64()) == [Some(6), Some(5), Some(1)]).then_some(())
    });
    let (_, page) = yard.command(&["status", "--data", "yard"]);
    assert!(page.contains("engine API at") && page.contains("head 6, safe 5, finalized 1"), "{page}");
    let asked = execution.arrived().iter().filter(|call| call.method.contains("newPayload")).count();
    assert_eq!(asked, 6, "each payload once");
}

#[test]
fn provers_are_given_the_guests_input_where_the_pipeline_asks_for_it() {
    let execution = Execution::start();
    let keys = "encoding = \"ssz\"\nchain_id = 4660\nmax_attempts = 1";
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), keys);
    yard.start();
    let mut consensus = Consensus::connect(listen);
    let first = Payload::first();
    let mut blocks = vec![first.clone()];
    blocks.extend(first.chain(3));
    for (payload, does) in
        blocks.iter().zip([Does::Well, Does::WitnessAsObject, Does::Well, Does::WitnessAsObject])
    {
        execution.now(does);
        bring(&execution, &mut consensus, payload);
    }
    wait_for_blocks(&yard, &blocks);
    let inputs = guest_inputs(&yard);
    for payload in &blocks {
        // Where what is looked at lies, by the definition: 2 bytes of schema id; offsets; behind these the request, whose
        // payload has 4 offsets and two roots before it.
        let input = inputs.iter().find(|input| {
            let height = input[22 + 44 + 404..][..8].try_into().unwrap();
            u64::from_le_bytes(height) == payload.height
        });
        let input = input.unwrap_or_else(|| panic!("no input of block {}", payload.height));
        assert_eq!(input[10..18], 4_660_u64.to_le_bytes());
        let offset = |at: usize| u32::from_le_bytes(input[at..][..4].try_into().unwrap()) as usize;
        let witness = &input[2 + offset(6)..2 + offset(18)];
        assert_eq!(offset(18) + 2, input.len(), "it has no transactions, so no keys");
        let headers = u32::from_le_bytes(witness[8..12].try_into().unwrap()) as usize;
        let parent = hex(&Keccak256::digest(&witness[headers + 4..]));
        assert_eq!(format!("0x{parent}"), payload.parent);
    }
    execution.now(Does::Well);
    execution.witness_bytes(1_025);
    let next = blocks[3].next();
    bring(&execution, &mut consensus, &next);
    wait_for("it is said why the block waits", || {
        let (_, page) = yard.command(&["explain", "5", "--data", "yard"]);
        let said = "a part of `state` has 1025 bytes, and a guest takes 1024";
        (page.contains("parked") && page.contains(said)).then_some(())
    });
}

/// All artifacts of the yard that begin as they do.
fn guest_inputs(yard: &FollowingYard) -> Vec<Vec<u8>> {
    let shards = fs::read_dir(yard.folder().join("yard/artifacts")).unwrap();
    let files = shards.flatten().filter_map(|shard| fs::read_dir(shard.path()).ok()).flatten().flatten();
    files
        .filter_map(|file| fs::read(file.path()).ok())
        .filter(|content| content.starts_with(&[0x15, 0x01]))
        .collect()
}

#[test]
fn every_other_call_goes_through_as_it_is() {
    let (execution, _yard, mut consensus, first) = three("");
    let large = format!("{{\"id\":1,\"method\":\"engine_x\",\"params\":[\"{}\"]}}", "ab".repeat(20_000_000));
    for body in [
        "{ \"method\":\"engine_exchangeCapabilities\", \"params\" : [[]],\"id\":1}",
        "{\"id\":1,\"method\":\"eth_blockNumber\"}",
        "not JSON at all \u{0}",
        "",
        "[{\"id\":1,\"method\":\"eth_blockNumber\"},{\"id\":2,\"method\":\"eth_chainId\"}]",
        &large,
    ] {
        let answer = consensus.call(body.as_bytes());
        let arrived = execution.last();
        assert!(arrived.body == body.as_bytes(), "{}", &body[..body.len().min(80)]);
        assert_eq!(arrived.header("authorization"), Some(TOKEN));
        assert_eq!(text(&answer), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[ \"as it is\" ]}");
        assert!(answer.head.contains("x-of: the execution client"), "{}", answer.head);
    }
    let batch = format!("[{}]", first.call("engine_newPayloadV5"));
    assert_eq!(text(&consensus.call(batch.as_bytes())), first.valid());
    assert_eq!(execution.last().body, batch.as_bytes());
    for method in ["engine_newPayloadV1", "engine_newPayloadV4", "engine_newPayloadV6"] {
        consensus.call(first.call(method).as_bytes());
        assert_eq!(execution.last().method, method);
    }
}

#[test]
fn what_the_execution_client_refuses_comes_back_as_it_is() {
    let (execution, yard, mut consensus, first) = three("");
    let second = first.next();
    execution.knows(&second);
    execution.now(Does::Refuses);
    for answer in [consensus.new_payload(&second), consensus.head(&second, None, None)] {
        assert_eq!((status_of(&answer), text(&answer)), ("401", "token is too old"));
    }
    wait_for("the refused token is told of", || {
        let (_, page) = yard.command(&["status", "--data", "yard"]);
        page.contains("refuses the client's token (401): both need the same JWT secret").then_some(())
    });
    for (does, word) in [(Does::Invalid, "INVALID"), (Does::Syncing, "SYNCING")] {
        execution.now(does);
        assert_eq!(text(&consensus.new_payload(&second)), second.valid().replace("VALID", word));
    }
    execution.now(Does::Html);
    assert_eq!(text(&consensus.new_payload(&second)), "<html>");
    execution.now(Does::Well);
    let stranger = Payload::first().sibling_of_next(9);
    let refused = consensus.new_payload(&stranger);
    assert!(text(&refused).contains("-32602"), "{}", text(&refused));
    assert_eq!(execution.last().method, "engine_newPayloadV5", "the word of the plain call counts");
    // None of it became a block.
    bring(&execution, &mut consensus, &second);
    wait_for_blocks(&yard, &[first, second]);
}

#[test]
fn without_its_witness_a_payload_is_a_block_all_the_same_and_it_is_said_why() {
    for (does, why) in [
        (Does::NoSuchMethod, "it knows no engine_newPayloadWithWitnessV5"),
        (Does::WitnessFails, "it refused with -32603: it says no"),
        (Does::HangsUpWithWitness, "it hung up"),
        (Does::HalfWitness, "its answer broke off"),
        (Does::SilentWithWitness, "has not given it after 1000 ms"),
        (Does::MalformedWitness, "it is no witness"),
        (Does::NoWitness, ""),
    ] {
        let (execution, yard, mut consensus, first) = three("");
        let second = first.next();
        execution.now(does);
        bring(&execution, &mut consensus, &second);
        wait_for_blocks(&yard, std::slice::from_ref(&first));
        let said = wait_for(&format!("{does:?}: it is said why block 2 waits"), || {
            let (_, page) = yard.command(&["explain", "2", "--data", "yard"]);
            (page.contains("no witness of block") && page.contains(why)).then_some(page)
        });
        assert!(said.contains("witness"), "{said}");
        if !why.is_empty() {
            wait_for(&format!("{does:?}: the status says so"), || {
                yard.status()?["following"]["endpoints"][1]["error"].as_str()?.contains(why).then_some(())
            });
        }
        if does == Does::NoSuchMethod {
            let asked = || {
                let arrived = execution.arrived();
                arrived.iter().filter(|call| call.method.contains("WithWitness")).count()
            };
            let before = asked();
            bring(&execution, &mut consensus, &second.next());
            assert_eq!(asked(), before, "it is remembered");
            let status = yard.status().unwrap();
            let error = status["following"]["endpoints"][0]["error"].as_str().unwrap().to_owned();
            assert!(error.contains("it knows no engine_newPayloadWithWitnessV5"), "{error}");
        }
    }
}

#[test]
fn a_witness_that_did_not_come_is_asked_for_elsewhere() {
    let first = Payload::first();
    let execution = Execution::start();
    execution.now(Does::NoSuchMethod);
    let keys = has_witnesses_of(std::slice::from_ref(&first));
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), &keys);
    yard.start();
    let mut consensus = Consensus::connect(listen);
    bring(&execution, &mut consensus, &first);
    wait_for_blocks(&yard, &[first]);
}

/// A node that has the witnesses of these blocks; as the table of witnesses names it.
fn has_witnesses_of(blocks: &[Payload]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let keys = format!("rpc = \"http://{}\"", listener.local_addr().unwrap());
    let blocks = blocks.to_vec();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let blocks = blocks.clone();
            std::thread::spawn(move || serve_witnesses(stream, &blocks));
        }
    });
    keys
}

fn serve_witnesses(stream: TcpStream, blocks: &[Payload]) {
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    while let Some(request) = proofyard_follow_tests::http::read_message(&mut input) {
        let asked = String::from_utf8_lossy(&request.body).into_owned();
        let is_asked = |block: &&Payload| {
            asked.contains(&block.hash) || asked.contains(&format!("\"0x{:x}\"", block.height))
        };
        let block = blocks.iter().find(is_asked).unwrap_or_else(|| panic!("{asked}"));
        let result = match asked.contains("debug_executionWitness") {
            true => format!("{{\"state\":[],\"codes\":[],\"headers\":[{{\"hash\":\"{}\"}}]}}", block.parent),
            false => format!(
                "{{\"number\":\"0x{:x}\",\"hash\":\"{}\",\"parentHash\":\"{}\"}}",
                block.height, block.hash, block.parent
            ),
        };
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{result}}}");
        let _ = output.write_all(&proofyard_follow_tests::http::answer("200 OK", "", body.as_bytes()));
    }
}

#[test]
fn a_witness_of_another_block_is_not_proved_with() {
    let (execution, yard, mut consensus, first) = three("");
    let second = first.next();
    execution.now(Does::OtherWitness);
    bring(&execution, &mut consensus, &second);
    wait_for("it is said why block 2 waits", || {
        let (_, page) = yard.command(&["explain", "2", "--data", "yard"]);
        page.contains("the witness is of another block").then_some(())
    });
    wait_for_blocks(&yard, &[first]);
}

#[test]
fn an_execution_client_that_is_away_is_a_502_and_one_that_says_nothing_a_504() {
    let (execution, yard, mut consensus, first) = three("");
    let second = first.next();
    execution.knows(&second);
    execution.now(Does::HangsUp);
    assert_eq!(status_of(&consensus.new_payload(&second)), "502");
    assert_eq!(status_of(&consensus.call(b"{\"id\":1,\"method\":\"eth_blockNumber\"}")), "502");
    assert!(yard.wait_for_endpoint(0, "down")["error"].as_str().unwrap().contains("hung up"));
    execution.now(Does::Silent);
    let answer = consensus.call(b"{\"id\":1,\"method\":\"eth_blockNumber\"}");
    assert_eq!(status_of(&answer), "504");
    assert!(text(&answer).contains("does not answer in time"), "{}", text(&answer));
    execution.now(Does::Well);
    bring(&execution, &mut consensus, &second);
    yard.wait_for_endpoint(0, "followed");
    wait_for_blocks(&yard, &[first, second]);
    // Nobody is there.
    let (mut nowhere, listen) = FollowingYard::between_clients("http://127.0.0.1:1", "");
    nowhere.start();
    let answer = Consensus::connect(listen).new_payload(&Payload::first());
    assert_eq!(status_of(&answer), "502");
    assert!(text(&answer).contains("the execution client at http://127.0.0.1:1"), "{}", text(&answer));
}

#[test]
fn branches_repeats_and_payloads_out_of_order_come_to_the_consensus_clients_chain() {
    let (execution, yard, mut consensus, first) = three("");
    let ours = first.chain(3);
    let theirs: Vec<Payload> = {
        let second = first.sibling_of_next(5);
        let more = second.chain(3);
        std::iter::once(second).chain(more).collect()
    };
    for payload in [&ours[1], &ours[0], &ours[0], &ours[2]] {
        bring(&execution, &mut consensus, payload);
    }
    consensus.head(&ours[2], None, None);
    let chain = |blocks: &[Payload]| [std::slice::from_ref(&first), blocks].concat();
    wait_for_blocks(&yard, &chain(&ours));
    for payload in &theirs {
        bring(&execution, &mut consensus, payload);
    }
    consensus.head(&theirs[3], None, None);
    wait_for_blocks(&yard, &chain(&theirs));
    consensus.head(&ours[2], None, None);
    wait_for_blocks(&yard, &chain(&ours));
    assert!(yard.handed_on().retracts > 0);
    let before = execution.arrived().len();
    consensus.head(&theirs[1], None, None);
    wait_for_blocks(&yard, &chain(&theirs[..2]));
    assert_eq!(execution.arrived().len(), before + 1, "no witness is asked for again");
}

#[test]
fn a_gap_shows_until_it_is_filled() {
    let (execution, mut yard, mut consensus, first) = three("");
    let chain = first.chain(3);
    bring(&execution, &mut consensus, &chain[2]);
    consensus.head(&chain[2], None, None);
    wait_for_trouble(&yard, "block 4 waits for its parent");
    wait_for_trouble(&yard, "--blocks");
    for payload in &chain[..2] {
        bring(&execution, &mut consensus, payload);
    }
    wait_for_blocks(&yard, &[vec![first], chain].concat());
    wait_for("the trouble is over", || yard.status()?["following"]["trouble"].is_null().then_some(()));
    assert!(yard.is_running());
}

/// Kills at many moments after an answer: what was answered VALID is a block.
#[test]
fn what_was_answered_is_a_block_though_the_yard_is_killed() {
    let first = Payload::first();
    let mut blocks = vec![first.clone()];
    blocks.extend(first.chain(7));
    let execution = Execution::start();
    // What a yard has not written of a witness when it is killed is lost, and asked for elsewhere.
    let keys = has_witnesses_of(&blocks);
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), &keys);
    for (index, payload) in blocks.iter().enumerate() {
        yard.start();
        let mut consensus = Consensus::connect(listen);
        execution.witness_bytes(if index % 2 == 0 { 2_000_000 } else { 100 });
        bring(&execution, &mut consensus, payload);
        std::thread::sleep(Duration::from_millis(if index < 4 { 0 } else { index as u64 * 3 }));
        yard.kill();
    }
    yard.start();
    wait_for_blocks(&yard, &blocks);
    let calls = yard.folder().join("yard/engine/calls");
    wait_for("nothing is left of the calls", || {
        (std::fs::read_dir(&calls).unwrap().count() == 0).then_some(())
    });
    assert_eq!(execution.arrived().len(), blocks.len(), "no payload was asked for again");
}

#[test]
fn calls_go_through_though_nothing_can_be_written() {
    let (execution, mut yard, mut consensus, first) = three("");
    wait_for_blocks(&yard, std::slice::from_ref(&first));
    // A file stands where the folder of calls was: as root one could write into a folder that is closed.
    let calls = yard.folder().join("yard/engine/calls");
    std::fs::remove_dir_all(&calls).unwrap();
    std::fs::write(&calls, "").unwrap();
    let chain = first.chain(4);
    for payload in &chain {
        bring(&execution, &mut consensus, payload);
    }
    wait_for_trouble(&yard, "the disk does not keep what comes");
    // They were held in memory, and are blocks, without their witnesses.
    wait_for("they are blocks", || (yard.status()?["tip"]["height"] == 5).then_some(()));
    std::fs::remove_file(&calls).unwrap();
    std::fs::create_dir(&calls).unwrap();
    let next = chain[3].next();
    bring(&execution, &mut consensus, &next);
    wait_for("it is over", || {
        let status = yard.status()?;
        (status["tip"]["height"] == 6 && status["following"]["trouble"].is_null()).then_some(())
    });
    assert!(yard.is_running());
}

#[test]
fn a_payload_that_cannot_be_a_block_is_kept_and_shown() {
    let execution = Execution::start();
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), "");
    yard.start();
    let mut consensus = Consensus::connect(listen);
    let first = Payload::first();
    execution.knows(&first);
    // Its hash is not that of its header, whatever the execution client says.
    let call = first.call("engine_newPayloadV5").replace("\"gasUsed\":\"0x0\"", "\"gasUsed\":\"0x1\"");
    assert_eq!(text(&consensus.call(call.as_bytes())), first.valid());
    wait_for_trouble(&yard, "a valid payload is not recorded: it cannot be a block here");
    let kept = std::fs::read_dir(yard.folder().join("yard/engine/calls")).unwrap().flatten();
    let names: Vec<String> = kept.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.ends_with(".refused")), "{names:?}");
    bring(&execution, &mut consensus, &first);
    wait_for_blocks(&yard, &[first]);
}

#[test]
fn a_pipeline_that_asks_for_no_witness_takes_blocks_alone() {
    let execution = Execution::start();
    let (mut yard, listen) = FollowingYard::between_clients_without_witness(&execution.url());
    yard.start();
    let mut consensus = Consensus::connect(listen);
    let first = Payload::first();
    bring(&execution, &mut consensus, &first);
    assert_eq!(execution.last().method, "engine_newPayloadV5");
    wait_for_blocks(&yard, &[first]);
}

#[test]
fn a_second_proxy_at_the_same_place_says_so() {
    let (_execution, yard, _consensus, first) = three("");
    let (is_good, said) = yard.command(&["run", "pipeline.toml", "--data", "another"]);
    assert!(!is_good && said.contains("PY0509") && said.contains("another program listens"), "{said}");
    assert!(!yard.folder().join("another").exists(), "nothing was begun");
    wait_for_blocks(&yard, &[first]);
}
