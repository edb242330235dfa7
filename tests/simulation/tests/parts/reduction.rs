//! Trees of reductions.

use proofyard_simulation::check::reduction::tree;

#[test]
fn the_tree_is_worked_out_from_the_top() {
    assert_eq!(tree(1, 2), [vec![(0, 0)]]);
    assert_eq!(tree(3, 2), [vec![(0, 1), (2, 2)], vec![(0, 0), (1, 1)]]);
    assert_eq!(tree(5, 4), [vec![(0, 3), (4, 4)], vec![(0, 0), (1, 1), (2, 2), (3, 3)]]);
}
