//! Feeding a blocks file: the whole file is checked first; then each line is taken, from where the last run stopped.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofyard_blocks::{BlocksError, Reader, Rules, Summary, TakingError, check_file};
use proofyard_core::Yard;
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::pipeline::Chain;
use proofyard_core::state::ChainName;
use proofyard_intake::CheckedFile;
use proofyard_worker::artifacts::ArtifactError;

use super::intake::LocalIntake;
use crate::{LocalPort, block_on};

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{file} cannot be read")]
    Open { file: String, source: io::Error },
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    #[error("{file} is no plain file; it is read more than once, so write it to one and name that")]
    NotAFile { file: String },
    #[error(transparent)]
    Taking(TakingError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error("the source of blocks cannot be started")]
    NoSource { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the yard stops; the rest is taken by the next run")]
    Stopped,
}

impl Coded for FeedError {
    fn code(&self) -> Code {
        match self {
            Self::Open { .. } | Self::NotAFile { .. } => Code::BlocksUnreadable,
            Self::Blocks(error) => error.code(),
            Self::Taking(error) => error.code(),
            Self::Artifact(error) => error.code(),
            Self::Yard(error) => error.code(),
            Self::NoSource { .. } => Code::MachineFault,
            Self::Stopped => Code::FeedStopped,
        }
    }
}

impl FeedError {
    /// What a source needs of this machine is not there.
    pub fn no_source(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::NoSource { source: source.into() }
    }

    /// The same may succeed later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Yard(error) if error.passes() => true,
            Self::Artifact(error) => error.passes(),
            _ => false,
        }
    }
}

impl From<TakingError> for FeedError {
    fn from(error: TakingError) -> Self {
        match error {
            TakingError::Yard(error) => Self::Yard(error),
            error => Self::Taking(error),
        }
    }
}

/// Reads the whole file and answers what it holds. A file with an error anywhere is refused as a whole.
pub fn check_blocks(path: &Path, rules: &Rules) -> Result<Summary, FeedError> {
    Ok(check_file(open(path, rules)?)?)
}

/// Checks that a file continues the blocks that the yard has of its chain; in a new yard, that it begins at the pipeline's
/// start height.
pub fn check_goes_on(
    yard: Option<&Yard<LocalPort>>,
    path: &Path,
    summary: &Summary,
    chain: &Chain,
    rules: &Rules,
) -> Result<(), FeedError> {
    let (start_height, height) = (chain.start_height, summary.first_height);
    match yard {
        Some(yard) => {
            let reader = open(path, rules)?;
            let checked = proofyard_blocks::check_goes_on(&yard.port, &chain.name, start_height, reader);
            Ok(block_on(checked)?)
        }
        None if height == start_height => Ok(()),
        None => {
            let file = path.display().to_string();
            Err(TakingError::StartsElsewhere { file, line: 1, start_height, height }.into())
        }
    }
}

fn open(path: &Path, rules: &Rules) -> Result<Reader<BufReader<File>>, FeedError> {
    let file = path.display().to_string();
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(FeedError::NotAFile { file });
    }
    match File::open(path) {
        Ok(input) => Ok(Reader::new(file, BufReader::new(input), rules.clone())),
        Err(source) => Err(FeedError::Open { file, source }),
    }
}

/// What to feed to a chain, and how fast.
#[derive(Clone, Debug)]
pub struct Feed {
    pub path: PathBuf,
    pub rules: Rules,
    /// How many lines the file had when it was checked. Lines added since are left to the next run.
    pub lines: u64,
    /// One line is recorded in each such time.
    pub slot: Duration,
    /// Whether the end of the file is the end of the chain's input, so that a last short cut closes.
    pub ends: bool,
}

/// Takes every line that was checked and not taken before; then the end of the input, if `ends`.
pub(crate) fn feed(intake: &LocalIntake, chain: &ChainName, feed: &Feed) -> Result<(), FeedError> {
    let lines = open(&feed.path, &feed.rules)?;
    let name = feed.path.display().to_string();
    let file = CheckedFile { name: &name, rules: &feed.rules, lines: feed.lines, ends: feed.ends };
    let mut next_slot = Instant::now();
    let pace = || {
        if intake.is_stopped() || !intake.pause(next_slot.saturating_duration_since(Instant::now())) {
            return Err(FeedError::Stopped);
        }
        next_slot += feed.slot;
        Ok(())
    };
    block_on(file.take(intake, chain, lines, pace))?;
    Ok(())
}
