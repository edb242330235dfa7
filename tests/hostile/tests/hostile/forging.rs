//! Provers that answer for their verifiers, or change their minds.

use std::thread;

use crate::situation::{ISOLATED, Neither, Situation};
use crate::yard::HostileYard;

/// What writes to the verifier's output, or to its memory.
const FORGERIES: [&str; 5] = ["descriptors", "pidfd", "memory", "vm-writev", "ptrace"];

/// Plays these attacks in this situation, side by side; nothing if it cannot be played here.
fn each(situation: Situation, attacks: &[&'static str], look: impl Fn(&'static str, &HostileYard) + Sync) {
    if let Some(why) = situation.is_missing() {
        eprintln!("skipped: {situation:?}: {why}");
        return;
    }
    let look = &look;
    for some in attacks.chunks(3) {
        thread::scope(|scope| {
            for attack in some {
                scope.spawn(move || look(attack, &HostileYard::new(situation, attack)));
            }
        });
    }
}

/// With their first proof, which is true, the verifier is there; no false one is committed.
fn only_true_proofs(attack: &str, yard: &HostileYard) {
    let ended = yard.run();
    eprintln!("{:?}: {attack}: {} of 3 blocks committed", yard.situation, ended.proofs.len());
    assert_eq!(ended.proofs, [true], "{:?}: {attack}: {}", yard.situation, ended.log);
    assert_eq!(ended.status.code(), Some(1), "{:?}: {attack}: {}", yard.situation, ended.log);
    let explained = yard.ask(&["explain", "2"]);
    assert!(
        explained.contains("this proof is not about these inputs"),
        "{:?}: {attack}: {explained}",
        yard.situation
    );
}

#[test]
fn no_prover_answers_for_its_verifier_as_root() {
    each(ISOLATED[0], &FORGERIES, only_true_proofs);
}

#[test]
fn no_prover_answers_for_its_verifier_as_root_in_a_closed_folder() {
    each(ISOLATED[1], &FORGERIES, only_true_proofs);
}

#[test]
fn no_prover_answers_for_its_verifier_as_a_plain_user() {
    each(ISOLATED[2], &FORGERIES, only_true_proofs);
}

#[test]
fn no_prover_answers_for_its_verifier_as_a_plain_user_in_namespaces() {
    each(ISOLATED[3], &FORGERIES, only_true_proofs);
}

/// Else the tests above would show nothing.
#[test]
fn where_nothing_isolates_every_forgery_is_committed_and_was_warned_of() {
    each(Neither, &FORGERIES, |attack, yard| {
        let ended = yard.run();
        eprintln!("{:?}: {attack}: {} of 3 blocks committed", yard.situation, ended.proofs.len());
        assert_eq!(ended.proofs, [true, false, false], "{attack}: {}", ended.log);
        let warnings = ended.log.lines().filter(|line| line.contains("could forge its verifier's answers"));
        assert_eq!(warnings.count(), 1, "{}", ended.log);
    });
}

/// Even there, an answer to what was not asked yet counts for nothing: ids cannot be guessed.
#[test]
fn an_early_answer_is_nobodys() {
    for situation in [ISOLATED[0], ISOLATED[2], Neither] {
        each(situation, &["guess", "early"], |attack, yard| {
            let ended = yard.run();
            assert!(ended.proofs.iter().all(|is_true| *is_true), "{situation:?}: {attack}: {}", ended.log);
            let explained = yard.ask(&["explain", "2"]);
            // A session with such a line is over, before it is asked or when it is; a verifier's successor refuses.
            let told_as = ["though nothing was asked", "instead of", "this proof is not about these inputs"];
            assert!(
                told_as.iter().any(|told| explained.contains(told)),
                "{situation:?}: {attack}: {explained}"
            );
        });
    }
}

/// What was verified is what is kept.
#[test]
fn no_prover_changes_what_was_verified() {
    for situation in ISOLATED {
        each(situation, &["swap"], |attack, yard| {
            let ended = yard.run();
            assert_eq!(ended.proofs, [true, true, true], "{situation:?}: {attack}: {}", ended.log);
        });
    }
}
