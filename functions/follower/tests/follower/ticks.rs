//! Ticks that come, come twice, come to two followers at once, or end in the middle; nodes that change, fail and are replaced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::named;
use proofyard_core::error::{Code, Coded};
use proofyard_core::state::EndpointState;
use proofyard_follow_tests::anvil::Anvil;
use proofyard_follower::{Looks, NodesOfYard};

use crate::yard::{FollowingYard, rpc};

#[test]
fn a_tick_takes_what_the_node_has_and_the_same_tick_again_changes_nothing() {
    let anvil = Anvil::start();
    anvil.mine_fast(10);
    let yard = FollowingYard::of(&anvil);
    yard.look();
    yard.expect_tip_of(&anvil);
    yard.prove();
    let before = yard.expect_chain_of(&anvil).entries;
    let followed = yard.following();
    assert_eq!((yard.state_of_node(), followed.chain_id), (EndpointState::Followed, Some(31_337)));
    for _ in 0..3 {
        yard.look();
    }
    yard.prove();
    assert_eq!(yard.expect_chain_of(&anvil).entries, before);
    assert_eq!(yard.following().head_since_ms, followed.head_since_ms, "since then there is no newer block");
    let finality = yard.runtime.block_on(yard.driver.home.yard.finality(&named("c"))).unwrap();
    assert!(finality.is_some_and(|finality| finality.finalized.is_some()), "it is recorded too");
    // A function that is new, on another machine, goes on from the table.
    anvil.mine(2);
    let elsewhere = Looks::new(NodesOfYard::new(&yard.driver.home));
    let until = Instant::now() + Duration::from_secs(30);
    yard.runtime.block_on(elsewhere.look(&yard.driver.home, until)).unwrap();
    yard.expect_tip_of(&anvil);
    yard.prove();
    yard.expect_chain_of(&anvil);
}

#[test]
fn a_reorg_past_what_was_committed_is_followed_and_taken_back() {
    let anvil = Anvil::start();
    anvil.mine_fast(8);
    let yard = FollowingYard::of(&anvil);
    yard.look();
    yard.prove();
    assert_eq!(yard.expect_chain_of(&anvil).retracts, 0);
    anvil.reorg(5);
    anvil.mine(1);
    yard.look();
    yard.expect_tip_of(&anvil);
    yard.prove();
    assert!(yard.expect_chain_of(&anvil).retracts > 0);
}

#[test]
fn a_node_that_is_down_is_said_to_be_and_followed_when_it_is_back() {
    let first = Anvil::start();
    let port = first.at.port();
    first.mine_fast(4);
    let yard = FollowingYard::of(&first);
    yard.look();
    drop(first);
    yard.look();
    assert_eq!(yard.state_of_node(), EndpointState::Down);
    let rests_until_ms = yard.following().endpoints[0].rests_until_ms;
    std::thread::sleep(Duration::from_millis(100));
    let silent_ms = || {
        let gauges = yard.runtime.block_on(yard.driver.home.yard.gauges(&named("c"), 1)).unwrap();
        gauges.node_silent_ms.expect("the alarm's figure")
    };
    let silent_for_ms = silent_ms();
    assert!(silent_for_ms >= 100);
    // It rests from one tick to the next.
    yard.look();
    assert_eq!(yard.following().endpoints[0].rests_until_ms, rests_until_ms);
    let second = Anvil::start_at(port, &[]);
    second.mine_fast(7);
    std::thread::sleep(Duration::from_secs(1));
    yard.look();
    assert_eq!(yard.state_of_node(), EndpointState::Followed);
    assert!(silent_ms() < silent_for_ms + 1_000, "since it named a new block");
    yard.expect_tip_of(&second);
    yard.prove();
    yard.expect_chain_of(&second);
}

#[test]
fn another_chain_in_a_nodes_place_is_named_and_not_followed() {
    let first = Anvil::start();
    let port = first.at.port();
    first.mine_fast(3);
    let yard = FollowingYard::of(&first);
    yard.look();
    let tip = yard.tip();
    drop(first);
    yard.look();
    let second = Anvil::start_at(port, &["--gas-limit", "20000000"]);
    second.mine_fast(9);
    std::thread::sleep(Duration::from_secs(1));
    yard.look();
    assert_eq!((yard.state_of_node(), yard.tip()), (EndpointState::OtherChain, tip));
    let error = yard.following().endpoints[0].error.clone().unwrap();
    assert!(error.contains("block 0"), "{error}");
}

/// Two functions at once, or a function and `serve`, each with connections of its own, while the chain changes.
#[test]
fn two_followers_of_one_yard_at_once_lose_and_double_nothing() {
    let anvil = Anvil::start();
    anvil.mine_fast(6);
    let yard = FollowingYard::of(&anvil);
    let other = yard.runtime.block_on(Driver::new(&yard.aws));
    let others = Looks::new(NodesOfYard::new(&other.home));
    let both = || {
        let until = Instant::now() + Duration::from_secs(30);
        let (one, two) = (yard.looks.look(&yard.driver.home, until), others.look(&other.home, until));
        let (one, two) = yard.runtime.block_on(futures_util::future::join(one, two));
        // One may have to step aside for the other, and looks again at the next tick.
        for ended in [one, two] {
            assert!(ended.as_ref().err().is_none_or(proofyard_follower::LookError::passes), "{ended:?}");
        }
    };
    for depth in [0, 3, 1] {
        if depth > 0 {
            anvil.reorg(depth);
        }
        anvil.mine(1);
        both();
        yard.prove();
    }
    both();
    yard.expect_tip_of(&anvil);
    yard.prove();
    assert!(yard.expect_chain_of(&anvil).retracts > 0);
}

/// The function dies, or the table refuses, at any write: the next tick takes what is left.
#[test]
fn a_tick_that_ends_in_the_middle_costs_that_tick() {
    let anvil = Anvil::start();
    anvil.mine_fast(5);
    let yard = FollowingYard::of(&anvil);
    for survives in [0, 1, 3] {
        let writes = AtomicU64::new(0);
        yard.driver.http.breaks(move |operation, _| {
            let is_write = matches!(operation, "TransactWriteItems" | "PutItem" | "PutObject");
            match is_write && writes.fetch_add(1, Ordering::SeqCst) >= survives {
                true => Fate::throttled(),
                false => Fate::Made,
            }
        });
        assert!(yard.try_look().unwrap_err().passes());
        yard.driver.http.works();
    }
    yard.look();
    yard.expect_tip_of(&anvil);
    yard.prove();
    yard.expect_chain_of(&anvil);
}

/// A URL with a key in it is in the yard's secret, under the name that the pipeline gives it.
#[test]
fn nodes_with_a_key_in_their_url_are_taken_from_the_secret() {
    let anvil = Anvil::start();
    anvil.mine_fast(3);
    let yard = FollowingYard::with("rpc_from = [\"NODE_URL\"]");
    let secrets = aws_sdk_secretsmanager::Client::new(&yard.driver.config);
    let id = yard.driver.home.names.nodes_secret();
    // What was read counts for a minute; a function that starts reads it.
    let look_anew = || {
        let looks = Looks::new(NodesOfYard::new(&yard.driver.home));
        let until = Instant::now() + Duration::from_secs(30);
        yard.runtime.block_on(looks.look(&yard.driver.home, until))
    };
    // It is there, as `infra` makes it: nobody has put anything into it.
    let error = look_anew().unwrap_err();
    assert!(!error.passes() && error.to_string().contains(&id), "{error}");
    assert!(yard.following().trouble.unwrap().contains(&id), "`status` says so");
    let put = |value: &str| {
        let put = secrets.put_secret_value().secret_id(&id).secret_string(value);
        yard.runtime.block_on(put.send()).unwrap();
    };
    put("{\"OTHER_URL\": \"http://127.0.0.1:1/sEcReT\"}");
    let error = look_anew().unwrap_err();
    assert_eq!(error.code(), Code::NoVariable, "{error}");
    assert!(error.to_string().contains("NODE_URL") && !error.to_string().contains("sEcReT"), "{error}");
    put(&format!("{{\"NODE_URL\": \"{}/?key=sEcReT\"}}", anvil.url()));
    look_anew().unwrap();
    yard.expect_tip_of(&anvil);
    let following = yard.following();
    assert_eq!((following.trouble.clone(), &following.endpoints[0].name), (None, &anvil.url()));
}

/// Ticks for the yard's most frequent poll, and none where no chain follows a node.
#[test]
fn a_minute_has_the_ticks_of_its_pipelines() {
    let anvil = Anvil::start();
    let yard = FollowingYard::of(&anvil);
    let send = || yard.runtime.block_on(yard.driver.home.send_follow_ticks()).unwrap();
    assert_eq!(send(), 60, "a tick is a second long at least");
    let without = proofyard_aws_tests::driver::PIPELINE;
    yard.runtime.block_on(yard.driver.home.yard.record_pipeline(without)).unwrap();
    yard.runtime.block_on(yard.driver.take_steps()).unwrap();
    assert_eq!(send(), 0);
    let slow = crate::yard::pipeline(&rpc(&anvil)).replace("poll_ms = 200", "poll_ms = 12000");
    yard.runtime.block_on(yard.driver.home.yard.record_pipeline(&slow)).unwrap();
    yard.runtime.block_on(yard.driver.take_steps()).unwrap();
    assert_eq!(send(), 5);
}
