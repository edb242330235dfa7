//! Edits of pipelines.

use proofyard_core::pipeline::parse;
use proofyard_memory_store::Random;
use proofyard_simulation::world::edits::EDITS;

use proofyard_simulation::world::pipelines::{self, Pools};

/// Edit after edit, each text is a valid pipeline, and each edit applies to some of them.
#[test]
fn every_edit_makes_a_valid_pipeline() {
    let mut fitted = [0; EDITS.len()];
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let pools = Pools::draw(&mut random);
        let mut text = pipelines::draw(&"chain-a".parse().unwrap(), 1, &pools, &mut random);
        for _ in 0..20 {
            let at = random.index(EDITS.len());
            let Some(edited) = EDITS[at].1(&text, &mut random) else { continue };
            assert!(parse(&edited).is_ok(), "{}: {:?}\n{edited}", EDITS[at].0, parse(&edited).err());
            fitted[at] += 1;
            text = edited;
        }
    }
    assert!(fitted.iter().all(|times| *times > 0), "{fitted:?}");
}
