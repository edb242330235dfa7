//! Planted mistakes: each breaks one rule on purpose, so that the simulation can show that it would be seen.
//!
//! Compiled only with the feature `planted-mistakes`, and then only in a yard that was built with one.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A group is complete when a range shows no open marker, though its tasks are still being created.
    RangeCount,
    /// The marker goes and the scope advances before the result is recorded.
    AdvanceBeforeRecord,
    /// A block event changes the branch by itself.
    BlockEventTakenAsTruth,
    /// A claim whose outcome was unknown does not recognise itself.
    NoClaimId,
    /// A result is recorded without asking the verifier.
    AcceptWithoutVerifying,
    /// One height too many is opened.
    WindowOffByOne,
    /// A reorg leaves cuts that hold orphans.
    CutKeptOverReorg,
    /// A commit trusts what it read before, and checks neither the chain nor the parent.
    CommitWithoutParent,
    /// A lost worker counts against its task.
    LossCountedAsFailure,
    /// An opened scope has no due time.
    MissingDue,
    /// A claim takes any of the heads, whatever its rank.
    AnyRank,
    /// A task of a reduction is listed when one of its children is there.
    ListedUnfed,
}

impl Mistake {
    pub const ALL: [Self; 12] = [
        Self::RangeCount,
        Self::AdvanceBeforeRecord,
        Self::BlockEventTakenAsTruth,
        Self::NoClaimId,
        Self::AcceptWithoutVerifying,
        Self::WindowOffByOne,
        Self::CutKeptOverReorg,
        Self::CommitWithoutParent,
        Self::LossCountedAsFailure,
        Self::MissingDue,
        Self::AnyRank,
        Self::ListedUnfed,
    ];
}
