//! Files whose lines are sound one by one, and yet are no chain.

use crate::common::{block_hash, chain, changed, check, refusal, reorg, reorg_to, says};
use serde_json::json;

#[test]
fn a_gap_is_named() {
    let mut lines = chain();
    lines.remove(10);
    says(
        &refusal(&lines, 11),
        &["a gap: block 12 comes after block 10, so block 11 is missing", "record what is missing"],
    );
    lines.remove(10);
    says(&refusal(&lines, 11), &["block 13 comes after block 10, so blocks 11 to 12 are missing"]);
}

#[test]
fn a_duplicate_is_named_with_its_first_line() {
    let mut lines = chain();
    lines.insert(20, lines[4].clone());
    says(&refusal(&lines, 21), &["block 5 (0x", "it is at line 5 already; remove this line"]);
}

#[test]
fn a_block_of_another_recording_is_named() {
    let mut lines = chain();
    let other = reorg()[1].clone();
    lines.insert(2, other);
    let tip = block_hash(&lines[1]);
    says(
        &refusal(&lines, 3),
        &["block 2 has parent 0x", &format!("the block to go on from is {tip} (height 2)")],
    );
}

#[test]
fn lines_out_of_order_are_named() {
    let mut lines = chain();
    lines.swap(3, 4);
    says(&refusal(&lines, 4), &["a gap: block 5 comes after block 3"]);
}

#[test]
fn a_block_of_another_chain_id_is_named() {
    let mut lines = chain();
    lines[1] = changed(&lines[1], |line| line["chain_id"] = json!(1));
    says(&refusal(&lines, 2), &["block 2 is of chain 1 but the file began with chain 31337"]);
}

#[test]
fn a_state_that_is_not_the_parents_is_named() {
    let mut lines = chain();
    let state = json!(format!("0x{}", "22".repeat(32)));
    let line = 3;
    lines[line] = changed(&lines[line], |line| line["pre"] = state);
    let message = refusal(&lines, line as u64 + 1);
    says(&message, &["begins in state 0x2222", &format!("but its parent at line {line} ends in 0x")]);
}

/// The recorded file: blocks 1 to 10 at lines 1 to 10, the branch of 8 to 11 at 11 to 14, the reorg at 15.
mod forks {
    use super::*;

    #[test]
    fn a_fork_begins_in_its_parents_state() {
        let mut lines = reorg();
        let tip_post = serde_json::from_str::<serde_json::Value>(&lines[9]).unwrap();
        let tip_post = tip_post["post"].clone();
        lines[10] = changed(&lines[10], |line| line["pre"] = tip_post);
        says(&refusal(&lines, 11), &["block 8 begins in state", "its parent at line 7 ends in"]);
    }

    #[test]
    fn without_its_reorg_line_it_is_refused_where_a_branch_grows_on() {
        let mut lines = reorg();
        lines.remove(14);
        let last = block_hash(&lines[18]);
        says(
            &refusal(&lines, 19),
            &["a fork without a reorg line: block 8 at line 11", "the file ends on", &reorg_to(&last)],
        );
        // The old branch goes on instead: its block 9 stands after block 8 of the new one.
        let old_branch = lines.drain(7..10).collect::<Vec<_>>();
        let first_new = lines.remove(7);
        let new_tip = block_hash(&first_new);
        let mut grows = lines[..7].to_vec();
        grows.push(old_branch[0].clone());
        grows.push(first_new);
        grows.push(old_branch[1].clone());
        says(&refusal(&grows, 10), &["block 8 at line 9", "goes on here", &reorg_to(&new_tip)]);
    }

    #[test]
    fn a_reorg_to_an_unknown_block_is_refused() {
        let mut lines = reorg();
        let unknown = format!("0x{}", "ab".repeat(32));
        lines[14] = reorg_to(&unknown);
        says(
            &refusal(&lines, 15),
            &[&format!("the reorg names {unknown}, which is no block above this line")],
        );
        lines.drain(..14);
        says(&refusal(&lines, 1), &["no block above this line"]);
    }

    #[test]
    fn a_reorg_must_take_the_whole_fork() {
        let mut lines = reorg();
        lines[14] = reorg_to(&block_hash(&lines[12]));
        says(&refusal(&lines, 15), &["block 11 at line 14 is above it on another branch"]);
    }

    #[test]
    fn a_reorg_to_the_tip_is_refused() {
        let mut lines = chain();
        lines.push(reorg_to(&block_hash(&lines[63])));
        says(&refusal(&lines, 65), &["which is the tip already; remove this line"]);
    }

    #[test]
    fn a_chain_may_come_back_to_its_first_branch() {
        let mut lines = reorg()[..15].to_vec();
        lines.push(reorg_to(&block_hash(&lines[9])));
        let summary = check(&lines).unwrap();
        assert_eq!((summary.reorgs, summary.orphaned, summary.tip_height), (2, 4, 10));
        lines.push(reorg_to(&block_hash(&lines[13])));
        lines.extend_from_slice(&reorg()[15..]);
        let summary = check(&lines).unwrap();
        assert_eq!((summary.reorgs, summary.orphaned, summary.tip_height), (3, 3, 16));
    }
}
