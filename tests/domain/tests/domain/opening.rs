//! A block opens with the tasks that read it alone, as far as one transaction has room for them.

use std::fmt::Write;

use crate::common::driver::{Does, Driver};
use crate::common::{named, now};

fn pipeline(stages: usize, strategy: &str) -> String {
    let mut text = "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 4\ncommit = \"join\"\n\
        [prover.p]\ncommand = [\"p\"]\n[pool.cpu]\n"
        .to_owned();
    let names: Vec<String> = (0..stages).map(|number| format!("s{number}")).collect();
    for name in &names {
        writeln!(
            text,
            "[stage.{name}]\nstrategy = \"{strategy}\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\""
        )
        .unwrap();
    }
    let from = format!("{names:?}");
    writeln!(text, "[stage.join]\nstrategy = \"match\"\nfrom = {from}\nprover = \"p\"\npool = \"cpu\"")
        .unwrap();
    text
}

#[test]
fn a_block_opens_however_many_stages_read_it() {
    for strategy in ["match", "split"] {
        for stages in [1, 15, 16, 17, 30, 63] {
            let mut driver = Driver::new(&pipeline(stages, strategy));
            driver.worker("w1", "cpu");
            driver.blocks(1..=2);
            driver.work("w1", |_| Does::Proves("01"));
            let frontier = now(driver.yard.frontier(&named("c"))).unwrap();
            assert_eq!(frontier.height, 3, "{stages} {strategy}");
        }
    }
}
