//! `proofyard serve --roles follower`: a process that stays.

use std::process::{Child, Stdio};

use proofyard_aws_tests::wait_for;
use proofyard_follow_tests::anvil::Anvil;
use rustix::process::{Pid, Signal, kill_process};

use crate::yard::{FollowingYard, rpc};

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn a_process_that_stays_follows_by_websocket_and_ends_when_it_is_asked_to() {
    let anvil = Anvil::start();
    anvil.mine_fast(4);
    let yard = FollowingYard::with(&format!("{}\nws_from = [\"NODE_WS\"]", rpc(&anvil)));
    let mut command = yard.aws.program("proofyard");
    command.args(["serve", "--aws", &yard.aws.yard, "--roles", "follower"]).env("NODE_WS", anvil.ws());
    let mut serving = Serving(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let wait_for_tip = || {
        let newest = anvil.height();
        let wanted = Some((newest, anvil.hash(newest)));
        wait_for("the node's newest block is the yard's", || {
            // As the collector does: a reorg is ended by whose clock is the yard's.
            yard.runtime.block_on(yard.driver.drain_all());
            (yard.tip() == wanted).then_some(())
        });
    };
    wait_for_tip();
    for depth in [0, 2, 0] {
        if depth > 0 {
            anvil.reorg(depth);
        }
        anvil.mine(1);
        wait_for_tip();
    }
    yard.prove();
    yard.expect_chain_of(&anvil);
    kill_process(Pid::from_child(&serving.0), Signal::TERM).unwrap();
    assert!(serving.0.wait().unwrap().success());
}
