//! Rows of many heights at once: which blocks are canonical there, and which are known.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::port::Key;
use crate::state::{BlockHash, Canonical, ChainName, KeyFamily, KnownBlock};
use crate::transaction::decode;
use crate::yard::Yard;

/// Heights that are read at once.
pub(crate) const HEIGHTS_A_READ: u64 = 256;
/// Rows of them at most: what is more is read by key.
const ROWS_A_READ: usize = 1_024;

/// Rows of a page of heights.
#[derive(Default)]
pub(crate) struct HeightRows {
    pub heights: std::ops::Range<u64>,
    pub canonical: BTreeMap<u64, Canonical>,
    pub known: BTreeMap<(u64, BlockHash), KnownBlock>,
}

impl Yard {
    /// What a range shows of the heights from `top` down. What it lacks must be read by its key; what it has was true
    /// after whatever this transaction checked before.
    pub(crate) async fn height_rows(
        &self,
        chain: &ChainName,
        top: u64,
        lowest: u64,
        heights: u64,
    ) -> Result<HeightRows, Error> {
        let from = lowest.max((top + 1).saturating_sub(heights)).max(Canonical::first_of_partition(top));
        let range = Canonical::rows(chain, from, top, ROWS_A_READ);
        let mut rows = HeightRows { heights: from..top + 1, ..HeightRows::default() };
        for (sort, stored) in self.port.range(&range).await? {
            let key = Key::new(range.partition.clone(), sort);
            if KeyFamily::of(&key) == Some(KeyFamily::KnownBlock) {
                let known: KnownBlock = decode(&key, &stored)?;
                rows.known.insert((known.height, known.hash.clone()), known);
            } else {
                let canonical: Canonical = decode(&key, &stored)?;
                rows.canonical.insert(canonical.height, canonical);
            }
        }
        Ok(rows)
    }
}
