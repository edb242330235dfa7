//! Versioned items under (partition, sort) keys, in order.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::port::{Batch, Expect, Key, Range, Stored, Version};

#[derive(Clone, Debug)]
pub struct Row {
    pub version: Version,
    pub value: Rc<[u8]>,
    pub due_ms: Option<u64>,
}

impl Row {
    pub fn stored(&self) -> Stored {
        Stored { version: self.version, value: self.value.to_vec() }
    }
}

#[derive(Debug, Default)]
pub struct Items {
    partitions: BTreeMap<String, BTreeMap<String, Row>>,
}

impl Items {
    pub fn get(&self, key: &Key) -> Option<&Row> {
        self.partitions.get(&key.partition)?.get(&key.sort)
    }

    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Row> {
        self.partitions.get_mut(&key.partition)?.get_mut(&key.sort)
    }

    pub fn rows(&self) -> impl Iterator<Item = (&String, &String, &Row)> {
        self.partitions
            .iter()
            .flat_map(|(partition, rows)| rows.iter().map(move |(sort, row)| (partition, sort, row)))
    }

    /// The next few items of a range, after `after` if that is given: one chunk of what a handler reads.
    pub fn chunk(&self, range: &Range, after: Option<&str>, limit: usize) -> Vec<(String, Stored)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let Some(rows) = self.partitions.get(&range.partition) else { return Vec::new() };
        let mut low = Included(range.from.as_str());
        let mut high = range.to.as_deref().map_or(Unbounded, Excluded);
        match after {
            Some(after) if range.reverse => high = Excluded(after),
            Some(after) => low = Excluded(after),
            None => {}
        }
        let is_empty = match (low, high) {
            (Included(low), Excluded(high)) => low >= high,
            (Excluded(low), Excluded(high)) => low >= high,
            _ => false,
        };
        if is_empty {
            return Vec::new();
        }
        let read = |(sort, row): (&String, &Row)| (sort.clone(), row.stored());
        let rows = rows.range::<str, _>((low, high));
        if range.reverse {
            rows.rev().take(limit).map(read).collect()
        } else {
            rows.take(limit).map(read).collect()
        }
    }

    /// Whether every expectation holds.
    pub fn allows(&self, batch: &Batch) -> bool {
        batch.ops.iter().all(|op| match op.expect {
            Expect::Any => true,
            Expect::Absent => self.get(&op.key).is_none(),
            Expect::Version(version) => self.get(&op.key).is_some_and(|row| row.version == version),
        })
    }

    /// Puts an item there, or takes it away; answers what was there.
    pub fn write(&mut self, key: &Key, row: Option<Row>) -> Option<Row> {
        match row {
            Some(row) => {
                self.partitions.entry(key.partition.clone()).or_default().insert(key.sort.clone(), row)
            }
            None => {
                let rows = self.partitions.get_mut(&key.partition)?;
                let before = rows.remove(&key.sort);
                if rows.is_empty() {
                    self.partitions.remove(&key.partition);
                }
                before
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_chunk_by_chunk_in_both_directions() {
        let mut items = Items::default();
        for sort in ["a", "b", "c", "d"] {
            items.write(
                &Key::new("P", sort),
                Some(Row { version: 1, value: b"1".as_slice().into(), due_ms: None }),
            );
        }
        let sorts =
            |chunk: Vec<(String, Stored)>| chunk.into_iter().map(|(sort, _)| sort).collect::<String>();
        let mut range = Range { from: "a".into(), to: Some("d".into()), ..Range::all("P", 10) };
        assert_eq!(sorts(items.chunk(&range, None, 2)), "ab");
        assert_eq!(sorts(items.chunk(&range, Some("b"), 2)), "c");
        range.reverse = true;
        assert_eq!(sorts(items.chunk(&range, None, 2)), "cb");
        assert_eq!(sorts(items.chunk(&range, Some("b"), 2)), "a");
        assert_eq!(sorts(items.chunk(&range, Some("a"), 2)), "");
    }
}
