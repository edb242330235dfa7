//! Provers that vote on a block: who disagrees is recorded and told, who is late or down holds nothing up.

use std::collections::BTreeMap;

use proofyard_core::explain::Case;
use proofyard_core::record::FailureKind;
use proofyard_core::status::ChainStatus;
use proofyard_core::work::Assignment;

use super::REALTIME;
use super::explain::says;
use crate::common::driver::{Does, Driver};
use crate::common::{named, now};

const HEIGHT: u64 = 21_000_000;
/// Where the test's provers leave all their proofs.
const ARTIFACT: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// The three votes on one block, claimed and not cast yet.
struct Votes {
    driver: Driver,
    held: BTreeMap<String, Assignment>,
}

impl Votes {
    fn on(text: &str) -> Self {
        let mut driver = Driver::new(text);
        driver.worker("g1", "gpu");
        driver.blocks(HEIGHT..=HEIGHT);
        let held = std::iter::from_fn(|| driver.claim("g1"));
        let held = held.map(|assignment| (assignment.task.id().stage.clone(), assignment)).collect();
        Self { driver, held }
    }

    fn cast(&self, member: &str, value: &'static str) {
        self.driver.perform(&self.held[member], Does::Proves(value));
    }

    fn frontier(&self) -> u64 {
        now(self.driver.yard.frontier(&named("realtime"))).expect("the frontier").height
    }

    fn status(&self) -> ChainStatus {
        now(self.driver.yard.status(&named("realtime"), false)).expect("a status")
    }

    fn is_halted(&self) -> bool {
        self.status().halted.is_some()
    }

    fn resume(&self) {
        now(self.driver.yard.resume(&named("realtime"))).expect("resuming");
        self.driver.settle();
    }
}

/// The others run on, and late blocks wait.
fn patient() -> String {
    REALTIME.replace("late = \"miss\"\ndeadline_ms = 12000\n", "").replace("after_need = \"cancel\"\n", "")
}

#[test]
fn a_disagreement_before_need_names_both_proofs() {
    let votes = Votes::on(&patient());
    votes.cast("zisk", "0a");
    votes.cast("sp1", "0b");
    let both = [
        "the provers of stage agree disagree",
        &format!("zisk says 0a by the proof {ARTIFACT}"),
        &format!("sp1 says 0b by the proof {ARTIFACT}"),
        "made by sp1 on g1",
        "`proofyard resume`",
    ];
    says(&votes.driver, HEIGHT, Case::Halted, &both);
    assert_eq!(votes.frontier(), HEIGHT);
    // The one that was missing settles it, once an operator lets it.
    votes.cast("risc0", "0a");
    assert_eq!(votes.frontier(), HEIGHT);
    votes.resume();
    assert_eq!(votes.frontier(), HEIGHT + 1);
    says(&votes.driver, HEIGHT, Case::Committed, &both[..4]);
    assert!(!votes.is_halted());
}

#[test]
fn a_disagreement_seen_together_with_need_halts_before_the_commit() {
    let votes = Votes::on(&patient());
    for (member, value) in [("zisk", "0a"), ("sp1", "0b"), ("risc0", "0a")] {
        votes.driver.record(&votes.held[member], Does::Proves(value));
    }
    votes.driver.settle();
    assert!(votes.is_halted());
    assert_eq!(votes.frontier(), HEIGHT);
    says(&votes.driver, HEIGHT, Case::Halted, &["sp1 says 0b by the proof", "risc0 says 0a by the proof"]);
    votes.resume();
    assert_eq!(votes.frontier(), HEIGHT + 1);
}

#[test]
fn a_disagreement_after_the_commit_halts_and_rolls_nothing_back() {
    let votes = Votes::on(&patient());
    votes.cast("zisk", "0a");
    votes.cast("risc0", "0a");
    assert_eq!(votes.frontier(), HEIGHT + 1, "the late prover does not hold the block");
    votes.cast("sp1", "0b");
    assert!(votes.is_halted());
    assert_eq!(votes.frontier(), HEIGHT + 1);
    says(
        &votes.driver,
        HEIGHT,
        Case::Committed,
        &[
            "sp1 says 0b by the proof",
            "the chain is halted, the provers of stage agree disagree at height 21000000",
            "`proofyard resume`",
        ],
    );
}

#[test]
fn a_late_prover_that_agrees_settles_the_block() {
    let votes = Votes::on(&patient());
    for member in ["zisk", "risc0", "sp1"] {
        votes.cast(member, "0a");
    }
    assert!(!votes.is_halted());
    let explanation = super::explain::explain(&votes.driver, HEIGHT);
    assert!(explanation.what_would_move_it.is_empty(), "{explanation}");
}

/// Cancelled, and its worker did not hear of it in time.
#[test]
fn a_cancelled_provers_late_disagreement_halts_too() {
    let text = REALTIME.replace("late = \"miss\"\ndeadline_ms = 12000\n", "");
    let votes = Votes::on(&text);
    votes.cast("zisk", "0a");
    votes.cast("risc0", "0a");
    assert_eq!(votes.frontier(), HEIGHT + 1);
    votes.driver.pass(60_000);
    votes.driver.sweep();
    votes.cast("sp1", "0b");
    assert!(votes.is_halted());
    says(&votes.driver, HEIGHT, Case::Committed, &["sp1 says 0b by the proof"]);
}

#[test]
fn each_further_dissent_halts_anew() {
    let votes = Votes::on(&patient());
    votes.cast("zisk", "0a");
    votes.cast("sp1", "0b");
    votes.resume();
    assert!(!votes.is_halted(), "what an operator has seen is not told again");
    votes.cast("risc0", "0c");
    assert!(votes.is_halted());
    votes.resume();
    says(&votes.driver, HEIGHT, Case::Blocked, &["no 2 members of stage agree agree", "risc0 says 0c"]);
}

#[test]
fn a_prover_that_is_down_is_told_though_the_block_was_committed() {
    let away = "from = [\"block\"]\nprover = \"risc0\"\npool = \"gpu\"";
    let text =
        patient().replace(away, "from = [\"block\"]\nprover = \"risc0\"\npool = \"away\"") + "[pool.away]\n";
    let votes = Votes::on(&text);
    assert_eq!(votes.held.len(), 2);
    votes.cast("zisk", "0a");
    votes.cast("sp1", "0a");
    assert_eq!(votes.frontier(), HEIGHT + 1);
    says(
        &votes.driver,
        HEIGHT,
        Case::Committed,
        &[
            "work that goes on after the commit",
            "stage risc0: 0 of 1 task",
            "no worker of pool away is alive",
        ],
    );
    assert_eq!(votes.status().pools_without_workers, ["away"]);
    votes.driver.worker("r1", "away");
    assert!(votes.status().pools_without_workers.is_empty());
}

#[test]
fn a_member_that_parks_stops_the_block_only_when_the_others_cannot_agree() {
    let fails = || Does::Fails(FailureKind::Permanent, "out of gas");
    let parks = |votes: &mut Votes| {
        votes.driver.perform(&votes.held["sp1"], fails());
        votes.driver.pass(5_000);
        votes.driver.sweep();
        votes.driver.worker("g2", "gpu");
        let again = votes.driver.claim("g2").expect("the failed vote");
        votes.driver.perform(&again, fails());
    };
    let mut votes = Votes::on(&patient());
    parks(&mut votes);
    votes.cast("zisk", "0a");
    says(&votes.driver, HEIGHT, Case::Working, &["stage agree needs 2 of 3 to agree and has 1 (zisk)"]);
    votes.cast("risc0", "0a");
    assert_eq!(votes.frontier(), HEIGHT + 1);
    says(&votes.driver, HEIGHT, Case::Committed, &["two workers say that it can never work: \"out of gas\""]);
    assert_eq!(votes.status().parked.len(), 1);

    // Two that differ cannot agree without it.
    let mut votes = Votes::on(&patient());
    votes.cast("zisk", "0a");
    votes.cast("risc0", "0b");
    votes.resume();
    parks(&mut votes);
    says(&votes.driver, HEIGHT, Case::Parked, &["and without it no 2 of 3 of stage agree can agree"]);
    assert_eq!(votes.frontier(), HEIGHT);
}

#[test]
fn a_quorum_that_is_late_is_missed_at_its_deadline() {
    let votes = Votes::on(REALTIME);
    votes.cast("zisk", "0a");
    votes.driver.pass(11_000);
    votes.driver.sweep();
    assert_eq!(votes.frontier(), HEIGHT);
    votes.driver.pass(1_000);
    votes.driver.sweep();
    assert_eq!(votes.frontier(), HEIGHT + 1);
    says(&votes.driver, HEIGHT, Case::Missed, &["was not proved by its deadline"]);
    votes.cast("sp1", "0a");
    says(&votes.driver, HEIGHT, Case::Missed, &["was not proved by its deadline"]);
}
