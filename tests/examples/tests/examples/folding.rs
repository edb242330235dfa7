//! Ranges that are folded commit all of their blocks.

use crate::Example;

#[test]
fn ranges_commit_their_blocks() {
    let handed = Example::new("folding", 3..=5, &[("size = 4", "size = 2")]).run();
    let ranges: Vec<_> = handed.iter().map(|line| (line["from"].as_u64(), line["to"].as_u64())).collect();
    assert_eq!(ranges, [(Some(3), Some(4)), (Some(5), Some(5))]);
    let state = |line: usize, at: std::ops::Range<usize>| {
        handed[line]["proofs"][0]["public_values"].as_str().unwrap()[at].to_owned()
    };
    // The second range's pre-state is the first's post-state.
    assert_eq!(state(1, 48..112), state(0, 112..176));
}
