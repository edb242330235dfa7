//! Transactions over the port: read, decide, commit; a conflict runs the closure again.
//!
//! A closure may run several times, also after a commit that did happen and whose answer was lost. It must
//! therefore recognise its own effect in what it reads.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Cause, Error};
use crate::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Port, Range, Stored, Version, Wake};

/// A type that is stored under one key.
pub trait Item: Serialize + DeserializeOwned {
    fn key(&self) -> Key;
    /// When the sweeper must look at it; `None` where nothing is left to do.
    fn due_ms(&self) -> Option<u64> {
        None
    }
    /// What it says that no yard writes, as a bad disk or an edit by hand may leave it: a number that overflows where it is
    /// added to, or up to which a loop never ends. Readers rely on no more than is checked here.
    fn damage(&self) -> Option<String> {
        None
    }
}

/// No height, count or time in milliseconds comes to this; all JSON readers agree on whole numbers up to here.
pub(crate) const MAX_STORED: u64 = 1 << 53;

/// Keys read at once where there may be thousands of them: each such read is one round, or a few.
pub(crate) const KEYS_A_READ: usize = 256;

/// Tries of one transaction before [`Error::Contended`]. Under 500 contending workers a claim needs about 3.
const MAX_TRIES: u32 = 64;

/// The longest wait after a first conflict where writers are far apart; it doubles with each, up to the other.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 320;

/// How long a home whose writers are far apart steps aside ([`Port::step_aside`]).
pub fn step_aside_ms(tries: u32, random: u64) -> u64 {
    random % FIRST_WAIT_MS.saturating_mul(1 << tries.min(16)).min(LONGEST_WAIT_MS)
}

pub struct Tx<'a> {
    port: &'a dyn Port,
    seen: BTreeMap<Key, Option<Stored>>,
    ops: BTreeMap<Key, (Expect, Action)>,
    wakes: Vec<Wake>,
    durable: bool,
}

impl<'a> Tx<'a> {
    fn new(port: &'a dyn Port) -> Self {
        Self { port, seen: BTreeMap::new(), ops: BTreeMap::new(), wakes: Vec::new(), durable: false }
    }

    /// Reads without validation. What was read before in this transaction is what it says again, so that a write
    /// is always conditional on what the transaction read.
    pub async fn peek<T: Item>(&mut self, key: &Key) -> Result<Option<T>, Error> {
        if !self.seen.contains_key(key) {
            let stored = self.port.get(key).await?;
            self.seen.insert(key.clone(), stored);
        }
        self.seen.get(key).and_then(Option::as_ref).map(|stored| decode(key, stored)).transpose()
    }

    /// The version of an item that was read in this transaction.
    pub(crate) fn version_seen(&self, key: &Key) -> Option<Version> {
        self.seen.get(key).and_then(Option::as_ref).map(|stored| stored.version)
    }

    /// Reads many keys at once, so that what is then peeked at or checked is there already.
    pub async fn fetch(&mut self, keys: impl IntoIterator<Item = Key>) -> Result<(), Error> {
        let mut keys: Vec<Key> = keys.into_iter().filter(|key| !self.seen.contains_key(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            let found = self.port.get_many(&keys).await?;
            self.seen.extend(keys.into_iter().zip(found));
        }
        Ok(())
    }

    /// Reads, and the commit fails if the item changed since, its absence included.
    pub async fn check<T: Item>(&mut self, key: &Key) -> Result<Option<T>, Error> {
        let item = self.peek(key).await?;
        let expectation = self.expectation(key);
        self.ops.entry(key.clone()).or_insert((expectation, Action::Check));
        Ok(item)
    }

    /// Writes with the version seen; an item that was not read in this transaction must not exist yet.
    pub fn put<T: Item>(&mut self, item: &T) -> Result<(), Error> {
        let key = item.key();
        // Nobody could read it any more.
        if let Some(damage) = item.damage() {
            return Err(Error::Damaged { key, source: damage.into() });
        }
        let value = serde_json::to_vec(item)
            .map_err(|error| Error::Damaged { key: key.clone(), source: error.into() })?;
        let action = Action::Put { value, due_ms: item.due_ms() };
        self.ops.insert(key.clone(), (self.expectation(&key), action));
        Ok(())
    }

    /// Deletes whatever is there; another item of the same transaction must guard it.
    pub fn delete(&mut self, key: Key) {
        self.ops.insert(key, (Expect::Any, Action::Delete));
    }

    /// Deletes an item as it was seen in a range.
    pub fn delete_seen(&mut self, key: Key, stored: &Stored) {
        self.ops.insert(key, (Expect::Version(stored.version), Action::Delete));
    }

    pub fn send(&mut self, wake: Wake) {
        if !self.wakes.contains(&wake) {
            self.wakes.push(wake);
        }
    }

    /// The outside is notified of this: it is on disk before the call returns, also where another has written it just now.
    pub fn durable(&mut self) {
        self.durable = true;
    }

    fn expectation(&self, key: &Key) -> Expect {
        match self.seen.get(key) {
            Some(Some(stored)) => Expect::Version(stored.version),
            Some(None) | None => Expect::Absent,
        }
    }

    fn writes(&self) -> bool {
        self.ops.values().any(|(_, action)| *action != Action::Check)
    }

    async fn commit(self) -> Result<(CommitOutcome, Vec<Wake>), Error> {
        if !self.writes() {
            if self.durable {
                self.port.sync().await?;
            }
            return Ok((CommitOutcome::Committed, self.wakes));
        }
        let ops = self.ops.into_iter().map(|(key, (expect, action))| Op { key, expect, action }).collect();
        let batch = Batch { version: self.port.random(), ops, durable: self.durable };
        Ok((self.port.commit(&batch).await?, self.wakes))
    }
}

/// Runs `body` until its commit is known to have happened, then sends its wakes.
pub async fn transact<T>(
    port: &dyn Port,
    mut body: impl AsyncFnMut(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (mut unsure, mut is_unsure) = (Vec::new(), false);
    let mut looked_anew = false;
    for tries in 1..=MAX_TRIES {
        let mut tx = Tx::new(port);
        let value = match body(&mut tx).await {
            // What a home remembers was read at different times: what it comes to is true once all is read anew.
            Err(Error::Refused(_)) if !std::mem::replace(&mut looked_anew, true) && port.forget_reads() => {
                continue;
            }
            value => value?,
        };
        let (outcome, wakes) = tx.commit().await?;
        match outcome {
            CommitOutcome::Committed => {
                unsure.extend(wakes);
                if is_unsure {
                    port.sync().await?;
                }
                if !unsure.is_empty() {
                    port.send(&unsure).await;
                }
                return Ok(value);
            }
            CommitOutcome::Conflict => {}
            // It may have happened, and the next run may then find nothing left to say, or to have on disk.
            CommitOutcome::Unknown => {
                is_unsure = true;
                unsure.extend(wakes);
            }
        }
        port.step_aside(tries).await;
    }
    Err(Error::Contended { tries: MAX_TRIES })
}

/// Reads one item outside any transaction.
pub async fn read<T: Item>(port: &dyn Port, key: &Key) -> Result<Option<T>, Error> {
    port.get(key).await?.map(|stored| decode(key, &stored)).transpose()
}

/// Reads many items outside any transaction, in the order of their keys.
pub async fn read_many<T: Item>(port: &dyn Port, keys: &[Key]) -> Result<Vec<Option<T>>, Error> {
    let found = port.get_many(keys).await?;
    let read = |(key, stored): (&Key, Option<Stored>)| stored.map(|stored| decode(key, &stored)).transpose();
    keys.iter().zip(found).map(read).collect()
}

/// Reads one item with its version, to reschedule it.
pub async fn read_stored<T: Item>(port: &dyn Port, key: &Key) -> Result<Option<(Version, T)>, Error> {
    let Some(stored) = port.get(key).await? else { return Ok(None) };
    Ok(Some((stored.version, decode(key, &stored)?)))
}

/// Reads a range outside any transaction: a hint.
pub async fn read_range<T: Item>(port: &dyn Port, range: &Range) -> Result<Vec<(Key, Stored, T)>, Error> {
    let rows = port.range(range).await?;
    let decode_row = |(sort, stored): (String, Stored)| {
        let key = Key::new(range.partition.clone(), sort);
        let item = decode(&key, &stored)?;
        Ok((key, stored, item))
    };
    rows.into_iter().map(decode_row).collect()
}

pub(crate) fn decode<T: Item>(key: &Key, stored: &Stored) -> Result<T, Error> {
    let damaged = |source: Cause| Error::Damaged { key: key.clone(), source };
    let item: T = serde_json::from_slice(&stored.value).map_err(|error| damaged(error.into()))?;
    let says = item.key();
    if says != *key {
        return Err(damaged(format!("it says that it is {says}").into()));
    }
    item.damage().map_or(Ok(item), |damage| Err(damaged(damage.into())))
}

/// Names a height, count or time that no yard reaches: for [`Item::damage`].
pub(crate) fn too_large(numbers: impl IntoIterator<Item = u64>) -> Option<String> {
    let largest = numbers.into_iter().max().filter(|largest| *largest > MAX_STORED)?;
    Some(format!("it says {largest}, and no height, count or time comes to that"))
}
