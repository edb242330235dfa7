//! Planted bugs: each breaks one rule on purpose, so that the simulation can show that it would be seen.
//!
//! Compiled only with the feature `planted-bugs`, and then only in a yard that was built with one.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
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
    /// Of one block, the earlier stage goes first.
    EarlierStageFirst,
    /// What comes after the commit goes before what is not committed.
    AfterCommitFirst,
    /// A worker gets a task at once that it has just failed.
    AvoidIgnored,
    /// Of the proofs that agreed, only one is handed on.
    OneProofHandedOn,
    /// A worker is expired by the due time it had, though it has renewed its lease since.
    LiveWorkerExpired,
    /// Failures and losses are counted, and no task ever parks over them.
    NeverParks,
    /// A sink gets entries while the chain is halted.
    HandOnWhileHalted,
    /// Sinks are notified of a commit before it is on disk.
    HandOnNotDurable,
    /// A straggler never gets its second copy.
    NoHedging,
    /// The last two children of a task may come at once, and neither sees the other.
    SiblingPeeked,
    /// Who disagrees in a quorum halts nothing.
    DissentIgnored,
    /// A result is recorded and wakes nobody.
    ResultWakesNobody,
    /// A task that backs off has no due time.
    TaskNotDue,
    /// A block is acknowledged before it is on disk.
    AcknowledgedNotDurable,
    /// A task fails once more than it may before it parks.
    OneAttemptTooMany,
    /// What is handed on need not have been judged.
    NotJudged,
    /// A judgement counts whatever it is about.
    JudgementOfAnything,
    /// A worker's lease ends by the time that its own clock had.
    LeaseByTheWorkersClock,
    /// A reorg takes back that the input has ended.
    EndLostInReorg,
    /// Who disagrees in a block that was given up halts nothing.
    MissedUnwatched,
    /// An operator ends also the halts that came after they looked.
    ResumeEndsUnseen,
    /// An attempt that is over has a checkpoint kept in the place of the next one's.
    CheckpointUnfenced,
    /// What a lost worker had kept is lost with it.
    CheckpointForgotten,
    /// A prover is told that its checkpoint is kept before it is on disk.
    CheckpointNotDurable,
    /// A sink is told how far a block is, and nothing says so if the answer is lost.
    SinkWordNotWritten,
}

impl PlantedBug {
    pub const ALL: [Self; 37] = [
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
        Self::EarlierStageFirst,
        Self::AfterCommitFirst,
        Self::AvoidIgnored,
        Self::OneProofHandedOn,
        Self::LiveWorkerExpired,
        Self::NeverParks,
        Self::HandOnWhileHalted,
        Self::HandOnNotDurable,
        Self::NoHedging,
        Self::SiblingPeeked,
        Self::DissentIgnored,
        Self::ResultWakesNobody,
        Self::TaskNotDue,
        Self::AcknowledgedNotDurable,
        Self::OneAttemptTooMany,
        Self::NotJudged,
        Self::JudgementOfAnything,
        Self::LeaseByTheWorkersClock,
        Self::EndLostInReorg,
        Self::MissedUnwatched,
        Self::ResumeEndsUnseen,
        Self::CheckpointUnfenced,
        Self::CheckpointForgotten,
        Self::CheckpointNotDurable,
        Self::SinkWordNotWritten,
    ];

    /// A rank as [`crate::strategy::rank`] gives it, with this bug in it.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn misranked(self, rank: &str) -> String {
        let mut parts: Vec<&str> = rank.split('-').collect();
        let last_first = parts.last().and_then(|part| part.parse::<u32>().ok()).unwrap_or_default();
        let first_first = format!("{:03}", 999 - last_first);
        match (self, parts.as_mut_slice()) {
            (Self::EarlierStageFirst, [.., stage]) => *stage = &first_first,
            (Self::AfterCommitFirst, [_, phase, ..]) => *phase = if *phase == "0" { "1" } else { "0" },
            _ => {}
        }
        parts.join("-")
    }
}
