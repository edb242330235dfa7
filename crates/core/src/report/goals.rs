//! The goals of real-time proving, and whether they are met: the Ethereum Foundation's, and Ethproofs' bar.

use serde::Serialize;

use super::figures::share;
use super::{Latency, ProofFigures, TrustedSetup};

/// The Ethereum Foundation: 99 % of blocks within 10 s.
pub const GOAL_DEADLINE_MS: u64 = 10_000;
const GOAL_PROOF_BYTES: u64 = 300 * 1_024;
/// At first, and in the end.
const GOAL_SECURITY_BITS: [u32; 2] = [100, 128];
const GOAL_POWER_KW: u64 = 10;
const GOAL_PRICE_USD: u64 = 100_000;
/// Ethproofs, of the blocks of a week.
const BAR_UNDER_10_S_PERCENT: u64 = 70;
const BAR_PROVED_PERCENT: u64 = 95;

/// One goal, and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    pub goal: GoalName,
    /// What is to be reached; none where the goal is not a number.
    pub limit: Option<u64>,
    pub measured: Option<f64>,
    /// Of both.
    pub unit: Unit,
    pub verdict: Verdict,
    /// Why there is no verdict, or what goes with it.
    pub because: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalName {
    LatencyP99,
    ProofBytesMax,
    SecurityAtFirst,
    Security,
    NoTrustedSetup,
    MachinePower,
    MachinePrice,
    /// Ethproofs'.
    #[serde(rename = "blocks_under_10_s")]
    BlocksUnder10S,
    /// Ethproofs'.
    BlocksProved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Ms,
    Bytes,
    Bits,
    Percent,
    Kw,
    Usd,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    NotMet,
    CannotBeSaid,
}

/// What the goals are held against.
pub(super) struct Measured<'a> {
    pub(super) committed: u64,
    pub(super) missed: u64,
    pub(super) under_10_s: u64,
    pub(super) latency: &'a Latency,
    pub(super) proofs: &'a ProofFigures,
}

const NOT_MEASURED: &str = "Proofyard does not measure it";
const NO_BLOCKS: &str = "no block is committed or missed yet";

pub(super) fn goals(measured: &Measured<'_>) -> Vec<Goal> {
    let mut goals = vec![latency(measured), proof_bytes(measured.proofs)];
    let names = [GoalName::SecurityAtFirst, GoalName::Security];
    goals.extend(
        names.into_iter().zip(GOAL_SECURITY_BITS).map(|(name, bits)| security(name, bits, measured.proofs)),
    );
    goals.push(trusted_setup(measured.proofs));
    goals.push(Goal { because: Some(NOT_MEASURED), ..goal(GoalName::MachinePower, GOAL_POWER_KW, Unit::Kw) });
    goals.push(Goal {
        because: Some(NOT_MEASURED),
        ..goal(GoalName::MachinePrice, GOAL_PRICE_USD, Unit::Usd)
    });
    let blocks = measured.committed + measured.missed;
    goals.push(at_least(GoalName::BlocksUnder10S, BAR_UNDER_10_S_PERCENT, measured.under_10_s, blocks));
    goals.push(at_least(GoalName::BlocksProved, BAR_PROVED_PERCENT, measured.committed, blocks));
    goals
}

fn goal(goal: GoalName, limit: u64, unit: Unit) -> Goal {
    Goal { goal, limit: Some(limit), measured: None, unit, verdict: Verdict::CannotBeSaid, because: None }
}

fn verdict(met: bool) -> Verdict {
    if met { Verdict::Met } else { Verdict::NotMet }
}

fn latency(of: &Measured<'_>) -> Goal {
    let goal = goal(GoalName::LatencyP99, GOAL_DEADLINE_MS, Unit::Ms);
    match of.latency.p99_ms {
        Some(p99_ms) => {
            Goal { measured: Some(p99_ms as f64), verdict: verdict(p99_ms <= GOAL_DEADLINE_MS), ..goal }
        }
        None if of.missed > 0 => Goal {
            verdict: Verdict::NotMet,
            because: Some("more than 1 % of the heights were missed"),
            ..goal
        },
        None => Goal { because: Some(NO_BLOCKS), ..goal },
    }
}

fn proof_bytes(of: &ProofFigures) -> Goal {
    let goal = goal(GoalName::ProofBytesMax, GOAL_PROOF_BYTES, Unit::Bytes);
    match of.bytes_max {
        Some(bytes) => {
            Goal { measured: Some(bytes as f64), verdict: verdict(bytes <= GOAL_PROOF_BYTES), ..goal }
        }
        None => Goal { because: Some("no proof is committed yet"), ..goal },
    }
}

/// One proof that is too weak is enough to say no; a yes takes the word of all.
fn security(name: GoalName, bits: u32, of: &ProofFigures) -> Goal {
    let least = of.security_bits_min;
    let goal = Goal { measured: least.map(f64::from), ..goal(name, bits.into(), Unit::Bits) };
    match least {
        Some(least) if least < bits => Goal { verdict: Verdict::NotMet, ..goal },
        Some(_) if of.security_unstated == 0 => Goal { verdict: Verdict::Met, ..goal },
        Some(_) => Goal { because: Some("not every prover states it"), ..goal },
        None => Goal { because: Some("no prover states it"), ..goal },
    }
}

fn trusted_setup(of: &ProofFigures) -> Goal {
    let (verdict, because) = match of.trusted_setup {
        TrustedSetup::No => (Verdict::Met, None),
        TrustedSetup::Yes => (Verdict::NotMet, Some("a proof system that was used needs one")),
        TrustedSetup::Unstated => (Verdict::CannotBeSaid, Some("not every prover states it")),
    };
    let (goal, limit, measured, unit) = (GoalName::NoTrustedSetup, None, None, Unit::None);
    Goal { goal, limit, measured, unit, verdict, because }
}

fn at_least(name: GoalName, percent: u64, part: u64, of: u64) -> Goal {
    let goal = goal(name, percent, Unit::Percent);
    match share(part, of) {
        // In whole numbers, so that exactly the limit is met.
        Some(share) => {
            Goal { measured: Some(100.0 * share), verdict: verdict(part * 100 >= of * percent), ..goal }
        }
        None => Goal { because: Some(NO_BLOCKS), ..goal },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(bytes_max: u64, bits: Option<u32>, unstated: u64, trusted_setup: TrustedSetup) -> ProofFigures {
        ProofFigures {
            proofs: 1,
            bytes_p50: Some(bytes_max),
            bytes_max: Some(bytes_max),
            security_bits_min: bits,
            security_unstated: unstated,
            trusted_setup,
        }
    }

    fn verdict_of(name: GoalName, latency: &Latency, proofs: &ProofFigures, counts: [u64; 3]) -> Verdict {
        let [committed, missed, under_10_s] = counts;
        let all = goals(&Measured { committed, missed, under_10_s, latency, proofs });
        all.into_iter().find(|goal| goal.goal == name).unwrap().verdict
    }

    #[test]
    fn a_goal_is_met_at_its_limit_and_not_beyond() {
        use GoalName::*;
        use Verdict::*;
        let p99 = |p99_ms| Latency { p99_ms, ..Latency::default() };
        let good = proofs(307_200, Some(128), 0, TrustedSetup::No);
        let bad = proofs(307_201, Some(127), 0, TrustedSetup::Yes);
        let latency = |p99_ms, missed| verdict_of(LatencyP99, &p99(p99_ms), &good, [1, missed, 1]);
        assert_eq!(
            [latency(Some(10_000), 0), latency(Some(10_001), 0), latency(None, 1), latency(None, 0)],
            [Met, NotMet, NotMet, CannotBeSaid]
        );
        for name in [ProofBytesMax, SecurityAtFirst, Security, NoTrustedSetup] {
            assert_eq!(verdict_of(name, &p99(Some(1)), &good, [1, 0, 1]), Met, "{name:?}");
            let expected = if name == SecurityAtFirst { Met } else { NotMet };
            assert_eq!(verdict_of(name, &p99(Some(1)), &bad, [1, 0, 1]), expected, "{name:?}");
        }
        let share = |name, counts| verdict_of(name, &p99(Some(1)), &good, counts);
        assert_eq!(
            [share(BlocksUnder10S, [10, 0, 7]), share(BlocksUnder10S, [1_000, 0, 699])],
            [Met, NotMet]
        );
        assert_eq!([share(BlocksProved, [19, 1, 0]), share(BlocksProved, [949, 51, 0])], [Met, NotMet]);
        assert_eq!(share(BlocksProved, [0, 0, 0]), CannotBeSaid);
        assert_eq!([share(MachinePower, [1, 0, 1]), share(MachinePrice, [1, 0, 1])], [CannotBeSaid; 2]);
    }

    #[test]
    fn what_a_prover_does_not_state_is_not_taken_for_granted() {
        use Verdict::*;
        let security = |bits, unstated| {
            verdict_of(
                GoalName::SecurityAtFirst,
                &Latency::default(),
                &proofs(1, bits, unstated, TrustedSetup::Unstated),
                [1, 0, 1],
            )
        };
        assert_eq!(
            [security(Some(100), 1), security(Some(99), 1), security(None, 2)],
            [CannotBeSaid, NotMet, CannotBeSaid]
        );
        let unstated = proofs(1, None, 1, TrustedSetup::Unstated);
        let verdict = verdict_of(GoalName::NoTrustedSetup, &Latency::default(), &unstated, [1, 0, 1]);
        assert_eq!(verdict, CannotBeSaid);
    }
}
