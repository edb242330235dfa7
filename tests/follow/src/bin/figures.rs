//! What following costs, measured on anvil: `proofyard-follow-figures backfill BLOCKS`, `heads BLOCKS ws|polling`, `soak
//! BLOCKS BLOCK_MS REORG_EVERY` and `witness MEGABYTES`. Programs are found as by the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here has measured nothing"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::Between;
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
        _ => panic!(
            "backfill BLOCKS | heads BLOCKS ws|polling | soak BLOCKS BLOCK_MS REORG_EVERY | witness MEGABYTES"
        ),
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
