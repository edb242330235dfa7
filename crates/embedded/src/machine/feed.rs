//! Feeding a blocks file: the whole file is checked first; then each line is recorded, from where the last run stopped.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofyard_blocks::{
    BlocksError, Line, Reader, RecordedBlock, Rules, Step, Summary, Taking, TakingError, check_file,
};
use proofyard_core::Yard;
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::pipeline::Chain;
use proofyard_core::record::BlockOutcome;
use proofyard_worker::WorkerHome;
use proofyard_worker::artifacts::ArtifactError;

use super::Shared;
use crate::{LocalPort, block_on};

/// The pause after a transient error, before a line is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{file} cannot be read")]
    Open { file: String, source: io::Error },
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    #[error("{file} is no plain file; it is read more than once, so write it to one and name that")]
    NotAFile { file: String },
    #[error(
        "{file} had {checked} lines when it was checked, and now ends after {now}; put them back, and run again"
    )]
    Cut { file: String, checked: u64, now: u64 },
    #[error(transparent)]
    Taking(TakingError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error("the yard stops; the rest of the file is taken by the next run")]
    Stopped,
}

impl Coded for FeedError {
    fn code(&self) -> Code {
        match self {
            Self::Open { .. } | Self::NotAFile { .. } => Code::BlocksUnreadable,
            Self::Blocks(error) => error.code(),
            Self::Cut { .. } => Code::BlocksChanged,
            Self::Taking(error) => error.code(),
            Self::Artifact(error) => error.code(),
            Self::Yard(error) => error.code(),
            Self::Stopped => Code::FeedStopped,
        }
    }
}

impl FeedError {
    fn passes(&self) -> bool {
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

/// Records every line that was checked and not recorded before; then the end of the input, if `ends`.
pub(crate) fn feed(shared: &Shared, chain: &str, feed: &Feed) -> Result<(), FeedError> {
    let Feed { path, rules, lines: checked, slot, ends } = feed;
    let file = path.display().to_string();
    let start_height = block_on(shared.yard.chain_state(chain))?.start_height;
    let port = &shared.yard.port;
    let mut taking = block_on(Taking::begin(port, chain, &file, start_height, rules))?;
    let mut next_slot = Instant::now();
    let mut lines = 0;
    for next in open(path, rules)?.take(usize::try_from(*checked).unwrap_or(usize::MAX)) {
        let (number, line) = next?;
        lines = number;
        if shared.is_stopped() {
            return Err(FeedError::Stopped);
        }
        let step = block_on(taking.next(port, number, &line))?;
        match step {
            Step::Skip => continue,
            Step::Again => {
                persist(shared, || take(shared, chain, &line, &taking))?;
                continue;
            }
            Step::Take => {}
        }
        if !shared.pause(next_slot.saturating_duration_since(Instant::now())) {
            return Err(FeedError::Stopped);
        }
        next_slot += *slot;
        let durable = matches!(line, Line::Reorg { .. });
        persist(shared, || {
            take(shared, chain, &line, &taking)?;
            Ok(block_on(taking.remember(port, durable))?)
        })?;
    }
    if lines < *checked {
        return Err(FeedError::Cut { file, checked: *checked, now: lines });
    }
    persist(shared, || {
        block_on(taking.end(port))?;
        match ends {
            true => Ok(block_on(shared.yard.record_end(chain))?),
            false => Ok(()),
        }
    })
}

/// Retries while the error is transient, such as a full disk: recording is idempotent.
fn persist(shared: &Shared, record: impl Fn() -> Result<(), FeedError>) -> Result<(), FeedError> {
    loop {
        match record() {
            Err(error) if error.passes() => {
                shared.log_error("blocks file", &error);
                if !shared.pause(ERROR_PAUSE) {
                    return Err(FeedError::Stopped);
                }
            }
            done => return done,
        }
    }
}

fn take(shared: &Shared, chain: &str, line: &Line, taking: &Taking) -> Result<(), FeedError> {
    match line {
        Line::Block(block) => {
            record(shared, chain, block)?;
        }
        Line::Reorg { hash } => {
            let hash_text = format!("0x{}", hex::encode(hash));
            block_on(shared.yard.record_reorg(chain, taking.height_of(hash), &hash_text))?;
        }
    }
    Ok(())
}

fn record(shared: &Shared, chain: &str, block: &RecordedBlock) -> Result<BlockOutcome, FeedError> {
    // The payload is stored before the block that names it is recorded.
    let payload = shared.artifacts.put_bytes(&block.payload)?;
    Ok(block_on(shared.yard.record_block(chain, &block.event(payload)))?)
}
