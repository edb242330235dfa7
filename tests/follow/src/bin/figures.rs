//! What following costs, measured on anvil: `proofyard-follow-figures backfill BLOCKS`, `heads BLOCKS ws|polling`, `soak
//! BLOCKS BLOCK_MS REORG_EVERY`, `witness MEGABYTES`; and what standing between two clients costs a call: `engine CALLS
//! WITNESS_KB`; and what sinks that hang cost a commit: `sinks BLOCKS`. Programs are found as by the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here has measured nothing"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::{Between, Does};
use proofyard_follow_tests::engine::{Consensus, Execution, Payload};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match words.as_slice() {
        ["backfill", blocks] => backfill(number(blocks)),
        ["heads", blocks, how @ ("ws" | "polling")] => soak(number(blocks), 500, u64::MAX, *how == "ws"),
        ["soak", blocks, block_ms, every] => soak(number(blocks), number(block_ms), number(every), true),
        ["witness", megabytes] => witness(number(megabytes)),
        ["engine", calls, kilobytes] => engine(number(calls), number(kilobytes)),
        ["sinks", blocks] => sinks(number(blocks)),
        _ => panic!(
            "backfill BLOCKS | heads BLOCKS ws|polling | soak BLOCKS BLOCK_MS REORG_EVERY | witness MEGABYTES | engine CALLS \
             WITNESS_KB | sinks BLOCKS"
        ),
    }
}

/// How long blocks take until they are committed: in a yard whose four sinks all hang, and in one without sinks beside it.
fn sinks(blocks: u64) {
    let anvil = Anvil::start();
    let hangs = Between::start(anvil.at);
    hangs.now(Does::Silence);
    let pipeline = |sinks: &str| {
        format!(
            "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 16\nreal_time = true\n\n[source.node]\nrpc = [\"{}\"]\npoll_ms = 100\n\n\
             [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"toy\"\npool = \"main\"\n\n\
             [prover.toy]\ncommand = [\"TOY\", \"--work-ms\", \"1\"]\n\n[pool.main]\nslots = 1\n\n{sinks}",
            anvil.url()
        )
    };
    let of_four = format!(
        "[sink.file]\nfile = \"pipe\"\n[sink.program]\ncommand = [\"sleep\", \"1000\"]\n[sink.hook]\nwebhook = \"{url}\"\n\
         [sink.l1]\ncontract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nrpc = [\"{url}\"]\nchain_id = 31337\n\
         key_from = \"KEY\"\nfunction = \"submit(uint256)\"\narguments = [\"{{to}}\"]\n",
        url = hangs.url()
    );
    let mut yards = ["", &of_four].map(|sinks| {
        let mut yard = FollowingYard::of_pipeline(&pipeline(sinks));
        yard.environment.push(("KEY", format!("0x{:064x}", 1)));
        // Who opens a pipe waits until somebody reads it.
        let pipe = std::process::Command::new("mkfifo").arg(yard.folder().join("pipe")).status();
        assert!(pipe.unwrap().success());
        yard
    });
    yards.iter_mut().for_each(FollowingYard::start);
    let mut mined = BTreeMap::new();
    for _ in 0..blocks {
        std::thread::sleep(Duration::from_millis(500));
        let asked_ms = now_ms();
        anvil.mine(1);
        mined.insert(anvil.hash(anvil.height()), asked_ms);
    }
    for (yard, what) in yards.iter_mut().zip(["without sinks", "with four that hang"]) {
        wait_for("all is committed", || (yard.status()?["frontier"] == anvil.height() + 1).then_some(()));
        let handed_on = yard.status().map(|status| {
            let sinks = status["sinks"].as_array().cloned().unwrap_or_default();
            sinks.iter().map(|sink| format!("{} {}", sink["sink"], sink["next_sequence"])).collect::<Vec<_>>()
        });
        yard.kill();
        // A file that is told afterwards says when each block was committed.
        let path = yard.folder().join("pipeline.toml");
        let text = std::fs::read_to_string(&path).unwrap() + "[sink.out]\nfile = \"out.jsonl\"\n";
        std::fs::write(path, text).unwrap();
        yard.start();
        wait_for("the file has all", || (yard.committed_ms().len() == mined.len()).then_some(()));
        yard.kill();
        let committed = yard.committed_ms();
        let mut took_ms: Vec<u64> =
            mined.iter().map(|(hash, mined_ms)| committed[hash].saturating_sub(*mined_ms)).collect();
        took_ms.sort_unstable();
        let at = |percent: usize| took_ms[(took_ms.len() - 1) * percent / 100];
        println!(
            "{what}: from asking for a block until it is committed P50 {} ms, P99 {} ms, maximum {} ms ({blocks} blocks); handed on {}",
            at(50),
            at(99),
            at(100),
            handed_on.unwrap_or_default().join(", ")
        );
    }
}

/// How fast a paused yard takes blocks that are there already.
fn backfill(blocks: u64) {
    let anvil = Anvil::start();
    anvil.mine_fast(1);
    let mut yard = FollowingYard::new(&[anvil.url()], &[]);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    assert!(yard.command(&["pause", "--data", "yard"]).0);
    yard.stop();
    anvil.mine_fast(blocks);
    let began = Instant::now();
    yard.start();
    let tip = |yard: &FollowingYard| yard.status()?["tip"]["height"].as_u64();
    wait_for("all blocks are taken", || (tip(&yard)? == blocks + 1).then_some(()));
    let took_s = began.elapsed().as_secs_f64();
    println!(
        "{blocks} blocks taken in {took_s:.2} s, {:.0} a second, from the start of the program",
        blocks as f64 / took_s
    );
}

/// What fetching a large witness takes of memory: of the program that fetches, and of the yard that stores it.
fn witness(megabytes: u64) {
    let anvil = Anvil::start();
    let bytes = usize::try_from(megabytes * 1_000_000).unwrap();
    let between = Between::start_with_witnesses_of(anvil.at, bytes);
    anvil.mine_fast(1);
    let mut yard = FollowingYard::with_witness(&[between.url()]);
    yard.start();
    let (mut fetching, mut storing) = (0, 0);
    wait_for("the witness is fetched", || {
        fetching = fetching.max(most_memory_kib("proofyard-node\0witness"));
        storing = storing.max(most_memory_kib("proofyard-node\0run"));
        let (_, page) = yard.command(&["status", "--data", "yard", "--json"]);
        page.contains(r#""stage":"witness","pool":"witness","commits":false,"gathering":0,"waiting":0,"running":0,"backing_off":0,"parked":0,"accepted":1"#)
            .then_some(())
            .or_else(|| (!yard.handed_on().blocks.is_empty()).then_some(()))
    });
    let mib = |kib: u64| kib as f64 / 1_024.0;
    println!(
        "a witness of {megabytes} MB: at most {:.0} MiB of memory where it is fetched, {:.0} MiB in the yard",
        mib(fetching),
        mib(storing)
    );
}

/// Calls to an execution client that answers at once, payloads after 10 ms, and the same calls through a yard, in turns.
fn engine(calls: u64, kilobytes: u64) {
    let execution = Execution::start();
    execution.witness_bytes(usize::try_from(kilobytes * 1_000).unwrap());
    execution.takes_ms(10);
    let (mut yard, listen) = FollowingYard::between_clients(&execution.url(), "");
    yard.start();
    let (mut direct, mut through) = (Consensus::connect(execution.at), Consensus::connect(listen));
    let small = br#"{"jsonrpc":"2.0","id":1,"method":"engine_exchangeCapabilities","params":[[]]}"#;
    let (mut small_direct, mut small_through) = (Vec::new(), Vec::new());
    for call in 0..calls + 20 {
        let pair = (direct.timed(small), through.timed(small));
        if call >= 20 {
            small_direct.push(pair.0);
            small_through.push(pair.1);
        }
    }
    println!(
        "a call that goes through as it is: direct {}; through {}",
        shown(&mut small_direct),
        shown(&mut small_through)
    );
    let (mut plain, mut with_witness, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
    let mut payload = Payload::first();
    for call in 0..calls + 20 {
        execution.knows(&payload);
        let bodies =
            ["engine_newPayloadV5", "engine_newPayloadWithWitnessV5"].map(|method| payload.call(method));
        // The fixture makes its answer at the first call.
        direct.timed(bodies[1].as_bytes());
        let took = (
            direct.timed(bodies[0].as_bytes()),
            direct.timed(bodies[1].as_bytes()),
            through.timed(bodies[0].as_bytes()),
        );
        through.head(&payload, None, None);
        if call >= 20 {
            plain.push(took.0);
            with_witness.push(took.1);
            payloads.push(took.2);
        }
        payload = payload.next();
        // As a chain would bring them, if faster: what the yard does with a block is over before the next.
        wait_for("the payload is handed on", || (yard.handed_on().blocks.len() as u64 > call).then_some(()));
    }
    println!(
        "a payload, with a witness of {kilobytes} KB: direct, without its witness {}; direct, with it {}; through {}",
        shown(&mut plain),
        shown(&mut with_witness),
        shown(&mut payloads)
    );
    let tip = || yard.status()?["tip"]["height"].as_u64();
    wait_for("every payload is a block", || (tip()? == calls + 20).then_some(()));
    wait_for("every block is handed on", || {
        (yard.handed_on().blocks.len() as u64 == calls + 20).then_some(())
    });
    println!("all {} payloads are blocks, proved with their witnesses", calls + 20);
}

fn shown(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("P50 {:.3} ms, P99 {:.3} ms", at(50), at(99))
}

/// The most that a process with these words in its command line has had, in KiB.
fn most_memory_kib(words: &str) -> u64 {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let of = |pid: String| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
        command.contains(words).then(|| line.split_whitespace().nth(1)?.parse().ok())?
    };
    pids.filter_map(of).max().unwrap_or(0)
}

/// Mines a block each while, with a reorg now and then; then compares what was handed on with the node's chain.
fn soak(blocks: u64, block_ms: u64, reorg_every: u64, ws: bool) {
    let anvil = Anvil::start();
    let ws = if ws { vec![anvil.ws()] } else { vec![] };
    let mut yard = FollowingYard::new(&[anvil.url()], &ws);
    anvil.mine_fast(1);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    std::thread::sleep(Duration::from_secs(1));
    let (mut mined, mut reorgs) = (BTreeMap::new(), 0);
    let mut next = Instant::now();
    for number in 1..=blocks {
        next += Duration::from_millis(block_ms);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if number % reorg_every == 0 {
            reorgs += 1;
            anvil.reorg(1 + number / reorg_every % 12);
        }
        let asked_ms = now_ms();
        anvil.mine(1);
        let height = anvil.height();
        mined.insert(anvil.hash(height), asked_ms);
    }
    let handed = yard.wait_for_chain_of(&anvil);
    let committed = yard.committed_ms();
    let mut lags: Vec<u64> = mined
        .iter()
        .filter_map(|(hash, mined_ms)| Some(committed.get(hash)?.saturating_sub(*mined_ms)))
        .collect();
    lags.sort_unstable();
    let at = |percent: usize| lags[(lags.len() - 1) * percent / 100];
    // Anything lost, doubled or out of order has ended this before.
    println!(
        "{blocks} blocks, one in {block_ms} ms, {reorgs} reorgs, told by {}: all {} heights of the node's chain were handed on, \
         each once, with {} retracts between; from asking for a block until it is committed P50 {} ms, P99 {} ms, maximum {} \
         ms ({} blocks)",
        if ws.is_empty() { "polling each 200 ms" } else { "WebSocket" },
        handed.blocks.len(),
        handed.retracts,
        at(50),
        at(99),
        at(100),
        lags.len()
    );
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
