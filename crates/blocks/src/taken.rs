//! How far a blocks file was taken, so that the next run goes on: with the same file, which may have grown, or with the
//! next one.
//!
//! A file is known by its first line. One that begins otherwise goes on from the chain's tip: it may begin with blocks that
//! are on the chain, and the first that is not has the tip as its parent.

use std::collections::HashMap;
use std::io::BufRead;

use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::port::{Key, Port};
use proofyard_core::state::{BlockHash, Canonical, ChainName, KeyFamily, Tip};
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::encoding::to_hex;
use crate::fault::BlocksError;
use crate::{Line, Reader, RecordedBlock, Rules};

/// `L#chain` / `fed`: what was taken of a chain's blocks file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub chain: ChainName,
    /// So many lines, so that a restart does not take a reorg line a second time.
    pub lines: u64,
    /// SHA-256 of the first line, by which the file is known.
    #[serde(default)]
    pub first_sha256: Option<String>,
    /// SHA-256 of the last line taken: the file may grow, and must not change.
    pub last_sha256: String,
    /// The fields that were kept of the blocks taken.
    #[serde(default)]
    pub fields: Vec<String>,
}

impl Taken {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::BlocksTaken.key(chain)
    }
}

impl Item for Taken {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
}

/// Why a file is not one that goes on.
#[derive(Debug, Error)]
pub enum TakingError {
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    #[error(
        "{file}:{line}: this line is not the one that was taken before; a blocks file may only grow, so use another data \
         directory (or yard) for other blocks"
    )]
    Changed { file: String, line: u64 },
    #[error(
        "{file}: {lines} lines were taken before, and it now has {now}; a blocks file may only grow, so put back what it \
         had, or use another data directory (or yard) for other blocks"
    )]
    Shorter { file: String, lines: u64, now: u64 },
    #[error(
        "{file} had {checked} lines when it was checked, and now ends after {now}; put them back, and run again"
    )]
    Cut { file: String, checked: u64, now: u64 },
    #[error(
        "{file}:{line}: the pipeline starts at height {start_height}, and the file at {height}; change `start_height` or the \
         file"
    )]
    StartsElsewhere { file: String, line: u64, start_height: u64, height: u64 },
    #[error(
        "{file}:{line}: this file does not go on from the chain: its block {height} is not there, and has parent {parent}, \
         but the tip is {tip} at height {tip_height}; give the file that was given before, which may have grown, or one that \
         goes on with the block after the tip"
    )]
    GoesOnElsewhere { file: String, line: u64, height: u64, parent: String, tip: String, tip_height: u64 },
    #[error(
        "{file}:{line}: a reorg in a part of the file that the chain has already; give the file that was given before, or \
         one that goes on with the block after the tip"
    )]
    ReorgBeforeTip { file: String, line: u64 },
    #[error(transparent)]
    Yard(#[from] Error),
}

impl Coded for TakingError {
    fn code(&self) -> Code {
        match self {
            Self::Blocks(error) => error.code(),
            Self::Changed { .. } | Self::Shorter { .. } | Self::Cut { .. } => Code::BlocksChanged,
            Self::StartsElsewhere { .. } => Code::StartsElsewhere,
            Self::GoesOnElsewhere { .. } | Self::ReorgBeforeTip { .. } => Code::GoesOnElsewhere,
            Self::Yard(error) => error.code(),
        }
    }
}

/// What is done with the next line.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It was taken before.
    Skip,
    /// It was taken before, without a field that is now asked for; taken again, it changes nothing else.
    Again,
    Take,
}

/// Goes through a file's lines, and says of each what is to be done with it.
pub struct Taking {
    file: String,
    start_height: u64,
    tip: Option<(u64, BlockHash)>,
    before: Option<Taken>,
    now: Taken,
    /// Blocks taken before lack a field.
    again: bool,
    /// Whether this is the file that was taken before.
    same: bool,
    /// A line was found that the chain does not have.
    beyond: bool,
    heights: HashMap<[u8; 32], u64>,
}

impl Taking {
    pub async fn begin(
        port: &dyn Port,
        chain: &ChainName,
        file: &str,
        start_height: u64,
        rules: &Rules,
    ) -> Result<Self, Error> {
        let before: Option<Taken> = read(port, &Taken::key_of(chain)).await?;
        let tip: Option<Tip> = read(port, &Tip::key_of(chain)).await?;
        let mut fields: Vec<String> = rules.fields().map(str::to_owned).collect();
        fields.sort();
        fields.dedup();
        let kept = before.as_ref().map(|before| before.fields.as_slice()).unwrap_or_default();
        let again = fields.iter().any(|field| !kept.contains(field));
        Ok(Self {
            file: file.to_owned(),
            start_height,
            tip: tip.and_then(|tip| tip.head),
            before,
            now: Taken { chain: chain.clone(), fields, ..Taken::default() },
            again,
            same: false,
            beyond: false,
            heights: HashMap::new(),
        })
    }

    /// What is to be done with the next line.
    pub async fn next(&mut self, port: &dyn Port, number: u64, line: &Line) -> Result<Step, TakingError> {
        if let Line::Block(block) = line {
            self.heights.insert(block.hash, block.height);
        }
        let sha256 = digest(line);
        if number == 1 {
            self.same = self.is_same(&sha256);
            if !self.same
                && self.tip.is_none()
                && let Line::Block(block) = line
                && block.height != self.start_height
            {
                let (file, start_height, height) = (self.file.clone(), self.start_height, block.height);
                return Err(TakingError::StartsElsewhere { file, line: number, start_height, height });
            }
            self.now.first_sha256 = Some(sha256.clone());
        }
        self.now.lines = number;
        self.now.last_sha256 = sha256;
        // Blocks that another file's run brought may have come under any pipeline.
        self.again |= !self.same && !self.now.fields.is_empty();
        if self.same { self.of_same(number, line) } else { self.of_next(port, number, line).await }
    }

    fn is_same(&self, first_sha256: &str) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| before.first_sha256.as_deref().is_none_or(|first| first == first_sha256))
    }

    fn of_same(&self, number: u64, line: &Line) -> Result<Step, TakingError> {
        let Some(before) = self.before.as_ref().filter(|before| number <= before.lines) else {
            return Ok(Step::Take);
        };
        if number == before.lines && before.last_sha256 != self.now.last_sha256 {
            return Err(TakingError::Changed { file: self.file.clone(), line: number });
        }
        Ok(self.taken_before(line))
    }

    async fn of_next(&mut self, port: &dyn Port, number: u64, line: &Line) -> Result<Step, TakingError> {
        let Some((tip_height, tip)) = self.tip.as_ref().filter(|_| !self.beyond) else {
            return Ok(Step::Take);
        };
        let block = match line {
            Line::Block(block) => block,
            Line::Reorg { .. } => {
                return Err(TakingError::ReorgBeforeTip { file: self.file.clone(), line: number });
            }
        };
        if is_canonical(port, &self.now.chain, block).await? {
            return Ok(self.taken_before(line));
        }
        let parent = to_hex(&block.parent);
        if parent != tip.as_str() {
            return Err(TakingError::GoesOnElsewhere {
                file: self.file.clone(),
                line: number,
                height: block.height,
                parent,
                tip: tip.to_string(),
                tip_height: *tip_height,
            });
        }
        self.beyond = true;
        Ok(Step::Take)
    }

    fn taken_before(&self, line: &Line) -> Step {
        match line {
            Line::Block(_) if self.again => Step::Again,
            _ => Step::Skip,
        }
    }

    /// The height of a block that a reorg line names: it stands above that line, since the whole file was checked.
    pub fn height_of(&self, hash: &[u8; 32]) -> u64 {
        self.heights.get(hash).copied().unwrap_or_default()
    }

    /// Keeps that all lines so far were taken, with the fields that are asked for now.
    pub async fn remember(&self, port: &dyn Port, durable: bool) -> Result<(), Error> {
        transact(port, async |tx| {
            tx.check::<Taken>(&self.now.key()).await?;
            tx.put(&self.now)?;
            if durable {
                tx.durable();
            }
            Ok(())
        })
        .await
    }

    /// After the file's last line: whether it still has what it had.
    fn check_length(&self) -> Result<(), TakingError> {
        if let Some(before) = self.before.as_ref().filter(|before| self.same && self.now.lines < before.lines)
        {
            let (file, lines, now) = (self.file.clone(), before.lines, self.now.lines);
            return Err(TakingError::Shorter { file, lines, now });
        }
        Ok(())
    }

    /// After the file's last line was taken.
    pub async fn end(&self, port: &dyn Port) -> Result<(), TakingError> {
        self.check_length()?;
        // Another file of which nothing was new does not take the place of the one that goes on.
        if self.same && self.before.as_ref() != Some(&self.now) {
            self.remember(port, false).await?;
        }
        Ok(())
    }
}

/// Whether a file that was checked goes on from what was taken before, found out before anything of it is taken.
pub async fn check_goes_on<R: BufRead>(
    port: &dyn Port,
    chain: &ChainName,
    start_height: u64,
    reader: Reader<R>,
) -> Result<(), TakingError> {
    let mut taking = Taking::begin(port, chain, reader.file(), start_height, reader.rules()).await?;
    for next in reader {
        let (number, line) = next?;
        if taking.next(port, number, &line).await? == Step::Take {
            return Ok(());
        }
    }
    taking.check_length()
}

async fn is_canonical(port: &dyn Port, chain: &ChainName, block: &RecordedBlock) -> Result<bool, Error> {
    let place: Option<Canonical> = read(port, &Canonical::key_of(chain, block.height)).await?;
    Ok(place.is_some_and(|place| place.hash.as_str() == to_hex(&block.hash)))
}

fn digest(line: &Line) -> String {
    match line {
        Line::Block(block) => hex::encode(Sha256::digest(&block.payload)),
        Line::Reorg { hash } => hex::encode(hash),
    }
}
