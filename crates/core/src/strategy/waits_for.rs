//! What a stage waits for, by name; and how far that is looked into.

use super::votes::Votes;
use crate::state::{BlockedBy, Plan};

/// What a stage without a group waits for, or one whose tasks still gather members.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WaitsFor {
    /// These stages of the same scope.
    Stages(Vec<String>),
    /// This stage, of blocks at these heights.
    Members { stage: String, heights: Vec<u64> },
    /// The commit.
    Commit,
    /// Its inputs are there, and it cannot start on them.
    Blocked(BlockedBy),
    /// More members of a quorum.
    Votes(Votes),
    /// The next look, which records that members of a quorum disagree.
    DisagreementRecorded,
}

/// How far readiness is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As far as it takes to open a group: to the first thing that is missing, and into the outputs, which must fit together.
    Open,
    /// As far as it takes to say what is missing, all of it. Whether outputs fit together is told as the last look recorded it.
    Tell,
}

/// What a stage would work on, or what is missing for that.
pub(super) type Gathered = Result<Plan, WaitsFor>;
