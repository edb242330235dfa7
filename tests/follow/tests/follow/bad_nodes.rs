//! Nodes that fail, one way after another: time is lost, and nothing else.

use std::time::Instant;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::{Between, Does, Wire};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;

#[test]
fn whatever_a_node_does_shows_and_its_chain_is_followed_once_it_answers_well() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    let mut yard = FollowingYard::new(&[between.url()], &[]);
    anvil.mine_fast(10);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    for (does, state, error) in [
        (Does::HangsUp, "down", ""),
        (Does::TooMany, "busy", "slow down"),
        (Does::ServerError, "down", "500"),
        (Does::Html, "wrong", "Please log in"),
        (Does::HalfAnswer, "down", ""),
        (Does::Lies, "wrong", "cannot be taken"),
        (Does::Silence, "down", "in time"),
    ] {
        between.now(does);
        anvil.mine_fast(20);
        let endpoint = yard.wait_for_endpoint(0, state);
        assert!(endpoint["error"].as_str().unwrap().contains(error), "{does:?}: {endpoint}");
        assert!(!endpoint["error"].as_str().unwrap().contains("http://"), "no URL is shown: {endpoint}");
        assert!(yard.status().unwrap()["following"]["trouble"].is_string(), "{does:?}");
        wait_for("the run says so", || yard.log().contains("node: ").then_some(()));
        between.now(Does::Well);
        yard.wait_for_chain_of(&anvil);
    }
    for does in [Does::LosesOne, Does::NoBatches, Does::NoBatchesAndSomeFail] {
        between.now(does);
        anvil.mine_fast(40);
        yard.wait_for_chain_of(&anvil);
    }
}

#[test]
fn another_node_is_followed_while_one_lies_or_is_of_another_chain() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    let mut yard = FollowingYard::new(&[between.url(), anvil.url()], &[]);
    anvil.mine_fast(10);
    between.now(Does::OtherChain);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    let endpoint = yard.wait_for_endpoint(0, "other_chain");
    assert_eq!(endpoint["error"], "it is of chain 5, and this is chain 31337");
    yard.wait_for_endpoint(1, "followed");
    yard.kill();
    between.now(Does::Lies);
    anvil.mine_fast(30);
    yard.start();
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_websocket_that_stays_open_and_says_nothing_is_found_out() {
    let anvil = Anvil::start();
    let wire = Wire::start(anvil.at);
    let mut yard = FollowingYard::new(&[anvil.url()], &[wire.ws()]);
    anvil.mine(3);
    yard.start();
    yard.wait_for_endpoint(1, "ready");
    wire.mute(true);
    anvil.mine(3);
    // Blocks come by asking.
    yard.wait_for_chain_of(&anvil);
    let endpoint = yard.wait_for_endpoint(1, "down");
    assert!(
        endpoint["error"].as_str().unwrap().contains("in time")
            || endpoint["error"].as_str().unwrap().contains("said nothing"),
        "{endpoint}"
    );
    wire.mute(false);
    yard.wait_for_endpoint(1, "ready");
    assert!(wire.connections() >= 2);
    anvil.mine(2);
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_busy_node_is_left_alone_for_as_long_as_it_says() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    let mut yard = FollowingYard::new(&[between.url()], &[]);
    anvil.mine_fast(2);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    between.now(Does::TooMany);
    yard.wait_for_endpoint(0, "busy");
    // Its answer says: after a second. However slow this machine is, it is not asked more often.
    let (before, began) = (between.asked(), Instant::now());
    let asked = wait_for("it is asked three times more", || {
        let asked = between.asked() - before;
        (asked >= 3).then_some(asked)
    });
    let most = began.elapsed().as_secs() as usize + 2;
    assert!(asked <= most, "asked {asked} times in {:?}", began.elapsed());
}

#[test]
fn what_is_wrong_with_the_pipeline_or_the_environment_is_said_at_once() {
    let anvil = Anvil::start();
    let yard = FollowingYard::new(&[anvil.url()], &[]);
    let pipeline = yard.folder().join("pipeline.toml");
    let text = std::fs::read_to_string(&pipeline).unwrap();
    let run = |text: String| {
        std::fs::write(&pipeline, text).unwrap();
        let (is_good, said) = yard.command(&["run", "pipeline.toml", "--data", "yard"]);
        assert!(!is_good);
        said
    };
    let no_variable = run(text.replace("rpc = [", "rpc_from = [\"NO_SUCH_VARIABLE\"]\nrpc = ["));
    assert!(no_variable.contains("NO_SUCH_VARIABLE") && no_variable.contains("PY"), "{no_variable}");
    let no_url = run(text.replace(&anvil.url(), "http://"));
    assert!(no_url.contains("`rpc` holds no URL"), "{no_url}");
    let splits = run(text.replace("strategy = \"match\"", "strategy = \"split\""));
    assert!(splits.contains("a node's blocks name none"), "{splits}");
    let no_source =
        run(text.split("[source.node]").next().unwrap().to_owned() + text.split_once("31337").unwrap().1);
    assert!(no_source.contains("[source.node]"), "{no_source}");
    wait_for("nothing was begun", || (!yard.folder().join("yard").exists()).then_some(()));
}
