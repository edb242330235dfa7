//! Segments, blocks, and a range of them: a proof that proofs of proofs were verified.

use crate::Example;

#[test]
fn ranges_of_committed_blocks_become_one_proof() {
    let handed = Example::new("rollup", 3..=4, &[]).run();
    assert_eq!(handed.len(), 1);
    assert_eq!((&handed[0]["from"], &handed[0]["to"]), (&3.into(), &4.into()));
    let values = handed[0]["proofs"][0]["public_values"].as_str().unwrap();
    // chain id, first height, last height
    assert_eq!(values[..48], format!("{:016x}{:016x}{:016x}", 31_337, 3, 4));
}
