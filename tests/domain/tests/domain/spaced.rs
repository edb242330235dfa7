//! Sinks that are told once in a while, of the newest entry for all below it.

use proofyard_core::Yard;
use proofyard_core::operation::Operation;
use proofyard_core::port::Port;
use proofyard_core::sinks::{SinkWord, Trouble};
use proofyard_core::state::{Finality, NamedBlock, OutEntry, OutKind};
use proofyard_core::status::Finished;

use crate::common::driver::{Driver, block, good};
use crate::common::intercepted_port::InterceptedPort;
use crate::common::{named, now};
use crate::starving::{due, sweep_for};

const EVERY_MS: u64 = 60_000;
const PIPELINE: &str = r#"
[chain]
name = "c"
start_height = 1
window = 10000

[source.node]
rpc = ["http://127.0.0.1:8545"]

[stage.prove]
strategy = "match"
from = "block"
prover = "toy"
pool = "cpu"

[prover.toy]
command = ["toy"]

[pool.cpu]
slots = 2

[sink.out]
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
rpc = ["http://127.0.0.1:8545"]
chain_id = 1
key_from = "KEY"
function = "submit(uint256)"
arguments = ["{to}"]
"#;

fn driver(keys: &str) -> Driver {
    let driver = Driver::new(&format!("{PIPELINE}{keys}\n"));
    driver.worker("w", "cpu");
    driver
}

fn each_minute() -> Driver {
    driver("every_ms = 60000")
}

fn prove(driver: &mut Driver, heights: std::ops::RangeInclusive<u64>) {
    driver.blocks(heights);
    driver.work("w", good);
}

/// Branch b from the first of these heights on, proved.
fn reorg(driver: &mut Driver, heights: std::ops::RangeInclusive<u64>) {
    let (first, last) = (*heights.start(), *heights.end());
    for height in heights {
        driver.send(&block(height, "b", if height == first { "a" } else { "b" }));
    }
    now(driver.yard.record_reorg(&named("c"), last, &format!("b{last}").into())).unwrap();
    driver.settle();
    driver.work("w", good);
}

fn next(driver: &Driver) -> Option<OutEntry> {
    now(driver.yard.sink_next(&named("c"), "out")).unwrap()
}

fn name(entry: &OutEntry) -> String {
    match &entry.kind {
        OutKind::Proof { hash, .. } => hash.to_string(),
        OutKind::Retract { from, to } => format!("retract {from}..{to}"),
    }
}

/// Hands on what there is.
fn handed_on(driver: &Driver) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(entry) = next(driver) {
        names.push(name(&entry));
        now(driver.yard.sink_done("out", &entry)).unwrap();
    }
    names
}

fn fails(driver: &Driver, entry: &OutEntry, nothing_sent: bool) {
    let trouble = Trouble { nothing_sent, ..Trouble::saying("no answer") };
    now(driver.yard.sink_failed("out", entry, &trouble)).unwrap();
    driver.pass(10_000);
}

fn tell(driver: &Driver, word: SinkWord) -> Result<(), String> {
    let operation = Operation::Sink { chain: named("c"), sink: "out".into(), word };
    now(driver.yard.operate(&operation)).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_newest_entry_stands_for_all_that_came_since_the_last_call() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=3);
    let due_ms = driver.yard.port.now_ms() + EVERY_MS;
    assert_eq!(handed_on(&driver), ["a3"]);
    prove(&mut driver, 4..=6);
    assert_eq!(handed_on(&driver), [""; 0]);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    let sink = &status.sinks[0];
    assert_eq!((sink.behind, sink.next_call_ms), (3, Some(due_ms)));
    assert_eq!(now(driver.yard.sink_lag_ms(&named("c"), sink)).unwrap(), 0, "it has its time");
    prove(&mut driver, 7..=7);
    driver.pass(due_ms - 1 - driver.yard.port.now_ms());
    assert_eq!(handed_on(&driver), [""; 0]);
    driver.pass(1);
    assert_eq!(handed_on(&driver), ["a7"]);
    assert_eq!(now(driver.yard.status(&named("c"), false)).unwrap().sinks[0].behind, 0);
}

#[test]
fn what_may_be_under_way_comes_again_and_what_is_not_makes_room_for_the_newest() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=3);
    let first = next(&driver).unwrap();
    prove(&mut driver, 4..=5);
    // After a crash nobody knows whether it was sent.
    assert_eq!(next(&driver).unwrap(), first);
    fails(&driver, &first, false);
    assert_eq!(next(&driver).unwrap(), first);
    fails(&driver, &first, true);
    assert_eq!(handed_on(&driver), ["a5"]);
}

#[test]
fn a_reorg_takes_back_what_was_handed_on_and_nothing_else() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=3);
    assert_eq!(handed_on(&driver), ["a3"]);
    prove(&mut driver, 4..=6);
    reorg(&mut driver, 5..=7);
    assert_eq!(handed_on(&driver), [""; 0]);
    driver.pass(EVERY_MS);
    assert_eq!(handed_on(&driver), ["b7"]);
    // At once, and not when its time comes.
    driver.send(&block(6, "d", "b"));
    driver.send(&block(7, "d", "d"));
    now(driver.yard.record_reorg(&named("c"), 7, &"d7".into())).unwrap();
    driver.settle();
    driver.work("w", good);
    assert_eq!(handed_on(&driver), ["retract 6..7"]);
    driver.pass(EVERY_MS);
    assert_eq!(handed_on(&driver), ["d7"]);
}

#[test]
fn a_reorg_under_a_call_takes_it_back_only_where_something_may_have_been_sent() {
    for nothing_sent in [false, true] {
        let mut driver = each_minute();
        prove(&mut driver, 1..=3);
        let entry = next(&driver).unwrap();
        fails(&driver, &entry, nothing_sent);
        reorg(&mut driver, 3..=4);
        match nothing_sent {
            true => assert_eq!(handed_on(&driver), ["b4"]),
            false => {
                assert_eq!(handed_on(&driver), ["retract 3..3"]);
                driver.pass(EVERY_MS);
                assert_eq!(handed_on(&driver), ["b4"]);
            }
        }
    }
}

#[test]
fn what_a_retract_at_the_logs_end_left_standing_is_handed_on_and_what_it_left_of_nothing_is_not_waited_for() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=2);
    assert_eq!(handed_on(&driver), ["a2"]);
    prove(&mut driver, 3..=6);
    // Back to block 4, and nothing follows.
    now(driver.yard.record_reorg(&named("c"), 4, &"a4".into())).unwrap();
    driver.settle();
    driver.end();
    driver.work("w", good);
    driver.pass(EVERY_MS);
    assert_eq!(handed_on(&driver), ["a4"]);
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::No, "its retract is left");
    driver.pass(EVERY_MS);
    assert_eq!(handed_on(&driver), [""; 0]);
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::Yes);
}

#[test]
fn only_what_is_final_is_handed_on() {
    let mut driver = driver("every_ms = 60000\nconfirm = \"finalized\"");
    let finalize = |driver: &Driver, height: u64, hash: &str| {
        let block = Some(NamedBlock { height, hash: hash.into() });
        let finality = Finality { chain: named("c"), safe: block.clone(), finalized: block };
        now(driver.yard.record_finality(&finality)).unwrap();
        driver.pass(EVERY_MS);
    };
    prove(&mut driver, 1..=40);
    assert_eq!(handed_on(&driver), [""; 0]);
    finalize(&driver, 7, "a7");
    assert_eq!(handed_on(&driver), ["a7"]);
    reorg(&mut driver, 20..=45);
    finalize(&driver, 19, "a19");
    assert_eq!(handed_on(&driver), ["a19"], "neither what left the chain nor its retract");
    finalize(&driver, 33, "b33");
    assert_eq!(handed_on(&driver), ["b33"]);
    finalize(&driver, 45, "b45");
    assert_eq!(handed_on(&driver), ["b45"]);
}

#[test]
fn a_long_log_is_not_read_entry_by_entry() {
    let mut driver = driver("every_ms = 60000\nconfirm = \"finalized\"");
    prove(&mut driver, 1..=600);
    let block = Some(NamedBlock { height: 234, hash: "a234".into() });
    let finality = Finality { chain: named("c"), safe: block.clone(), finalized: block };
    now(driver.yard.record_finality(&finality)).unwrap();
    let yard = Yard::new(InterceptedPort::counting(&driver.yard.port));
    let entry = now(yard.sink_next(&named("c"), "out")).unwrap().unwrap();
    now(yard.sink_done("out", &entry)).unwrap();
    assert_eq!(name(&entry), "a234");
    assert!(yard.port.reads() <= 50, "{} reads", yard.port.reads());
    let cursor = now(driver.yard.sink_cursor(&named("c"), "out", "commits")).unwrap();
    assert_eq!(cursor.next_sequence, 234);
}

#[test]
fn an_operator_skips_what_it_waits_with_and_has_it_go_back() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=3);
    let entry = next(&driver).unwrap();
    fails(&driver, &entry, false);
    let refused = tell(&driver, SinkWord::Skip { sequence: 0 }).unwrap_err();
    assert!(refused.contains('2'), "it waits with 2: {refused}");
    tell(&driver, SinkWord::Skip { sequence: 2 }).unwrap();
    prove(&mut driver, 4..=4);
    driver.pass(EVERY_MS);
    assert_eq!(handed_on(&driver), ["a4"]);
    tell(&driver, SinkWord::Again { from: 1 }).unwrap();
    assert_eq!(handed_on(&driver), ["a4"], "at once");
}

#[test]
fn it_is_woken_when_its_time_comes_and_is_not_due_without_a_reason() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=2);
    assert_eq!(handed_on(&driver), ["a2"]);
    driver.end();
    sweep_for(&driver, 600_000, 15_000);
    assert_eq!(due(&driver), [], "nothing came");
    let mut driver = each_minute();
    prove(&mut driver, 1..=2);
    assert_eq!(handed_on(&driver), ["a2"]);
    prove(&mut driver, 3..=3);
    assert_eq!(handed_on(&driver), [""; 0]);
    driver.pass(EVERY_MS);
    let swept = now(driver.yard.sweep()).unwrap();
    assert!(swept.errors.is_empty());
    let wakes: Vec<_> = std::iter::from_fn(|| driver.yard.port.next_wake()).collect();
    assert!(
        wakes.contains(&proofyard_core::Wake::Sink { chain: named("c"), sink: "out".into() }),
        "{wakes:?}"
    );
}

#[test]
fn a_pipeline_that_takes_the_interval_away_ends_the_call_that_is_under_way_first() {
    let mut driver = each_minute();
    prove(&mut driver, 1..=3);
    let entry = next(&driver).unwrap();
    fails(&driver, &entry, false);
    now(driver.yard.record_pipeline(PIPELINE)).unwrap();
    driver.settle();
    prove(&mut driver, 4..=5);
    assert_eq!(handed_on(&driver), ["a3", "a4", "a5"]);
}

#[test]
fn an_interval_belongs_to_contracts_that_get_proofs() {
    for (keys, because) in [
        ("every_ms = 60000\nevents = \"retract\"", "no proofs"),
        ("every_ms = 0", "every_ms"),
        ("every_ms = \"10m\"", "every_ms"),
    ] {
        let mistakes = proofyard_core::pipeline::parse(&format!("{PIPELINE}{keys}\n")).unwrap_err();
        assert!(format!("{mistakes:?}").contains(because), "{keys}: {mistakes:?}");
    }
    let file =
        PIPELINE.split("[sink.out]").next().unwrap().to_owned() + "[sink.out]\nfile = \"x\"\nevery_ms = 1\n";
    let mistakes = format!("{:?}", proofyard_core::pipeline::parse(&file).unwrap_err());
    assert!(mistakes.contains("it belongs to `contract`"), "{mistakes}");
}
