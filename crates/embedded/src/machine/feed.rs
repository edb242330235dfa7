//! Feeding a blocks file: checked whole first, then each line recorded, from where the last run left off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use proofyard_blocks::{BlocksError, Line, Reader, RecordedBlock, Summary, check_file};
use proofyard_core::error::Error;
use proofyard_core::port::PortError;
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::Block;
use proofyard_core::transaction::{read, transact};
use proofyard_worker::Home;
use proofyard_worker::artifacts::ArtifactError;

use super::Shared;
use super::local::Fed;
use crate::block_on;

/// How long a line waits after passing trouble.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{file} cannot be read: {source}")]
    Open { file: String, source: io::Error },
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    #[error(
        "{file}:{line}: this line is not the one that was taken before; a blocks file may only grow, so use another \
         data directory for other blocks"
    )]
    Changed { file: String, line: u64 },
    #[error(
        "{file}: {lines} lines were taken before, and it now has {now}; a blocks file may only grow, so put back what \
         it had, or use another data directory for other blocks"
    )]
    Shorter { file: String, lines: u64, now: u64 },
    #[error("{file} is no plain file; it is read more than once, so write it to one and name that")]
    NotAFile { file: String },
    #[error(
        "{file} had {checked} lines when it was checked, and now ends after {now}; put them back, and run again"
    )]
    Cut { file: String, checked: u64, now: u64 },
    #[error(
        "{file}:{line}: the pipeline starts at height {start_height}, and the file at {height}; change `start_height` or the file"
    )]
    StartsElsewhere { file: String, line: u64, start_height: u64, height: u64 },
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error("the yard stops; the rest of the file is taken by the next run")]
    Stopped,
}

impl FeedError {
    fn passes(&self) -> bool {
        match self {
            Self::Yard(Error::Port(PortError::Unavailable(_)) | Error::Contended { .. }) => true,
            Self::Artifact(error) => error.passes(),
            _ => false,
        }
    }
}

/// Reads the whole file and answers what it holds; nothing is taken from a file that has a mistake anywhere, or that
/// is not of the chain that starts at this height.
pub fn check_blocks(path: &Path, start_height: u64) -> Result<Summary, FeedError> {
    let summary = check_file(open(path)?)?;
    match summary.first_height == start_height {
        true => Ok(summary),
        false => Err(starts_elsewhere(path, start_height, summary.first_height)),
    }
}

fn starts_elsewhere(path: &Path, start_height: u64, height: u64) -> FeedError {
    FeedError::StartsElsewhere { file: path.display().to_string(), line: 1, start_height, height }
}

fn open(path: &Path) -> Result<Reader<BufReader<File>>, FeedError> {
    let file = path.display().to_string();
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(FeedError::NotAFile { file });
    }
    match File::open(path) {
        Ok(input) => Ok(Reader::new(file, BufReader::new(input))),
        Err(source) => Err(FeedError::Open { file, source }),
    }
}

/// Records every line that was checked and not taken before, one each `slot`, then that no more will come. What the file
/// has grown by since it was checked is the next run's.
pub(crate) fn feed(
    shared: &Shared,
    chain: &str,
    path: &Path,
    checked: u64,
    slot: Duration,
) -> Result<(), FeedError> {
    let file = path.display().to_string();
    let fed: Option<Fed> = block_on(read(&shared.yard.port, &Fed::key_of(chain)))?;
    let taken = fed.as_ref().map_or(0, |fed| fed.lines);
    let start_height = block_on(shared.yard.chain_state(chain))?.start_height;
    let mut heights = HashMap::new();
    let mut next_slot = Instant::now();
    let mut lines = 0;
    for next in open(path)?.take(usize::try_from(checked).unwrap_or(usize::MAX)) {
        let (number, line) = next?;
        lines = number;
        if shared.wakes.is_stopped() {
            return Err(FeedError::Stopped);
        }
        if let Line::Block(block) = &line {
            if number == 1 && block.height != start_height {
                return Err(starts_elsewhere(path, start_height, block.height));
            }
            heights.insert(block.hash, block.height);
        }
        let sha256 = digest(&line);
        if number <= taken {
            let changed = number == taken && fed.as_ref().is_some_and(|fed| fed.last_sha256 != sha256);
            if changed {
                return Err(FeedError::Changed { file, line: number });
            }
            continue;
        }
        if !shared.pause(next_slot.saturating_duration_since(Instant::now())) {
            return Err(FeedError::Stopped);
        }
        next_slot += slot;
        let durable = matches!(line, Line::Reorg { .. });
        let fed = Fed { chain: chain.to_owned(), lines: number, last_sha256: sha256 };
        persist(shared, || {
            take(shared, chain, &line, &heights)?;
            Ok(remember(shared, &fed, durable)?)
        })?;
    }
    if lines < taken {
        return Err(FeedError::Shorter { file, lines: taken, now: lines });
    }
    if lines < checked {
        return Err(FeedError::Cut { file, checked, now: lines });
    }
    persist(shared, || Ok(block_on(shared.yard.record_end(chain))?))
}

/// Does it again while the trouble is one that passes, such as a full disk: repeating a record changes nothing.
fn persist(shared: &Shared, record: impl Fn() -> Result<(), FeedError>) -> Result<(), FeedError> {
    loop {
        match record() {
            Err(error) if error.passes() => {
                shared.complain("blocks file", &error);
                if !shared.pause(TROUBLE_PAUSE) {
                    return Err(FeedError::Stopped);
                }
            }
            done => return done,
        }
    }
}

fn take(
    shared: &Shared,
    chain: &str,
    line: &Line,
    heights: &HashMap<[u8; 32], u64>,
) -> Result<(), FeedError> {
    match line {
        Line::Block(block) => {
            record(shared, chain, block)?;
        }
        Line::Reorg { hash } => {
            // The whole file was checked: the block stands above its reorg line.
            let height = heights.get(hash).copied().unwrap_or_default();
            block_on(shared.yard.record_reorg(chain, height, &hex_of(hash)))?;
        }
    }
    Ok(())
}

fn record(shared: &Shared, chain: &str, block: &RecordedBlock) -> Result<BlockOutcome, FeedError> {
    // Before the block that names it.
    let payload = shared.artifacts.put_bytes(&block.payload)?;
    let block = Block {
        height: block.height,
        hash: hex_of(&block.hash),
        parent: hex_of(&block.parent),
        timestamp_s: block.timestamp_s,
        segments: block.segments,
        fields: block.fields.clone(),
        payload,
    };
    Ok(block_on(shared.yard.record_block(chain, &block))?)
}

fn remember(shared: &Shared, fed: &Fed, durable: bool) -> Result<(), Error> {
    block_on(transact(&shared.yard.port, async |tx| {
        tx.check::<Fed>(&Fed::key_of(&fed.chain)).await?;
        tx.put(fed)?;
        if durable {
            tx.durable();
        }
        Ok(())
    }))
}

fn digest(line: &Line) -> String {
    use sha2::{Digest, Sha256};
    match line {
        Line::Block(block) => hex::encode(Sha256::digest(&block.payload)),
        Line::Reorg { hash } => hex::encode(hash),
    }
}

fn hex_of(hash: &[u8; 32]) -> String {
    format!("0x{}", hex::encode(hash))
}
