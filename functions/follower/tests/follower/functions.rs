//! The function itself, in its role, with all others of a yard. `FOLLOW_BLOCKS=200 cargo test --release -p proofyard-follower
//! --test follower functions -- --nocapture` is a soak, and prints how long blocks took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proofyard_aws::queues::Outgoing;
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::wait_for;
use proofyard_follow_tests::anvil::Anvil;
use tokio::runtime::Runtime;

use crate::yard::{HandedOn, handed_on, pipeline, rpc};

const SECOND: Duration = Duration::from_secs(1);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A block each second, and a reorg at the fourth and at each twentieth; when each block was made, by its hash.
fn chain_lives(anvil: &Anvil, blocks: u64) -> BTreeMap<String, u64> {
    let mut made_ms = BTreeMap::new();
    for number in 1..=blocks {
        let began = Instant::now();
        let mut from = anvil.height() + 1;
        let at_ms = now_ms();
        if number == 4 || number % 20 == 0 {
            let depth = 1 + number % 6;
            from = from.saturating_sub(depth).max(1);
            anvil.reorg(depth.min(anvil.height() - 1));
        }
        anvil.mine(1);
        for height in from..=anvil.height() {
            made_ms.entry(anvil.hash(height)).or_insert(at_ms);
        }
        sleep(SECOND.saturating_sub(began.elapsed()));
    }
    made_ms
}

#[test]
fn ticks_have_a_nodes_chain_proved_by_functions_in_their_roles() {
    let blocks = std::env::var("FOLLOW_BLOCKS").map_or(6, |blocks| blocks.parse().unwrap());
    let anvil = Anvil::start();
    anvil.mine_fast(5);
    let aws = LocalAws::whole(&["--no-schedule"]);
    let runtime = Runtime::new().unwrap();
    let text = pipeline(&rpc(&anvil)).replace(r#"["prover"]"#, r#"["proofyard-toy-prover"]"#);
    let driver = runtime.block_on(Driver::with_pipeline(&aws, &text));
    let queue = driver.home.names.follow_queue();
    let is_over = AtomicBool::new(false);
    let (made_ms, handed) = scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let tick = Outgoing { body: r#"{"tick": {}}"#.to_owned(), ..Outgoing::default() };
                runtime.block_on(driver.home.queues.send(&queue, &[tick])).unwrap();
                sleep(SECOND);
            }
        });
        let look = || {
            let handed = runtime.block_on(handed_on(&aws, &driver));
            let newest = anvil.height();
            (handed.blocks.last_key_value() == Some((&newest, &anvil.hash(newest)))).then_some(handed)
        };
        wait_for("the first blocks are handed on", look);
        let made_ms = chain_lives(&anvil, blocks);
        let handed = wait_for("the node's chain is handed on", look);
        is_over.store(true, Ordering::Relaxed);
        (made_ms, handed)
    });
    // Also what it writes in a reorg is its role's to write.
    assert!(handed.retracts > 0);
    assert_eq!(handed.blocks.len() as u64, anvil.height(), "lost");
    for (height, hash) in &handed.blocks {
        assert_eq!(*hash, anvil.hash(*height), "{height}");
    }
    print_lags(&made_ms, &handed);
}

/// From when a block was made to its commit; of those that left the chain too, where they were committed before.
fn print_lags(made_ms: &BTreeMap<String, u64>, handed: &HandedOn) {
    let lag_ms = |(hash, at_ms): (&String, &u64)| Some(at_ms.saturating_sub(*made_ms.get(hash)?));
    let mut lags_ms: Vec<u64> = handed.committed_ms.iter().filter_map(lag_ms).collect();
    lags_ms.sort_unstable();
    let at = |percent: usize| lags_ms[(lags_ms.len() * percent / 100).min(lags_ms.len() - 1)];
    println!(
        "{} blocks stand, {} retracts; from made to committed, of {}: P50 {} ms, P99 {} ms, most {} ms",
        handed.blocks.len(),
        handed.retracts,
        lags_ms.len(),
        at(50),
        at(99),
        at(100)
    );
}
