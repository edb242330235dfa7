//! Seeds.

use proofyard_simulation::run::run_one;
use proofyard_simulation::trace::TraceMode;

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 1..4 {
        let (one, two) = (run_one(seed, None, TraceMode::Off), run_one(seed, None, TraceMode::Ring(10)));
        assert_eq!((one.digest, one.steps, one.violation), (two.digest, two.steps, two.violation));
        assert_eq!(two.trace.len(), 10);
    }
}
