//! A journal on pages: the home that keeps it so, and what stands on each.
//!
//! What is under way is on open pages, a transaction's bytes apart from it; what blocks have taken is on a finished page each,
//! found by its message's name alone.

use std::collections::BTreeMap;
use std::fmt::Debug;

use alloy_primitives::keccak256;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::json;

use super::{Ended, Journal, Name, Sent};
use crate::Failure;
use crate::gaps::FILLER;

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
/// Entries on pages that were said to be done and that a deep reorg has undone, of each sink: the first ones, since `--again`
/// sends one and all that follow.
const REMEMBERED_UNDONE: usize = 64;

/// A transaction's bytes have a page of their own: a store's item may not hold those of several tries.
const RAW: &str = "raw-";
const SENT: &str = "sent-";
const GAP: &str = "gap";

impl Journal {
    /// Of the open ones.
    pub(super) fn of_pages(pages: &BTreeMap<Page, String>) -> Result<Self, serde_json::Error> {
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

    pub(super) fn to_pages(&self) -> Result<BTreeMap<Page, String>, Failure> {
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

impl Name<'_> {
    /// Under which it is found once it is at its end.
    pub(super) fn page(&self) -> String {
        let Self { sink, key, to, selector } = self;
        keccak256(json!([sink, key, to, selector]).to_string()).to_string()
    }
}

impl Sent {
    fn open_page(&self) -> Page {
        let first = self.tries.first().map(|first| first.hash).unwrap_or_default();
        Page::Open(format!("{SENT}{:020}-{first}", self.nonce))
    }
}

/// What is new and other first, so that no page is named that is not there; as much at once as one write may hold.
pub(super) fn writes(before: &BTreeMap<Page, String>, now: &BTreeMap<Page, String>) -> Vec<Vec<Change>> {
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

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Selector};
    use serde_json::Map;

    use super::super::{Fees, Gap, MadeOf, Try};
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
