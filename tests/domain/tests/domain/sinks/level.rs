//! Blocks as far as they are, the newest word of each.

use proofyard_core::pipeline::BlockWord;
use proofyard_core::port::{Key, Port};
use proofyard_core::sinks::{BlockNews, SinkWord, Trouble};
use proofyard_core::state::KeyFamily;
use proofyard_core::status::{Finished, SinkPlace};

use super::{PROVING, driver, prove, reorg, tell};
use crate::common::driver::{Driver, PROVE_MS, VERIFY_MS, block, good};
use crate::common::{named, now};

/// A server that is told of blocks, and what it was told, in order.
fn told(driver: &Driver) -> Vec<(String, BlockWord)> {
    let mut told = Vec::new();
    loop {
        let news = now(driver.yard.level_next(&named("c"), "out")).unwrap();
        for news in &news {
            assert!(now(driver.yard.level_sending(news)).unwrap());
            told.push((news.hash.to_string(), news.word));
            assert_eq!(
                news.proof.is_some(),
                news.word >= BlockWord::Accepted && news.word <= BlockWord::Committed
            );
            now(driver.yard.level_done(news)).unwrap();
        }
        // Settled heights are moved over a page at a time.
        if news.is_empty() && driver.yard.port.next_wake().is_none() {
            return told;
        }
    }
}

fn words(told: &[(String, BlockWord)]) -> Vec<String> {
    told.iter().map(|(hash, word)| format!("{hash} {}", word.name())).collect()
}

const ALL: &str = "command = [\"tell\"]\neach = \"block\"";

const REPORTS: &str = "ethproofs = \"http://x\"\ncluster_id = 7\ntoken_from = \"T\"";

#[test]
fn each_block_is_told_of_as_far_as_it_is_and_the_newest_first() {
    let mut driver = driver(ALL);
    driver.blocks(1..=3);
    assert_eq!(words(&told(&driver)), ["a3 arrived", "a2 arrived", "a1 arrived"]);
    let first = driver.claim("w").unwrap();
    assert_eq!(words(&told(&driver)), ["a1 started"]);
    driver.perform(&first, good(&first));
    assert_eq!(words(&told(&driver)), ["a1 committed"], "what is over is not told of");
    // The second one is accepted while the chain is paused, and so committed: the third is accepted only.
    let second = driver.claim("w").unwrap();
    let third = driver.claim("w").unwrap();
    driver.perform(&third, good(&third));
    assert_eq!(words(&told(&driver)), ["a3 accepted", "a2 started"]);
    driver.perform(&second, good(&second));
    assert_eq!(words(&told(&driver)), ["a3 committed", "a2 committed"]);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    assert_eq!(status.sinks[0].place, SinkPlace::Blocks { settled_below: 4, refused: 0, last_refused: None });
    assert_eq!(status.sinks[0].behind, 0);
}

#[test]
fn a_server_that_must_know_a_block_first_is_told_that_it_arrived() {
    let mut driver = driver(REPORTS);
    prove(&mut driver, 1..=2);
    let said = ["a2 arrived", "a1 arrived", "a2 accepted", "a1 accepted"];
    assert_eq!(words(&told(&driver)), said);
    assert_eq!(told(&driver), []);
}

#[test]
fn a_beacon_sink_gets_all_proofs_that_agreed_and_the_blocks_time_at_once() {
    let member = |name: &str| {
        format!(
            "[stage.{name}]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p{name}\"\npool = \"cpu\"\n"
        )
    };
    let quorum = "[stage.agree]\nstrategy = \"match\"\nfrom = [\"a\", \"b\", \"c\"]\nneed = 2\n";
    let provers: String =
        ["a", "b", "c"].map(|name| format!("[prover.p{name}]\ncommand = [\"p\"]\n")).concat();
    let sink = "[sink.out]\nbeacon = \"http://x\"\nproof_types = { pa = 1, pb = 2, pc = 3 }\nkeystore = \"k\"\n\
                password_from = \"P\"\n";
    let chain = "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 100\n[pool.cpu]\n";
    let members = ["a", "b", "c"].map(member).concat();
    let mut driver = Driver::new(&format!("{chain}{members}{quorum}{provers}{sink}"));
    driver.worker("w", "cpu");
    driver.blocks(1..=2);
    assert_eq!(told(&driver), [], "nothing is said of what has only arrived");
    let assignments: Vec<_> = std::iter::from_fn(|| driver.claim("w")).collect();
    // The second block is accepted before the first: it does not wait for its turn.
    for assignment in assignments.iter().filter(|one| one.task.height() == 2 && one.task.id().stage != "b") {
        driver.perform(assignment, good(assignment));
    }
    let news = now(driver.yard.level_next(&named("c"), "out")).unwrap();
    let [news] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!((news.height, news.word, news.timestamp_s), (2, BlockWord::Accepted, Some(1_700_000_002)));
    let all = &news.proof.as_ref().unwrap().all;
    let all: Vec<(&str, &str)> =
        all.iter().map(|(prover, proof)| (prover.as_str(), proof.stage.as_str())).collect();
    assert_eq!(all, [("pa", "a"), ("pc", "c")]);
    assert_eq!(words(&told(&driver)), ["a2 accepted"]);
    for assignment in assignments.iter().filter(|one| one.task.height() == 1 || one.task.id().stage == "b") {
        driver.perform(assignment, good(assignment));
    }
    assert_eq!(words(&told(&driver)), ["a1 accepted"], "of each block once, also when it is committed");
}

#[test]
fn no_older_word_follows_a_newer_one_whatever_was_lost() {
    let mut driver = driver(REPORTS);
    driver.blocks(1..=1);
    let arrived = now(driver.yard.level_next(&named("c"), "out")).unwrap().remove(0);
    assert!(now(driver.yard.level_sending(&arrived)).unwrap());
    // The answer is lost: it may be queued there. Nothing newer was sent, so it is introduced once more.
    let again = now(driver.yard.level_next(&named("c"), "out")).unwrap().remove(0);
    assert_eq!(again.word, BlockWord::Arrived);
    now(driver.yard.level_done(&again)).unwrap();
    let assignment = driver.claim("w").unwrap();
    let started = now(driver.yard.level_next(&named("c"), "out")).unwrap().remove(0);
    assert!(now(driver.yard.level_sending(&started)).unwrap());
    assert!(!now(driver.yard.level_sending(&arrived)).unwrap(), "the newer word may have come");
    now(driver.yard.level_failed(&started, &Trouble::saying("no answer"))).unwrap();
    driver.perform(&assignment, good(&assignment));
    assert_eq!(now(driver.yard.level_next(&named("c"), "out")).unwrap(), [], "it backs off");
    driver.pass(10_000);
    assert_eq!(words(&told(&driver)), ["a1 accepted"]);
    // One that was read before is not sent any more.
    assert!(!now(driver.yard.level_sending(&arrived)).unwrap());
    assert!(!now(driver.yard.level_sending(&started)).unwrap());
}

#[test]
fn a_word_that_is_refused_holds_up_no_other() {
    let mut driver = driver(REPORTS);
    prove(&mut driver, 1..=2);
    told(&driver);
    prove(&mut driver, 3..=3);
    let news = now(driver.yard.level_next(&named("c"), "out")).unwrap().remove(0);
    assert!(now(driver.yard.level_sending(&news)).unwrap());
    now(driver.yard.level_refused(&news, "400: no such block")).unwrap();
    assert_eq!(words(&told(&driver)), ["a3 accepted"]);
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    let last_refused = Some("block 3 as arrived: 400: no such block".to_owned());
    let place = SinkPlace::Blocks { settled_below: 4, refused: 1, last_refused };
    assert_eq!(status.sinks[0].place, place, "also once it has taken others");
}

#[test]
fn a_block_that_leaves_the_chain_is_taken_back_if_it_was_told_of() {
    let mut driver = driver(ALL);
    prove(&mut driver, 1..=3);
    told(&driver);
    reorg(&driver, 2..=2);
    let said = words(&told(&driver));
    assert_eq!(said, ["a3 retracted", "a2 retracted", "b2 arrived"]);
    driver.work("w", good);
    assert_eq!(words(&told(&driver)), ["b2 committed"]);
    // It was never told of, so nothing is taken back.
    driver.send(&block(3, "b", "b"));
    now(driver.yard.record_reorg(&named("c"), 3, &"a3".into())).unwrap();
    driver.settle();
    assert_eq!(words(&told(&driver)), ["a3 committed", "b2 retracted", "a2 committed"]);
    now(driver.yard.record_redo(&named("c"), 3)).unwrap();
    driver.settle();
    assert_eq!(words(&told(&driver)), ["a3 retracted", "a3 arrived"]);
}

#[test]
fn a_chain_that_got_shorter_is_finished_when_all_above_is_taken_back() {
    let mut driver = driver(ALL);
    prove(&mut driver, 1..=9);
    told(&driver);
    reorg(&driver, 2..=2);
    driver.end();
    driver.work("w", good);
    let said = words(&told(&driver));
    assert_eq!(said.iter().filter(|said| said.ends_with("retracted")).count(), 8, "{said:?}");
    let status = now(driver.yard.status(&named("c"), false)).unwrap();
    assert_eq!(status.sinks[0].behind, 0);
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::Yes);
}

#[test]
fn a_deep_reorg_is_told_of_and_what_is_long_settled_is_forgotten() {
    let mut driver =
        driver("command = [\"tell\"]\neach = \"block\"\nevents = [\"committed\", \"retracted\"]");
    prove(&mut driver, 1..=1_500);
    assert_eq!(told(&driver).len(), 1_500);
    let rows = |height: u64| {
        let key = Key::new(KeyFamily::Told.partition("c#out"), format!("{height:020}"));
        now(driver.yard.port.get(&key)).unwrap().is_some()
    };
    assert!(!rows(1) && !rows(400) && rows(600) && rows(1_500));
    reorg(&driver, 700..=1_501);
    let said = words(&told(&driver));
    assert_eq!(said.iter().filter(|said| said.ends_with("retracted")).count(), 801);
}

#[test]
fn what_a_call_reads_does_not_grow_with_what_is_behind() {
    let mut driver = driver(REPORTS);
    driver.blocks(1..=2_000);
    let news = now(driver.yard.level_next(&named("c"), "out")).unwrap();
    let heights: Vec<u64> = news.iter().map(|news| news.height).collect();
    assert_eq!(heights, (1_997..=2_000).rev().collect::<Vec<_>>(), "the newest first, a few at a time");
    assert_eq!(told(&driver).len(), 2_000, "in rounds, all of them");
    driver.work("w", good);
    assert_eq!(told(&driver).len(), 2_000);
}

/// The proofs of a block of two tasks take so long to be stored.
#[test]
fn how_long_a_block_was_proved_is_known_without_the_keeping_of_its_proof() {
    let wrap = "[stage.wrap]\nstrategy = \"match\"\nfrom = \"prove\"\nprover = \"toy\"\npool = \"cpu\"\n";
    let mut driver = driver(&format!("{REPORTS}\n\n{wrap}"));
    let store_ms = 10_000;
    driver.says.store_ms = store_ms;
    driver.blocks(1..=1);
    told(&driver);
    driver.work("w", good);
    let news = now(driver.yard.level_next(&named("c"), "out")).unwrap();
    let proving_ms = news[0].proof.as_ref().map(|proof| proof.proving_ms);
    assert_eq!(proving_ms, Some(2 * PROVE_MS + VERIFY_MS + store_ms), "{news:?}");
}

#[test]
fn a_paused_level_sink_waits_and_one_that_begins_now_is_told_of_new_blocks() {
    let mut driver = driver(&format!("{ALL}\nfrom = \"now\""));
    assert_eq!(told(&driver), []);
    prove(&mut driver, 1..=2);
    assert_eq!(words(&told(&driver)), ["a2 committed", "a1 committed"], "the chain began after it");
    assert_eq!(tell(&driver, SinkWord::Pause), Ok((3, true)));
    prove(&mut driver, 3..=3);
    assert_eq!(told(&driver), []);
    let error = tell(&driver, SinkWord::Skip { sequence: 0 }).unwrap_err();
    assert!(error.contains("sink out is told how far each block is"), "{error}");
    assert_eq!(tell(&driver, SinkWord::Resume), Ok((3, false)));
    assert_eq!(words(&told(&driver)), ["a3 committed"]);
    let text = format!("{PROVING}\n[sink.out]\n{ALL}\n[sink.late]\n{ALL}\nfrom = \"now\"");
    now(driver.yard.record_pipeline(&text)).unwrap();
    assert_eq!(now(driver.yard.level_next(&named("c"), "late")).unwrap(), []);
    prove(&mut driver, 4..=4);
    let news = now(driver.yard.level_next(&named("c"), "late")).unwrap();
    assert_eq!(news.iter().map(|news| news.height).collect::<Vec<_>>(), [4]);
}

#[test]
fn an_ended_chain_is_finished_when_level_sinks_have_the_last_word() {
    let mut driver = driver(REPORTS);
    prove(&mut driver, 1..=2);
    driver.end();
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::No);
    told(&driver);
    assert_eq!(now(driver.yard.is_finished(&named("c"))).unwrap(), Finished::Yes);
}

#[test]
fn reorg_upon_reorg_brings_back_nothing_that_is_forgotten() {
    let mut driver =
        driver("command = [\"tell\"]\neach = \"block\"\nevents = [\"committed\", \"retracted\"]");
    prove(&mut driver, 1..=2_500);
    told(&driver);
    for _ in 0..3 {
        now(driver.yard.record_redo(&named("c"), 2_500)).unwrap();
        driver.settle();
        // It is looked at once, and no further, as where a server is down.
        let news = now(driver.yard.level_next(&named("c"), "out")).unwrap();
        assert_eq!(news, []);
    }
    driver.work("w", good);
    let said = told(&driver);
    assert!(said.iter().all(|(hash, _)| hash == "a2500"), "{}", said.len());
}

#[test]
fn a_block_that_returns_while_it_is_taken_back_is_told_of_anew() {
    let mut driver = driver(ALL);
    prove(&mut driver, 1..=2);
    told(&driver);
    reorg(&driver, 2..=2);
    let first = loop {
        // The first look only notices that the chain has changed.
        if let Some(news) = now(driver.yard.level_next(&named("c"), "out")).unwrap().into_iter().next() {
            break news;
        }
    };
    assert_eq!((first.hash.as_str(), first.word), ("a2", BlockWord::Retracted));
    assert!(now(driver.yard.level_sending(&first)).unwrap());
    now(driver.yard.level_failed(&first, &Trouble::saying("no answer"))).unwrap();
    now(driver.yard.record_reorg(&named("c"), 2, &"a2".into())).unwrap();
    driver.settle();
    driver.pass(10_000);
    assert_eq!(words(&told(&driver)), ["a2 retracted", "a2 committed"]);
}

/// Block 2 is missed, nobody knows whether the sink heard so, and a reorg takes the block away and brings it back.
fn given_up_for_a_while(sink: &str) -> Driver {
    let late = PROVING.replace("window = 100", "window = 100\nlate = \"miss\"\ndeadline_ms = 60000");
    let mut driver = Driver::new(&format!("{late}\n[sink.out]\n{sink}"));
    driver.worker("w", "cpu");
    prove(&mut driver, 1..=1);
    told(&driver);
    driver.blocks(2..=2);
    driver.pass(60_000);
    driver.sweep();
    driver.settle();
    let missed = now(driver.yard.level_next(&named("c"), "out")).unwrap().remove(0);
    assert_eq!((missed.hash.as_str(), missed.word), ("a2", BlockWord::Missed));
    assert!(now(driver.yard.level_sending(&missed)).unwrap());
    now(driver.yard.level_failed(&missed, &Trouble::saying("no answer"))).unwrap();
    reorg(&driver, 2..=2);
    now(driver.yard.record_reorg(&named("c"), 2, &"a2".into())).unwrap();
    driver.settle();
    driver.pass(10_000);
    driver.work("w", good);
    // Somebody waited for an answer until now.
    assert!(!now(driver.yard.level_sending(&BlockNews { word: BlockWord::Arrived, ..missed })).unwrap());
    driver
}

#[test]
fn a_block_that_was_missed_and_is_proved_after_it_returned_is_told_of() {
    let driver = given_up_for_a_while(ALL);
    assert_eq!(words(&told(&driver)), ["a2 retracted", "a2 committed"]);
}

#[test]
fn who_hears_of_no_retracts_is_told_that_a_missed_block_was_committed_all_the_same() {
    let driver =
        given_up_for_a_while("command = [\"tell\"]\neach = \"block\"\nevents = [\"committed\", \"missed\"]");
    assert_eq!(words(&told(&driver)), ["a2 committed"]);
}

#[test]
fn a_block_that_cannot_be_told_holds_up_no_other() {
    let mut driver = driver(ALL);
    prove(&mut driver, 1..=40);
    let mut said = 0;
    for _ in 0..200 {
        for news in now(driver.yard.level_next(&named("c"), "out")).unwrap() {
            assert!(now(driver.yard.level_sending(&news)).unwrap());
            if news.height == 40 {
                now(driver.yard.level_failed(&news, &Trouble::saying("500"))).unwrap();
                driver.pass(400_000);
                break;
            }
            now(driver.yard.level_done(&news)).unwrap();
            said += 1;
        }
    }
    assert_eq!(said, 39);
}

#[test]
fn words_that_are_wanted_later_are_told_of_what_is_still_in_work() {
    let events = |events: &str| format!("{PROVING}\n[sink.out]\n{ALL}\nevents = [{events}]");
    let mut driver = Driver::new(&events("\"arrived\""));
    driver.worker("w", "cpu");
    driver.blocks(1..=3);
    assert_eq!(told(&driver).len(), 3);
    now(driver.yard.record_pipeline(&events("\"arrived\", \"committed\""))).unwrap();
    driver.work("w", good);
    assert_eq!(words(&told(&driver)), ["a3 committed", "a2 committed", "a1 committed"]);
}
