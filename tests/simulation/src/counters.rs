//! Counts of what happened: faults by kind, branches of handlers, checks made. Printed at the end; a long run fails if an
//! expected kind never happened.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    counts: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub fn add(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// Those whose name begins with `prefix`, without it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        self.counts.iter().filter_map(move |(name, count)| Some((name.strip_prefix(prefix)?, *count)))
    }
}
