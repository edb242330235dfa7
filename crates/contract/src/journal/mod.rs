//! What an account has sent, kept in one of two homes.
//!
//! It is written, and durable, before a node hears of a transaction. In a folder it is a file for each account of a chain, and
//! whoever reads it to write it holds its lock. Elsewhere it is [`Pages`] under a version: nobody holds it, and whoever finds at
//! writing that somebody else has written begins anew, so that what was signed for a nonce in between is never sent. Either way
//! several sinks may have one account. What is at its end is kept without its bytes: a message that comes again is known by it. A
//! file keeps the newest of each sink. Pages keep all that blocks have taken, each found by its message's name alone: a look
//! reads what is under way, and at most one that is at its end, however many there are.

mod held;
mod pages;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Selector};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub(crate) use self::held::Held;
pub use self::held::Journals;
pub use self::pages::{Change, Page, Pages, Written};

/// Messages at their end that a file remembers, of each sink.
const REMEMBERED: usize = 1_024;
/// More cannot wait: nodes keep few of one account.
pub(crate) const MAX_OPEN: usize = 64;

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
    /// Since when every node has refused it, and none has had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub since_ms: u64,
    pub since_height: u64,
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
        self.sent.iter().find(|sent| sent.sink == sink && self.is_undone(sent))
    }

    fn is_undone(&self, sent: &Sent) -> bool {
        let is_later =
            |other: &Sent| other.sink == sent.sink && other.key == sent.key && other.nonce > sent.nonce;
        // A task that came to nothing is worked on anew.
        let is_entry = sent.made_of.is_none();
        is_entry && sent.has_counted && sent.came_to_nothing() && !self.sent.iter().any(is_later)
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

    fn forget_bytes(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.ended.is_some()) {
            sent.tries.iter_mut().for_each(|each| each.raw.clear());
        }
    }

    /// All but the newest of each sink.
    fn forget(&mut self) {
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
    fn name(&self) -> Name<'_> {
        Name { sink: &self.sink, key: &self.key, to: self.to, selector: self.selector }
    }

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
