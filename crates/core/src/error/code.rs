//! The codes of errors: what a program may rely on where a message may change its words.
//!
//! All are here. An error says its own by an exhaustive `match` ([`Coded`]), so that none is without. What each means and
//! what to do is in `docs/errors.md`, which a test below compares with this table. A code keeps its meaning: one that is
//! given up moves to [`RETIRED`], and its number is never given to another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An error that a person or a program may meet outside.
pub trait Coded: std::error::Error {
    fn code(&self) -> Code;
}

/// Numbers that once were codes.
pub const RETIRED: &[u16] = &[];

macro_rules! codes {
    ($($(#[doc = $title:literal])+ $name:ident = $number:literal),+ $(,)?) => {
        /// Written as `PY` and four digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $($(#[doc = $title])+ $name = $number),+
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

codes! {
    // 00: the command line, and the files that it names.
    /// The arguments cannot be meant.
    BadArguments = 1,
    /// The yard has several chains, and none is named.
    SeveralChains = 2,
    /// The yard has no chain yet.
    NoChainYet = 3,
    /// A task's id is not one.
    BadTaskId = 4,
    /// The heights, or the task, that are named have nothing of what is asked for.
    NothingThere = 5,
    /// A named file cannot be read.
    FileUnreadable = 6,
    /// A named file or folder cannot be written.
    FileUnwritable = 7,
    /// The program for yards on AWS is missing.
    NoAwsProgram = 8,
    /// What a prover is to be tried with cannot be used.
    BadTrial = 9,
    /// A demo cannot become smaller.
    SmallerDemo = 10,
    /// A measurement did not come to its end.
    BenchStuck = 11,
    /// A plan's latencies or proof times cannot be used.
    BadPlanFile = 12,
    /// A plan has no proof time for one of its provers.
    NoProofTime = 13,
    /// A planned yard did not work.
    PlanFailed = 14,
    /// The program for pipelines that follow a node is missing.
    NoNodeProgram = 15,
    /// Where a node is said to be is no URL.
    BadEndpoint = 16,
    /// The program that a sink needs is missing.
    NoSinkProgram = 18,
    /// What a sink's program was told about it cannot be read, or its key is not there.
    BadSink = 19,

    // 01: requests that a yard does not carry out.
    /// There is no such chain.
    UnknownChain = 101,
    /// A height below the chain's start.
    BelowStart = 102,
    /// A height that no chain comes to.
    AboveLimit = 103,
    /// A block is named that was never sent.
    UnknownBlock = 104,
    /// The branches of a reorg meet too far back.
    ReorgTooDeep = 105,
    /// There is no canonical block at the height.
    NoBlock = 106,
    /// There is no such task.
    UnknownTask = 107,
    /// A task of another chain.
    TaskOfOtherChain = 108,
    /// Both a height and a task are named.
    HeightAndTask = 109,
    /// The chain is paused and halted, and it is not said which of them ends.
    WhichHold = 110,
    /// A window below what the next commit needs.
    WindowTooSmall = 111,
    /// There is no such sink.
    UnknownSink = 112,
    /// A worker with too many slots, or none.
    BadSlotCount = 113,
    /// A result that is too large to be recorded.
    OversizedResult = 114,
    /// The worker was declared dead.
    WorkerDead = 115,
    /// Others kept changing the same items.
    Contended = 116,
    /// What was sent to a running yard is no operation.
    NotAnOperation = 117,
    /// What a yard started may not operate it.
    NoSay = 118,
    /// The running yard did not answer.
    NoAnswer = 119,
    /// The running yard refused or failed, and is of a version that says no code.
    WithoutCode = 120,
    /// A log has no such entry, or its sink is elsewhere.
    NoSuchEntry = 121,
    /// A sink that reads no log.
    LevelSink = 122,

    // 02: where state is kept.
    /// Storage is not available now.
    StorageUnavailable = 201,
    /// Storage cannot be used as it is.
    StorageBroken = 202,
    /// A stored item cannot be read.
    DamagedItem = 203,

    // 03: pipelines.
    /// The pipeline file has mistakes.
    PipelineMistakes = 301,
    /// A stored pipeline cannot be used by this version.
    BadStoredPipeline = 302,
    /// The chain's start height was changed.
    StartHeightChanged = 303,
    /// A pool is gone that open work needs.
    PoolInUse = 304,
    /// A stage that open work needs was changed or is gone.
    CutsChanged = 305,
    /// A sink is taken away before it has all entries.
    SinkBehind = 306,
    /// Two pipelines declare a pool in two ways.
    PoolsDiffer = 307,
    /// A variable that a prover asks for is not set.
    NoVariable = 308,
    /// The pipeline is strict, and provers cannot be kept from their verifiers here.
    StrictWithoutIsolation = 309,

    // 04: blocks.
    /// A blocks file cannot be read, or is no plain file.
    BlocksUnreadable = 401,
    /// A line is neither a block nor a reorg.
    BadLine = 402,
    /// A node's answer has no whole block.
    NoWholeBlock = 403,
    /// A header does not hash to the block's name.
    WrongHash = 404,
    /// A block lacks what the pipeline asks of it.
    BlockLacksField = 405,
    /// A block's transactions or segments do not fit together.
    BadSegments = 406,
    /// A file with no blocks, or too many.
    BlockCount = 407,
    /// Blocks of two chains in a file.
    MixedChains = 408,
    /// A block does not follow from the lines before it.
    BlockOrder = 409,
    /// A block does not begin in the state in which its parent ends.
    StateLink = 410,
    /// A fork without its reorg line, or a reorg to nowhere.
    BadReorg = 411,
    /// A blocks file lost lines that were taken, or has others there.
    BlocksChanged = 412,
    /// The first block is not at the pipeline's start height.
    StartsElsewhere = 413,
    /// The file does not go on from the chain's tip.
    GoesOnElsewhere = 414,
    /// The yard stops before all lines are taken.
    FeedStopped = 415,

    // 05: a yard on this machine.
    /// There is no yard in the directory.
    NoYard = 501,
    /// The data directory is no directory.
    NotADirectory = 502,
    /// The directory holds something else.
    NotAYard = 503,
    /// Another process works on the yard.
    InUse = 504,
    /// The data directory cannot be used.
    DataDirectoryUnusable = 505,
    /// The yard cannot do something with its files, or start a thread.
    MachineFault = 506,
    /// This process cannot be set up.
    ProcessFault = 507,
    /// No temporary folder can be made.
    NoTemporaryFolder = 508,
    /// Where a yard is to listen it cannot.
    AddressNotFree = 509,

    // 06: artifacts.
    /// An artifact's file cannot be read or written.
    ArtifactFault = 601,
    /// An artifact is larger than its limit.
    ArtifactTooLarge = 602,
    /// An artifact is missing.
    ArtifactMissing = 603,
    /// An artifact is damaged.
    ArtifactDamaged = 604,
    /// An artifact's name is no hash.
    BadArtifactName = 605,
    /// An artifact store elsewhere did not do what was asked.
    ArtifactStoreFault = 606,

    // 07: AWS.
    /// No yard can have that name.
    BadYardName = 701,
    /// No yard is named.
    YardNotNamed = 702,
    /// A variable of the environment cannot be read.
    BadVariable = 703,
    /// A queue did not do what was asked.
    QueueFault = 704,
    /// The account's number cannot be found out.
    NoAccount = 705,
    /// The yard was written by a newer version.
    NewerYard = 706,
    /// A pool is not deployed.
    PoolNotDeployed = 707,
    /// A pool's workers have too few GPUs.
    TooFewGpus = 708,
    /// AWS Batch did not do what was asked.
    BatchFault = 709,
    /// The webhook's secret cannot be read.
    SecretUnreadable = 710,
    /// A request's body is too large.
    BodyTooLarge = 711,
    /// A request is not signed as it must be.
    NotAuthentic = 712,
    /// A request's body holds no blocks, too many, or something else.
    BadBody = 713,
    /// A sink of a kind that yards on AWS do not have.
    SinkNotDeployed = 718,

    // 08: provers and workers.
    /// The users of provers and verifiers cannot be used as named.
    BadUsers = 801,
    /// There are more slots than users for them.
    TooManySlots = 802,
    /// Provers cannot be kept from their verifiers in the way that is asked for.
    IsolationImpossible = 803,
    /// No pipeline has the pool.
    NoPool = 804,

    // 09: how work ended.
    /// Nothing moves until an operator acts.
    Stuck = 901,
    /// A signal ended it.
    Stopped = 902,
    /// Committed proofs did not stand.
    ProofsRefuted = 903,
    /// The prover does not conform.
    ProverDoesNotConform = 904,
    /// Proofyard contradicts itself.
    Defect = 905,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PY{:04}", *self as u16)
    }
}

/// The text is no code of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no code that is known here")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.iter().find(|code| code.to_string() == text);
        known.copied().ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page has a heading for each code.
    fn headings() -> Vec<String> {
        let page = include_str!("../../../../docs/errors.md");
        let headings = page.lines().filter_map(|line| line.strip_prefix("### PY"));
        headings.map(|rest| format!("PY{}", rest.split_whitespace().next().unwrap_or_default())).collect()
    }

    #[test]
    fn the_page_explains_each_code_and_no_other_in_their_order() {
        let codes: Vec<String> = Code::ALL.iter().map(Code::to_string).collect();
        assert_eq!(headings(), codes);
    }

    #[test]
    fn codes_have_four_digits_and_are_never_used_again() {
        for code in Code::ALL {
            let text = code.to_string();
            assert_eq!(text.len(), 6, "{text}");
            assert_eq!(text.parse(), Ok(*code));
            assert!(!RETIRED.contains(&(*code as u16)), "{text} had another meaning once");
        }
        assert!(Code::ALL.is_sorted());
        "PY9999".parse::<Code>().unwrap_err();
        "PY1".parse::<Code>().unwrap_err();
    }
}
