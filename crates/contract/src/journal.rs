//! What an account has sent, kept in one of two homes.
//!
//! It is written, and durable, before a node hears of a transaction. In a folder it is a file for each account of a chain, and
//! whoever reads it to write it holds its lock. Elsewhere it is [`Pages`] under a version: nobody holds it, and whoever finds at
//! writing that somebody else has written begins anew, so that what was signed for a nonce in between is never sent. Either way
//! several sinks may have one account. What is at its end is kept without its bytes: a message that comes again is known by it. A
//! file keeps the newest of each sink. Pages keep all that blocks have taken, each found by its message's name alone: a look
//! reads what is under way, and at most one that is at its end, however many there are.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Selector, keccak256};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::gaps::FILLER;
use crate::{Failure, Place, Surroundings};

/// Where journals are kept.
#[derive(Clone, Debug)]
pub enum Journals {
    /// A folder that all share whose accounts may be the same.
    Folder(PathBuf),
    /// A home that has no locks.
    Pages(Arc<dyn Pages>),
}

/// A home of journals that has no locks. An account's pages are texts.
pub trait Pages: Debug + Send + Sync {
    /// All open pages of an account, as they are now, and its version from before they were read.
    fn read<'a>(&'a self, account: &'a str) -> LocalBoxFuture<'a, Result<Written, String>>;

    /// The finished page of this name as it is now, where there is one.
    fn finished<'a>(
        &'a self,
        account: &'a str,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<String>, String>>;

    /// Writes all of these pages or none, and only if the account's version is still this one; `None` is a page that goes.
    /// Durable once it returns. `None`: somebody else has written, or it is not known whether this was written.
    fn write<'a>(
        &'a self,
        account: &'a str,
        version: Option<u64>,
        changes: &'a [Change],
    ) -> LocalBoxFuture<'a, Result<Option<u64>, String>>;
}

/// A page's name, of at most 100 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// Of what is under way: all are read at once.
    Open(String),
    /// Of what is at its end: each is read by itself, and none goes.
    Finished(String),
}

/// A page, and its text.
pub type Change = (Page, Option<String>);

/// What is written of an account: its open pages, and those finished ones that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Of the last write; `None` where nothing was written yet.
    pub version: Option<u64>,
    pub pages: BTreeMap<Page, String>,
}

/// What one write may hold: more than one look at a chain changes, but for that of an account that was left alone for long.
const PAGES_A_WRITE: usize = 50;
const BYTES_A_WRITE: usize = 2 << 20;

/// Messages at their end that a file remembers, of each sink.
const REMEMBERED: usize = 1_024;
/// Entries on pages that were said to be done and that a deep reorg has undone, of each sink: the first ones, since `--again`
/// sends one and all that follow.
const REMEMBERED_UNDONE: usize = 64;
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

/// An account's journal, from its reading to its writing.
pub(crate) struct Held {
    pub journal: Journal,
    home: Home,
}

enum Home {
    /// With the lock on it.
    File {
        path: PathBuf,
        written: Journal,
        _lock: File,
    },
    Pages {
        pages: Arc<dyn Pages>,
        account: String,
        written: Written,
    },
}

impl Held {
    /// With all that is under way, and what there is of this message. Where there are locks, waits until nobody else has it.
    pub async fn open(
        place: &Place,
        chain_id: u64,
        account: Address,
        message: Name<'_>,
        surroundings: &impl Surroundings,
    ) -> Result<Self, Failure> {
        let account = format!("{chain_id}-{account}");
        match &place.journals {
            Journals::Folder(folder) => Self::of_file(folder, &account, surroundings).await,
            Journals::Pages(pages) => Self::of_pages(Arc::clone(pages), account, message).await,
        }
    }

    async fn of_pages(pages: Arc<dyn Pages>, account: String, message: Name<'_>) -> Result<Self, Failure> {
        let failed = |error| unreadable(&format!("the journal of {account}"), error);
        let mut written = pages.read(&account).await.map_err(Failure::later)?;
        let mut journal = Journal::of_pages(&written.pages).map_err(failed)?;
        if journal.of(message).is_none() {
            let name = message.page();
            // After the open ones: what is at its end meanwhile is found here.
            if let Some(text) = pages.finished(&account, &name).await.map_err(Failure::later)? {
                journal.insert(serde_json::from_str(&text).map_err(failed)?);
                written.pages.insert(Page::Finished(name), text);
            }
        }
        Ok(Self { journal, home: Home::Pages { pages, account, written } })
    }

    async fn of_file(folder: &Path, name: &str, surroundings: &impl Surroundings) -> Result<Self, Failure> {
        let path = folder.join(format!("{name}.json"));
        let failed = |error: io::Error| Failure::later(format!("{}: {error}", path.display()));
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(failed)?;
            // Of a folder that a power loss takes away, nothing in it is durable.
            let parent = folder.parent().unwrap_or(Path::new("."));
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
                    return Err(Failure::later(format!("{name} is in use by another sink")));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let journal = match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| unreadable(&path.display().to_string(), error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Journal::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { home: Home::File { written: journal.clone(), path, _lock: lock }, journal })
    }

    /// Nobody else of the yard reads it until this is dropped.
    pub fn is_locked(&self) -> bool {
        matches!(self.home, Home::File { .. })
    }

    /// Of what was last read or written, where nobody has a lock.
    pub fn version(&self) -> Option<u64> {
        match &self.home {
            Home::File { .. } => None,
            Home::Pages { written, .. } => written.version,
        }
    }

    /// Durable once it returns.
    pub async fn write(&mut self) -> Result<(), Failure> {
        self.journal.forget_bytes();
        match &mut self.home {
            Home::File { path, written, .. } => {
                self.journal.forget();
                if self.journal != *written {
                    let replaced = replace(path, &self.journal);
                    replaced.map_err(|error| Failure::later(format!("{}: {error}", path.display())))?;
                    *written = self.journal.clone();
                }
                Ok(())
            }
            Home::Pages { pages, account, written } => {
                let now = self.journal.to_pages()?;
                for changes in writes(&written.pages, &now) {
                    let version = pages.write(account, written.version, &changes).await;
                    // Whoever wrote first has a reason: all is looked at anew.
                    let Some(version) = version.map_err(Failure::later)? else { return Err(Failure::Again) };
                    written.version = Some(version);
                }
                written.pages = now;
                Ok(())
            }
        }
    }
}

fn unreadable(what: &str, error: serde_json::Error) -> Failure {
    Failure::Refused(format!("{what} cannot be read, and says which transactions were sent: {error}"))
}

fn replace(path: &Path, journal: &Journal) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(journal)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// What is new and other first, so that no page is named that is not there; as much at once as one write may hold.
fn writes(before: &BTreeMap<Page, String>, now: &BTreeMap<Page, String>) -> Vec<Vec<Change>> {
    let puts = now.iter().filter(|(page, text)| before.get(*page) != Some(text));
    let puts = puts.map(|(page, text)| (page.clone(), Some(text.clone())));
    let gone = before.keys().filter(|page| !now.contains_key(*page)).map(|page| (page.clone(), None));
    let (mut writes, mut bytes) = (Vec::<Vec<Change>>::new(), 0);
    for change in puts.chain(gone) {
        let its_bytes = change.1.as_ref().map_or(0, String::len);
        match writes.last_mut() {
            Some(last) if last.len() < PAGES_A_WRITE && bytes + its_bytes <= BYTES_A_WRITE => {
                bytes += its_bytes;
                last.push(change);
            }
            _ => {
                bytes = its_bytes;
                writes.push(vec![change]);
            }
        }
    }
    writes
}

/// A transaction's bytes have a page of their own: a store's item may not hold those of several tries.
const RAW: &str = "raw-";
const SENT: &str = "sent-";
const GAP: &str = "gap";

impl Journal {
    /// Of the open ones.
    fn of_pages(pages: &BTreeMap<Page, String>) -> Result<Self, serde_json::Error> {
        let mut sent = Vec::new();
        let is_sent = |page: &Page| matches!(page, Page::Open(name) if name.starts_with(SENT));
        // Their names have them by nonce.
        for (_, text) in pages.iter().filter(|(page, _)| is_sent(page)) {
            let mut read: Sent = serde_json::from_str(text)?;
            for each in &mut read.tries {
                let raw = Page::Open(format!("{RAW}{}", each.hash));
                each.raw = pages.get(&raw).cloned().unwrap_or_default();
            }
            sent.push(read);
        }
        let gap = pages.get(&Page::Open(GAP.to_owned()));
        let gap = gap.map(|text| serde_json::from_str(text)).transpose()?;
        Ok(Self { sent, gap })
    }

    fn to_pages(&self) -> Result<BTreeMap<Page, String>, Failure> {
        let mut pages = BTreeMap::new();
        let mut undone: BTreeMap<&str, usize> = BTreeMap::new();
        for sent in &self.sent {
            let page = match sent.ended {
                None => sent.open_page(),
                // Nobody asks for what fills a nonce.
                Some(Ended::Included) if sent.sink != FILLER => Page::Finished(sent.name().page()),
                Some(_) if self.is_undone(sent) => {
                    let before = undone.entry(&sent.sink).or_default();
                    *before += 1;
                    if *before > REMEMBERED_UNDONE {
                        continue;
                    }
                    sent.open_page()
                }
                // It came to nothing, and may be sent anew as if it had never been.
                Some(_) => continue,
            };
            let mut without = sent.clone();
            for each in &mut without.tries {
                let raw = std::mem::take(&mut each.raw);
                if !raw.is_empty() {
                    pages.insert(Page::Open(format!("{RAW}{}", each.hash)), raw);
                }
            }
            pages.insert(page, text_of(&without)?);
        }
        if let Some(gap) = &self.gap {
            pages.insert(Page::Open(GAP.to_owned()), text_of(gap)?);
        }
        Ok(pages)
    }
}

fn text_of(written: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(written).map_err(|error| Failure::later(format!("the journal: {error}")))
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

impl Name<'_> {
    /// Under which it is found once it is at its end.
    fn page(&self) -> String {
        let Self { sink, key, to, selector } = self;
        keccak256(json!([sink, key, to, selector]).to_string()).to_string()
    }
}

impl Sent {
    fn name(&self) -> Name<'_> {
        Name { sink: &self.sink, key: &self.key, to: self.to, selector: self.selector }
    }

    fn open_page(&self) -> Page {
        let first = self.tries.first().map(|first| first.hash).unwrap_or_default();
        Page::Open(format!("{SENT}{:020}-{first}", self.nonce))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(nonce: u64, raws: &[&str]) -> Sent {
        let tries = raws.iter().enumerate().map(|(number, raw)| Try {
            hash: B256::with_last_byte((nonce * 16) as u8 + number as u8),
            raw: (*raw).to_owned(),
            max_fee_wei: 1,
            priority_fee_wei: 1,
            at_ms: 1,
            at_height: 1,
        });
        Sent {
            sink: "l1".to_owned(),
            key: format!("c/commits/{nonce}"),
            nonce,
            to: Address::ZERO,
            selector: Selector::ZERO,
            fees: Fees { max_fee_gwei: None, replace_after_ms: 1 },
            has_counted: false,
            tries: tries.collect(),
            included: None,
            ended: None,
            made_of: None,
            refused: None,
        }
    }

    #[test]
    fn a_journal_is_read_from_its_pages_as_it_was_written() {
        let gap = Some(Gap { nonce: 1, since_ms: 5, since_height: 7 });
        let sent = vec![sent(2, &["0xaa", "0xbb"]), sent(3, &[""]), sent(10, &["0xcc"])];
        let journal = Journal { sent, gap };
        let pages = journal.to_pages().unwrap();
        let is_raw = |page: &&Page| matches!(page, Page::Open(name) if name.starts_with(RAW));
        assert_eq!(pages.keys().filter(is_raw).count(), 3, "{pages:?}");
        assert!(pages.values().filter(|text| text.starts_with('{')).all(|text| !text.contains("0xaa")));
        assert_eq!(Journal::of_pages(&pages).unwrap(), journal);
    }

    #[test]
    fn what_is_at_its_end_is_on_a_page_of_its_own_or_on_none() {
        let ended =
            |nonce, ended, has_counted| Sent { ended: Some(ended), has_counted, ..sent(nonce, &[""]) };
        let filler = Sent { sink: FILLER.to_owned(), ..ended(1, Ended::Included, false) };
        let done = ended(2, Ended::Included, true);
        let again = Sent { key: "c/commits/4".to_owned(), ..sent(9, &["0xaa"]) };
        let all = vec![
            filler,
            done.clone(),
            ended(3, Ended::Reverted, false),
            ended(4, Ended::Overtaken, true),
            ended(5, Ended::Reverted, true),
            again,
        ];
        let pages = Journal { sent: all, gap: None }.to_pages().unwrap();
        let finished: Vec<_> = pages.iter().filter(|(page, _)| matches!(page, Page::Finished(_))).collect();
        assert_eq!(finished, [(&Page::Finished(done.name().page()), &text_of(&done).unwrap())]);
        // What was undone is open until it is made anew.
        let open: Vec<u64> = Journal::of_pages(&pages).unwrap().sent.iter().map(|sent| sent.nonce).collect();
        assert_eq!(open, [5, 9]);
    }

    #[test]
    fn of_what_a_deep_reorg_has_undone_the_first_entries_of_each_sink_are_kept() {
        let undone = |nonce: u64, sink: &str| Sent {
            sink: sink.to_owned(),
            key: format!("c/commits/{nonce}"),
            has_counted: true,
            ended: Some(Ended::Reverted),
            ..sent(nonce, &[""])
        };
        let task =
            Sent { made_of: Some(MadeOf { arguments: Vec::new(), reads: Map::new() }), ..undone(1, "stage") };
        let others = (0..300).map(|nonce| undone(nonce + 2, if nonce % 2 == 0 { "l1" } else { "l2" }));
        let all = std::iter::once(task).chain(others).collect();
        let kept = Journal::of_pages(&Journal { sent: all, gap: None }.to_pages().unwrap()).unwrap().sent;
        assert_eq!(kept.iter().filter(|sent| sent.sink == "l2").count(), REMEMBERED_UNDONE);
        assert_eq!(kept.iter().map(|sent| sent.nonce).collect::<Vec<_>>(), (2..130).collect::<Vec<_>>());
    }

    #[test]
    fn no_two_messages_have_one_finished_page() {
        let name = Name { sink: "l1", key: "c/commits/1", to: Address::ZERO, selector: Selector::ZERO };
        let others = [
            Name { sink: "l", key: "1c/commits/1", ..name },
            Name { sink: "l2", ..name },
            Name { to: Address::with_last_byte(1), ..name },
            Name { selector: Selector::from([0, 0, 0, 1]), ..name },
        ];
        assert!(others.iter().all(|other| other.page() != name.page()));
        assert!(name.page().len() <= 100);
    }

    #[test]
    fn a_write_holds_no_more_than_it_may_and_what_is_new_comes_first() {
        let large = "0".repeat(BYTES_A_WRITE / 2);
        let page = |name: u32| Page::Open(format!("{name:03}"));
        let pages = |names: std::ops::Range<u32>, text: &str| -> BTreeMap<Page, String> {
            names.map(|name| (page(name), text.to_owned())).collect()
        };
        assert_eq!(writes(&pages(0..3, "same"), &pages(0..3, "same")), Vec::<Vec<Change>>::new());
        let written = writes(&pages(0..70, "old"), &pages(60..120, "new"));
        assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20]);
        let changes = written.concat();
        assert!(changes[..60].iter().all(|(_, text)| text.as_deref() == Some("new")));
        assert!(changes[60..].iter().all(|(name, text)| text.is_none() && *name < page(60)));
        let written = writes(&BTreeMap::new(), &pages(0..5, &large));
        assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
