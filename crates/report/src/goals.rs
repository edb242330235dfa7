//! Goals in words: what is wanted, what was measured, and how that stands.

use proofyard_core::report::{DeadlineIs, Goal, GoalName, Report, TrustedSetup, Unit, Verdict, seconds};

use crate::figures::{kib, percent};
use crate::spending;

/// One goal in words.
pub struct GoalRow {
    pub name: &'static str,
    /// Whose goal it is.
    pub of: &'static str,
    pub wanted: String,
    /// Empty where there is nothing to be said.
    pub measured: String,
    pub verdict: &'static str,
}

pub fn told(goal: &Goal, report: &Report) -> GoalRow {
    let (name, of) = match goal.goal {
        GoalName::LatencyP99 => ("latency, P99", FOUNDATION),
        GoalName::ProofBytesMax => ("largest proof", FOUNDATION),
        GoalName::SecurityAtFirst => ("security, at first", FOUNDATION),
        GoalName::Security => ("security, in the end", FOUNDATION),
        GoalName::NoTrustedSetup => ("trusted setup", FOUNDATION),
        GoalName::MachinePower => ("the machine's power", FOUNDATION),
        GoalName::MachinePrice => ("the machine's price", FOUNDATION),
        GoalName::BlocksUnder10S => ("blocks under 10 s", ETHPROOFS),
        GoalName::BlocksProved => ("blocks proved at all", ETHPROOFS),
    };
    let at = match goal.goal {
        GoalName::SecurityAtFirst
        | GoalName::Security
        | GoalName::BlocksUnder10S
        | GoalName::BlocksProved => "at least ",
        _ => "at most ",
    };
    let wanted = match (goal.limit, goal.unit) {
        (None, _) => "none".to_owned(),
        (Some(limit), Unit::Percent) => format!("{at}{limit} %"),
        (Some(limit), unit) => format!("{at}{}", value(limit as f64, unit)),
    };
    let measured = match goal.goal {
        GoalName::NoTrustedSetup => trusted_setup(report.proofs.trusted_setup).to_owned(),
        GoalName::LatencyP99 if goal.measured.is_none() && report.blocks_missed > 0 => "missed".to_owned(),
        _ => goal.measured.map_or(String::new(), |measured| value(measured, goal.unit)),
    };
    GoalRow { name, of, wanted, measured, verdict: verdict(goal.verdict) }
}

const FOUNDATION: &str = "Ethereum Foundation";
const ETHPROOFS: &str = "Ethproofs";

pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::NotMet => "not met",
        Verdict::CannotBeSaid => "cannot be said",
    }
}

pub fn trusted_setup(needed: TrustedSetup) -> &'static str {
    match needed {
        TrustedSetup::Yes => "yes",
        TrustedSetup::No => "no",
        TrustedSetup::Unstated => "unstated",
    }
}

pub fn deadline_is(source: DeadlineIs) -> &'static str {
    match source {
        DeadlineIs::Pipeline => "the pipeline's deadline",
        DeadlineIs::Goal => "the Ethereum Foundation's goal",
        DeadlineIs::Asked => "as asked",
    }
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ms => seconds(value as u64),
        Unit::Bytes => kib(value as u64),
        Unit::Bits => format!("{value:.0} bits"),
        Unit::Percent => percent(value / 100.0),
        Unit::Kw => format!("{value:.0} kW"),
        Unit::Usd => format!("{:.0},000 USD", value / 1_000.0),
        Unit::None => String::new(),
    }
}

/// What is said of a report as a whole, in sentences.
pub fn notes(report: &Report) -> Vec<String> {
    let mut notes = vec![
        "Latency is from a block's acknowledgement to its commit-stage proof being accepted (of a block that a cut \
         committed: the cut's proof). A missed height has none, and ranks after all others."
            .to_owned(),
    ];
    if report.heights_left_out > 0 {
        notes.push(format!(
            "{} older heights of the range are left out; a range or a larger --newest shows them.",
            report.heights_left_out
        ));
    }
    if report.waiting.blocks > 0 {
        notes.push(format!(
            "{} known blocks are not committed yet, {} of them past the deadline already; they count in none of this.",
            report.waiting.blocks, report.waiting.over_deadline
        ));
    }
    notes.extend(spending::note(report));
    notes
}
