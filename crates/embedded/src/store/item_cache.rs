//! Items as the process that writes them last saw them, so that most reads ask no database.
//!
//! One process writes a yard's file, and its writer puts here what it has committed, before it answers whoever committed. A
//! read that finds nothing leaves a placeholder, asks the database and fills that in. What the writer puts here meanwhile
//! takes the placeholder's place, and then the reader's answer, which may be older, is not kept. So what is here is never
//! older than the last commit that was answered. That nothing is stored under a key is kept as well.

use std::time::Duration;

use proofyard_core::port::{Action, Batch, Key, Stored};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};

/// Of keys and values.
const MAX_BYTES: u64 = 32 << 20;
/// What an entry takes besides, about.
const ENTRY_BYTES: usize = 96;
/// An item of average size.
const ITEM_BYTES: u64 = 512;

pub(super) struct ItemCache {
    items: Cache<Key, Option<Stored>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Option<Stored>> for Bytes {
    fn weight(&self, key: &Key, stored: &Option<Stored>) -> u64 {
        let value = stored.as_ref().map_or(0, |stored| stored.value.len());
        (key.partition.len() + key.sort.len() + value + ENTRY_BYTES) as u64
    }
}

impl ItemCache {
    pub(super) fn new() -> Self {
        Self { items: Cache::with_weighter((MAX_BYTES / ITEM_BYTES) as usize, MAX_BYTES, Bytes) }
    }

    pub(super) fn known(&self, key: &Key) -> Option<Option<Stored>> {
        self.items.get(key)
    }

    /// What is stored under a key; `read` asks the database.
    pub(super) fn get<E>(
        &self,
        key: &Key,
        read: impl FnOnce() -> Result<Option<Stored>, E>,
    ) -> Result<Option<Stored>, E> {
        match self.items.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(stored) => Ok(stored),
            GuardResult::Guard(place) => {
                let stored = read()?;
                // Not kept if the writer was there first.
                let _ = place.insert(stored.clone());
                Ok(stored)
            }
            // Another reader fills it in.
            GuardResult::Timeout => read(),
        }
    }

    /// After a commit, before it is answered.
    pub(super) fn committed(&self, batch: &Batch) {
        for op in &batch.ops {
            let stored = match &op.action {
                Action::Put { value, .. } => Some(Stored { version: batch.version, value: value.clone() }),
                Action::Delete => None,
                Action::Check => continue,
            };
            // What is too large to be kept would leave a reader's placeholder, and with it an older answer.
            self.items.remove(&op.key);
            self.items.insert(op.key.clone(), stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use proofyard_core::port::{Expect, Op, PortError};

    use super::*;

    fn batch(version: u64, action: Action) -> Batch {
        Batch { version, ops: vec![Op { key: key(), expect: Expect::Any, action }], durable: false }
    }

    fn key() -> Key {
        Key::new("p", "s")
    }

    fn put(version: u64) -> Batch {
        batch(version, Action::Put { value: b"{}".to_vec(), due_ms: None })
    }

    fn stored(version: u64) -> Option<Stored> {
        Some(Stored { version, value: b"{}".to_vec() })
    }

    #[test]
    fn a_read_that_began_before_a_commit_does_not_hide_what_it_wrote() {
        let cache = ItemCache::new();
        let older = || {
            cache.committed(&put(2));
            Ok::<_, PortError>(stored(1))
        };
        assert_eq!(cache.get(&key(), older).unwrap(), stored(1), "as the database was when it was asked");
        assert_eq!(cache.known(&key()), Some(stored(2)));
        cache.committed(&batch(3, Action::Delete));
        assert_eq!(cache.known(&key()), Some(None));
        cache.committed(&batch(4, Action::Check));
        assert_eq!(cache.known(&key()), Some(None));
    }

    #[test]
    fn an_older_read_is_not_kept_in_place_of_what_is_too_large_to_be() {
        let cache = ItemCache::new();
        let older = || {
            let value = vec![b' '; MAX_BYTES as usize + 1];
            cache.committed(&batch(2, Action::Put { value, due_ms: None }));
            Ok::<_, PortError>(stored(1))
        };
        cache.get(&key(), older).unwrap();
        assert_eq!(cache.known(&key()), None);
    }

    #[test]
    fn what_was_read_is_kept_and_a_failed_read_is_not() {
        let cache = ItemCache::new();
        cache.get(&key(), || Err(PortError::Broken("no disk".into()))).unwrap_err();
        assert_eq!(cache.known(&key()), None);
        cache.get(&key(), || Ok::<_, PortError>(stored(1))).unwrap();
        assert_eq!(
            cache.get(&key(), || panic!("it is known")).map_err(|error: PortError| error).unwrap(),
            stored(1)
        );
    }
}
