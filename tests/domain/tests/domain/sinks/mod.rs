//! Who is told of what: ordered sinks of entries, level sinks of how far blocks are.

mod level;
mod ordered;

use proofyard_core::operation::{Answer, Operation};
use proofyard_core::sinks::SinkWord;
use proofyard_core::state::{Finality, NamedBlock};

use crate::common::driver::{Driver, block, good};
use crate::common::{named, now};

const PROVING: &str = r#"
[chain]
name = "c"
start_height = 1
window = 100

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
"#;

pub fn driver(sink: &str) -> Driver {
    let driver = Driver::new(&format!("{PROVING}\n[sink.out]\n{sink}"));
    driver.worker("w", "cpu");
    driver
}

/// Blocks of branch a, proved.
pub fn prove(driver: &mut Driver, heights: std::ops::RangeInclusive<u64>) {
    driver.blocks(heights);
    driver.work("w", good);
}

pub fn reorg(driver: &Driver, heights: std::ops::RangeInclusive<u64>) {
    let (first, last) = (*heights.start(), *heights.end());
    for height in heights {
        driver.send(&block(height, "b", if height == first { "a" } else { "b" }));
    }
    now(driver.yard.record_reorg(&named("c"), last, &format!("b{last}").into())).unwrap();
    driver.settle();
}

pub fn finalize(driver: &Driver, height: u64, hash: &str) {
    let block = Some(NamedBlock { height, hash: hash.into() });
    let finality = Finality { chain: named("c"), safe: block.clone(), finalized: block };
    now(driver.yard.record_finality(&finality)).unwrap();
}

pub fn tell(driver: &Driver, word: SinkWord) -> Result<(u64, bool), String> {
    let operation = Operation::Sink { chain: named("c"), sink: "out".into(), word };
    match now(driver.yard.operate(&operation)) {
        Ok(Answer::Sink { place, .. }) => Ok((place.next, place.paused)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}
