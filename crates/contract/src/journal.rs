//! What an account has sent, in one file for each account of a chain.
//!
//! It is written, and synced, before a node hears of a transaction. Whoever reads it to write it holds its lock, so that
//! several sinks may have one account. What is at its end is kept for a while without its bytes: a message that comes again is
//! known by it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{Failure, Place, Surroundings};

/// Messages at their end that are remembered.
const REMEMBERED: usize = 1_024;
/// More cannot wait: nodes keep few of one account.
pub(crate) const MAX_OPEN: usize = 64;
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The file's text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// By nonce, the lowest first.
    pub sent: Vec<Sent>,
}

/// One message's transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub sink: String,
    pub key: String,
    pub nonce: u64,
    /// Each offers a higher fee than the one before; blocks take one of them.
    pub tries: Vec<Try>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<Included>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Try {
    pub hash: B256,
    /// As it is sent; empty once it is at its end.
    pub raw: String,
    pub max_fee_wei: u128,
    pub priority_fee_wei: u128,
    pub at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Included {
    pub transaction: B256,
    pub height: u64,
    pub block: B256,
    pub has_succeeded: bool,
    pub gas_used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// So deep that it stays.
    Included,
    /// It has changed nothing, and may be sent anew.
    Reverted,
    /// Something else of the account has its nonce.
    Overtaken,
}

/// The journal, and the lock on it.
pub(crate) struct Held {
    pub journal: Journal,
    path: PathBuf,
    written: Journal,
    _lock: File,
}

impl Held {
    /// Waits until nobody else has it.
    pub async fn open(
        place: &Place,
        chain_id: u64,
        account: Address,
        surroundings: &impl Surroundings,
    ) -> Result<Self, Failure> {
        let path = place.journal.join(format!("{chain_id}-{account}.json"));
        let failed = |error: io::Error| Failure::later(format!("{}: {error}", path.display()));
        fs::create_dir_all(&place.journal).map_err(failed)?;
        let lock = File::create(path.with_extension("lock")).map_err(failed)?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    surroundings.pause(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::later(format!("{account} is in use by another sink")));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let journal = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                let what = "cannot be read, and says which transactions were sent";
                Failure::Refused(format!("{} {what}: {error}", path.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Journal::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { written: journal.clone(), journal, path, _lock: lock })
    }

    /// Durable once it returns.
    pub fn write(&mut self) -> Result<(), Failure> {
        if self.journal == self.written {
            return Ok(());
        }
        self.journal.forget();
        let written =
            self.replace().map_err(|error| Failure::later(format!("{}: {error}", self.path.display())));
        written.map(|()| self.written = self.journal.clone())
    }

    fn replace(&self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(&self.journal)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Journal {
    /// A message's transaction, unless it came to nothing.
    pub fn of(&self, sink: &str, key: &str) -> Option<&Sent> {
        let counts = |sent: &&Sent| !matches!(sent.ended, Some(Ended::Reverted | Ended::Overtaken));
        self.sent.iter().filter(counts).find(|sent| sent.sink == sink && sent.key == key)
    }

    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.ended.is_none())
    }

    /// The nonce behind all that is under way, and at least this one.
    pub fn next_nonce(&self, least: u64) -> u64 {
        self.open().map(|sent| sent.nonce + 1).fold(least, u64::max)
    }

    fn forget(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.ended.is_some()) {
            sent.tries.iter_mut().for_each(|each| each.raw.clear());
        }
        let ended = self.sent.iter().filter(|sent| sent.ended.is_some()).count();
        let mut surplus = ended.saturating_sub(REMEMBERED);
        self.sent.retain(|sent| {
            let goes = sent.ended.is_some() && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}
