//! Nothing starves and nothing leaks: sweeps that have no time for all, the index of due times, and what is too much for one
//! call.

mod due;
mod far;
mod pages;
mod sweeps;

use proofyard_core::port::{DUE_SHARDS, Key, Port};
use proofyard_core::state::Scope;
use proofyard_core::transaction::read;

use crate::common::driver::Driver;
use crate::common::now;

/// A pipeline of one pool and one prover.
pub fn pipeline(head: &str, stages: &str) -> String {
    format!(
        "[chain]\nname = \"c\"\nstart_height = 10\n{head}\n{stages}\n[prover.p]\ncommand = [\"p\"]\n\
         [pool.cpu]\n"
    )
}

pub fn stage(name: &str, strategy: &str, from: &str, more: &str) -> String {
    format!(
        "[stage.{name}]\nstrategy = \"{strategy}\"\nfrom = {from}\npool = \"cpu\"\nprover = \"p\"\n{more}\n"
    )
}

/// A block in segments, and one proof of them all.
pub fn segments() -> String {
    stage("segment", "split", "\"block\"", "") + &stage("join", "match", "\"segment\"", "")
}

pub fn prove() -> String {
    stage("prove", "match", "\"block\"", "")
}

pub fn driver(text: &str) -> Driver {
    let driver = Driver::new(text);
    driver.worker("w", "cpu");
    driver
}

/// All that the index of due times holds, but for the leases of workers.
pub fn due(driver: &Driver) -> Vec<Key> {
    let port = &driver.yard.port;
    let shards = (0..DUE_SHARDS).flat_map(|shard| now(port.due(shard, None, u64::MAX, usize::MAX)).unwrap());
    shards.map(|due| due.key).filter(|key| key.sort != "hb").collect()
}

pub fn scope(driver: &Driver, id: &str) -> Scope {
    now(read::<Scope>(&driver.yard.port, &Scope::key_of(&id.parse().unwrap()))).unwrap().unwrap()
}

/// Lets time pass as the sweeper sees it, and takes the steps that follow.
pub fn sweep_for(driver: &Driver, ms: u64, every_ms: u64) {
    for _ in 0..ms / every_ms {
        driver.pass(every_ms);
        now(driver.yard.heartbeat(&"w".into(), 86_400_000)).unwrap();
        driver.sweep();
    }
}

/// All that was said is lost.
pub fn forget_wakes(driver: &Driver) {
    while driver.yard.port.next_wake().is_some() {}
}
