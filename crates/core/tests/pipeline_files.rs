//! Pipeline files as their authors see them: what good ones mean, and what is said about bad ones.

use proofyard_core::pipeline::{Checked, parse};

const DEMO: &str = include_str!("pipeline/demo.toml");
const REALTIME: &str = include_str!("pipeline/realtime.toml");
const ROLLUP: &str = include_str!("pipeline/rollup.toml");
const FOLDING: &str = include_str!("pipeline/folding.toml");

fn good(text: &str) -> Checked {
    parse(text).unwrap_or_else(|mistakes| {
        let told: Vec<String> =
            mistakes.iter().map(|mistake| mistake.display("good.toml").to_string()).collect();
        panic!("{}", told.join("\n"))
    })
}

#[test]
fn examples_are_good() {
    for text in [DEMO, REALTIME, ROLLUP, FOLDING] {
        let checked = good(text);
        println!("{checked:#?}");
        assert_eq!(checked.warnings, vec![]);
    }
}
