//! Reading in pages: a range, what is due, or items by their keys, of which there may be more than one read takes.
//!
//! A page that is full is followed by one that begins after its last key; one that is not is the last. So each page is one
//! round, and what lies behind a full one costs another, which may bring nothing.

use std::marker::PhantomData;

use crate::error::Error;
use crate::port::{Due, Key, Port, Range, Stored};
use crate::transaction::{Item, KEYS_A_READ, read_many, read_range};
use crate::yard::Yard;

/// Rows of a range, with their keys and versions, in its order.
pub(crate) type Rows<T> = Vec<(Key, Stored, T)>;

/// The pages of a range, in ascending order; its limit is a page's size.
pub(crate) struct Pages<T> {
    range: Range,
    is_over: bool,
    of: PhantomData<T>,
}

impl<T: Item> Pages<T> {
    pub(crate) fn of(range: Range) -> Self {
        Self { range, is_over: false, of: PhantomData }
    }

    /// The next page, which may be empty; `None` after the last.
    pub(crate) async fn next(&mut self, port: &dyn Port) -> Result<Option<Rows<T>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let page = read_range::<T>(port, &self.range).await?;
        match page.last() {
            Some((last, _, _)) if page.len() == self.range.limit => self.range.from = just_after(&last.sort),
            _ => self.is_over = true,
        }
        Ok(Some(page))
    }

    /// The same, of a page of at most so many.
    pub(crate) async fn next_of(&mut self, port: &dyn Port, limit: usize) -> Result<Option<Rows<T>>, Error> {
        self.range.limit = limit;
        self.next(port).await
    }

    /// Whether the last page was full, so that there may be more.
    pub(crate) fn has_more(&self) -> bool {
        !self.is_over
    }
}

/// The first sort key after this one.
fn just_after(sort: &str) -> String {
    format!("{sort}\u{0}")
}

/// Items that are read by key, a page at a time, each with what its key was made of.
pub(crate) struct KeyPages<'a, W, K> {
    left: &'a [W],
    key_of: K,
}

impl<'a, W, K: Fn(&W) -> Key> KeyPages<'a, W, K> {
    pub(crate) fn of(all: &'a [W], key_of: K) -> Self {
        Self { left: all, key_of }
    }

    /// The next ones, each with its item, if that is there; `None` after the last.
    pub(crate) async fn next<T: Item>(
        &mut self,
        port: &dyn Port,
    ) -> Result<Option<Vec<(&'a W, Option<T>)>>, Error> {
        let Some((page, keys)) = self.next_keys() else { return Ok(None) };
        let items = read_many::<T>(port, &keys).await?;
        Ok(Some(page.iter().zip(items).collect()))
    }

    /// The same, of items of several types.
    pub(crate) async fn next_stored(
        &mut self,
        port: &dyn Port,
    ) -> Result<Option<Vec<(&'a W, Key, Option<Stored>)>>, Error> {
        let Some((page, keys)) = self.next_keys() else { return Ok(None) };
        let found = port.get_many(&keys).await?;
        Ok(Some(page.iter().zip(keys).zip(found).map(|((one, key), stored)| (one, key, stored)).collect()))
    }

    fn next_keys(&mut self) -> Option<(&'a [W], Vec<Key>)> {
        let (page, left) = self.left.split_at(self.left.len().min(KEYS_A_READ));
        self.left = left;
        (!page.is_empty()).then(|| (page, page.iter().map(&self.key_of).collect()))
    }
}

/// Heights that are read at once.
pub(crate) fn height_pages(heights: std::ops::Range<u64>) -> impl Iterator<Item = std::ops::Range<u64>> {
    let to = heights.end;
    heights.step_by(KEYS_A_READ).map(move |from| from..to.min(from + KEYS_A_READ as u64))
}

/// The pages of one shard of the due index, soonest first.
pub(crate) struct DuePages {
    shard: u8,
    until_ms: u64,
    after: Option<Due>,
}

impl DuePages {
    /// All that is ever due.
    pub(crate) fn all(shard: u8) -> Self {
        Self { shard, until_ms: u64::MAX, after: None }
    }

    /// What is due by then, and follows an entry of an earlier page.
    pub(crate) fn until(shard: u8, until_ms: u64, after: Option<Due>) -> Self {
        Self { shard, until_ms, after }
    }

    /// The next entries; `None` where there are none.
    pub(crate) async fn next(&mut self, yard: &Yard) -> Result<Option<Vec<Due>>, Error> {
        let page = yard.due_page(self.shard, self.after.as_ref(), self.until_ms).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.clone());
        Ok(Some(page))
    }
}
