//! What following costs, measured on anvil: `proofyard-follow-figures backfill BLOCKS`, `heads BLOCKS ws|polling`, and
//! `soak BLOCKS BLOCK_MS REORG_EVERY`. Programs are found as by the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here has measured nothing"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proofyard_follow_tests::anvil::Anvil;
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
        _ => panic!("backfill BLOCKS | heads BLOCKS ws|polling | soak BLOCKS BLOCK_MS REORG_EVERY"),
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
