//! `strict = true`.

use crate::situation::{ISOLATED, Neither};
use crate::yard::HostileYard;

#[test]
fn a_strict_pipeline_is_not_proved_where_a_prover_could_forge() {
    let yard = HostileYard::with_chain_keys(Neither, "descriptors", "strict = true");
    let ended = yard.run();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
    assert!(ended.log.contains("the pipeline is strict, so nothing is proved"), "{}", ended.log);
    assert!(ended.proofs.is_empty());
    assert!(yard.ask(&["status"]).contains("no chain yet"), "nothing was put in force");
}

#[test]
fn a_strict_pipeline_is_proved_where_none_can() {
    for situation in ISOLATED {
        if let Some(why) = situation.is_missing() {
            eprintln!("skipped: {situation:?}: {why}");
            continue;
        }
        let ended = HostileYard::with_chain_keys(situation, "none", "strict = true").run();
        // Its later proofs are refused as ever.
        assert_eq!(ended.proofs, [true], "{situation:?}: {}", ended.log);
        assert!(!ended.log.contains("warning: nothing keeps"), "{}", ended.log);
    }
}
