//! What a prover reaches of its verifier, the yard and other slots.

use std::collections::BTreeMap;

use crate::situation::{ISOLATED, Neither, PlainUserInNamespaces, Situation};
use crate::yard::{HostileYard, wait_for};

/// What it tried, and how each ended.
fn reached(situation: Situation) -> Option<BTreeMap<String, String>> {
    if let Some(why) = situation.is_missing() {
        eprintln!("skipped: {situation:?}: {why}");
        return None;
    }
    let yard = HostileYard::new(situation, "reach");
    let ended = yard.run();
    assert_eq!(ended.proofs, [true, true], "{situation:?}: {}", ended.log);
    let explained = yard.ask(&["explain", "3"]);
    // The last one is whole; others may be shortened.
    let found = explained.rsplit_once("reached: ").and_then(|(_, rest)| {
        let end = rest.find('}')?;
        serde_json::from_str(&rest[..=end]).ok()
    });
    let found: BTreeMap<String, String> = found.unwrap_or_else(|| panic!("{situation:?}: {explained}"));
    eprintln!("{situation:?}: {found:#?}");
    Some(found)
}

#[test]
fn an_isolated_prover_reaches_nothing_of_others() {
    for situation in ISOLATED {
        let Some(found) = reached(situation) else { continue };
        let others: Vec<_> = found.iter().filter(|(what, _)| !what.starts_with("see the")).collect();
        // What is not to be seen is not tried.
        let expected = if situation == PlainUserInNamespaces { 12 } else { 27 };
        assert_eq!(others.len(), expected, "{found:?}");
        // Its own is not among those that it tries; that of the other slot's prover is there.
        let folders =
            others.iter().filter(|(what, _)| what.starts_with("write in prove-")).collect::<Vec<_>>();
        assert_eq!(folders.len(), 2, "{found:?}");
        assert!(folders.iter().all(|(_, how)| *how == "EACCES" || *how == "EROFS"), "{found:?}");
        let done: Vec<_> = others.iter().filter(|(_, how)| *how == "done").collect();
        assert!(done.is_empty(), "{situation:?}: {done:?}");
    }
}

#[test]
fn a_prover_that_nothing_isolates_reaches_most() {
    let found = reached(Neither).unwrap();
    for what in [
        "signal the yard",
        "signal the verifier",
        "descriptors of the verifier",
        "pidfd_getfd of the verifier",
        "memory of the yard",
        "edit a kept proof",
        "edit the state",
    ] {
        assert_eq!(found.get(what).map(String::as_str), Some("done"), "{what}: {found:?}");
    }
    // Of the two slots, one verifies by then.
    let folders = ["write in verify-0", "write in verify-1"].map(|what| found.get(what).map(String::as_str));
    assert!(folders.contains(&Some("done")), "{found:?}");
    // Whoever isolates or not, what a yard started has no say in it.
    assert_eq!(found.get("the operator's socket").map(String::as_str), Some("EPERM"), "{found:?}");
}

#[test]
fn no_isolated_prover_ends_its_verifier_or_the_yard() {
    for situation in ISOLATED {
        if let Some(why) = situation.is_missing() {
            eprintln!("skipped: {situation:?}: {why}");
            continue;
        }
        for attack in ["kill-verifier", "kill-yard"] {
            let yard = HostileYard::new(situation, attack);
            let ended = yard.run();
            assert_eq!(ended.status.code(), Some(1), "{situation:?}: {attack}: {}", ended.log);
            assert_eq!(ended.proofs, [true], "{situation:?}: {attack}: {}", ended.log);
            let explained = yard.ask(&["explain", "2"]);
            assert!(explained.contains("this proof is not about these inputs"), "{explained}");
        }
    }
}

#[test]
fn status_says_which_isolation_is_in_force() {
    for situation in ISOLATED.into_iter().chain([Neither]) {
        if let Some(why) = situation.is_missing() {
            eprintln!("skipped: {situation:?}: {why}");
            continue;
        }
        let yard = HostileYard::new(situation, "wait");
        let mut running = yard.start();
        let said = wait_for("a worker's isolation", || {
            let status: serde_json::Value = serde_json::from_str(&yard.ask(&["status", "--json"])).ok()?;
            Some(status["isolation"]["cpu"][0].as_str()?.to_owned())
        });
        let shown = yard.ask(&["status"]);
        running.kill().unwrap();
        running.wait().unwrap();
        eprintln!("{situation:?}: {said}");
        assert!(said.starts_with(situation.isolation()), "{situation:?}: {said}");
        assert!(shown.contains(&said), "{shown}");
    }
}

/// Such as keys in the home folder of whoever runs the yard; where provers have users, these must have the right too.
#[test]
fn what_the_pipeline_names_may_be_changed() {
    for situation in ISOLATED {
        if let Some(why) = situation.is_missing() {
            eprintln!("skipped: {situation:?}: {why}");
            continue;
        }
        let yard = HostileYard::new(situation, "note");
        let ended = yard.run();
        assert!(yard.path("notes/note").exists(), "{situation:?}: {}", ended.log);
    }
}
