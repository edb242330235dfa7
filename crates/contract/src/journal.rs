//! What an account has sent, in one file for each account of a chain.
//!
//! It is written, and synced, before a node hears of a transaction. Whoever reads it to write it holds its lock, so that
//! several sinks may have one account. What is at its end is kept for a while without its bytes: a message that comes again is
//! known by it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, B256, Selector};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{Failure, Place, Surroundings};

/// Messages at their end that are remembered, of each sink.
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
    /// The account's next nonce, where nobody has a transaction with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// What all with higher nonces wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub nonce: u64,
    pub since_ms: u64,
    pub since_height: u64,
}

/// One message's transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub sink: String,
    pub key: String,
    pub nonce: u64,
    pub to: Address,
    /// What is called of it.
    pub selector: Selector,
    /// By which the sink's fees are bounded.
    pub fees: Fees,
    /// Its message was said to be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_counted: bool,
    /// Each offers a higher fee than the one before; blocks take one of them.
    pub tries: Vec<Try>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<Included>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What a task's call was made of: a later attempt at the task says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_of: Option<MadeOf>,
}

/// What a call was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MadeOf {
    pub arguments: Vec<String>,
    /// What the texts of the pipeline name of what was read.
    pub reads: Map<String, Json>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Try {
    pub hash: B256,
    /// As it is sent; empty once it is at its end.
    pub raw: String,
    pub max_fee_wei: u128,
    pub priority_fee_wei: u128,
    pub at_ms: u64,
    /// The newest block by then.
    pub at_height: u64,
}

/// A sink's say in fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fees {
    pub max_fee_gwei: Option<u64>,
    pub replace_after_ms: u64,
}

/// What tells a message's transaction from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub sink: &'a str,
    pub key: &'a str,
    pub to: Address,
    pub selector: Selector,
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
        if !place.journal.is_dir() {
            fs::create_dir_all(&place.journal).map_err(failed)?;
            // Of a folder that a power loss takes away, nothing in it is durable.
            let parent = place.journal.parent().unwrap_or(Path::new("."));
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
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
        file.write_all(&serde_json::to_vec(&self.journal)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Journal {
    /// A message's transaction, unless it came to nothing.
    pub fn of(&self, name: Name<'_>) -> Option<&Sent> {
        self.sent.iter().find(|sent| sent.is(name) && !sent.came_to_nothing())
    }

    /// The same, to write in it.
    pub fn of_mut(&mut self, name: Name<'_>) -> Option<&mut Sent> {
        self.sent.iter_mut().find(|sent| sent.is(name) && !sent.came_to_nothing())
    }

    /// A message of a sink that was said to be done, whose transaction came to nothing after all, and that was not sent anew.
    pub fn undone(&self, sink: &str) -> Option<&Sent> {
        let mut counted = self.sent.iter().filter(|sent| sent.sink == sink && sent.has_counted);
        counted.find(|sent| {
            let is_later =
                |other: &&Sent| other.sink == sent.sink && other.key == sent.key && other.nonce > sent.nonce;
            sent.came_to_nothing() && !self.sent.iter().any(|other| is_later(&other))
        })
    }

    /// Among the others, by its nonce.
    pub fn insert(&mut self, sent: Sent) {
        let at = self.sent.partition_point(|other| other.nonce < sent.nonce);
        self.sent.insert(at, sent);
    }

    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.ended.is_none())
    }

    /// The nonce behind all that is under way, and at least this one.
    pub fn next_nonce(&self, least: u64) -> u64 {
        self.open().map(|sent| sent.nonce.saturating_add(1)).fold(least, u64::max)
    }

    fn forget(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.ended.is_some()) {
            sent.tries.iter_mut().for_each(|each| each.raw.clear());
        }
        // The newest of each sink are kept.
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        let newest_first = self.sent.iter().rev().map(|sent| {
            let of_sink = kept.entry(sent.sink.clone()).or_default();
            let is_over = sent.ended.is_some() && !sent.is_owed();
            *of_sink += usize::from(is_over);
            !is_over || *of_sink <= REMEMBERED
        });
        let mut stays: Vec<bool> = newest_first.collect();
        self.sent.retain(|_| stays.pop().unwrap_or(true));
    }
}

impl Sent {
    fn is(&self, name: Name<'_>) -> bool {
        self.sink == name.sink && self.key == name.key && self.to == name.to && self.selector == name.selector
    }

    /// A task's call was made, and its task was not told so yet: it may be parked, and ask once it is retried.
    fn is_owed(&self) -> bool {
        self.made_of.is_some() && !self.has_counted && self.ended == Some(Ended::Included)
    }

    fn came_to_nothing(&self) -> bool {
        matches!(self.ended, Some(Ended::Reverted | Ended::Overtaken))
    }
}
