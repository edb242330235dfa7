//! A view: what one caller has read, so that a home whose reads are far away reads nothing twice.
//!
//! Everything in a view was true at its caller's own last commit, or later. That is all that advancing asks of a read:
//! of two who each record one of the facts that a step needs, the later one looks after both are there. So a commit
//! leaves in the view only what it wrote or checked itself, and one that did not happen, or of which nobody knows,
//! leaves nothing. Ranges are read anew each time: they show what others have done.

use std::collections::BTreeMap;

use crate::port::{Action, Batch, CommitOutcome, Expect, Key, PortError, Stored};

/// Items by key; `None` where nothing is stored. Bounded by what one caller reads between two commits.
#[derive(Debug, Default)]
pub struct View {
    items: BTreeMap<Key, Option<Stored>>,
}

impl View {
    /// What is known of a key; `None` if it must be read.
    pub fn known(&self, key: &Key) -> Option<Option<Stored>> {
        self.items.get(key).cloned()
    }

    /// What a read that began after the last commit found.
    pub fn learn(&mut self, key: &Key, stored: Option<Stored>) {
        self.items.insert(key.clone(), stored);
    }

    /// Everything is read again from here on. Says whether anything was known.
    pub fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.items).is_empty()
    }

    /// After a commit, however it ended.
    pub fn committed(&mut self, batch: &Batch, outcome: &Result<CommitOutcome, PortError>) {
        let mut seen = std::mem::take(&mut self.items);
        if !matches!(outcome, Ok(CommitOutcome::Committed)) {
            return;
        }
        for op in &batch.ops {
            let stored = match (&op.action, op.expect) {
                (Action::Put { value, .. }, _) => {
                    Some(Stored { version: batch.version, value: value.clone() })
                }
                (Action::Delete, _) | (Action::Check, Expect::Absent) => None,
                (Action::Check, Expect::Any) => continue,
                (Action::Check, Expect::Version(version)) => match seen.remove(&op.key) {
                    Some(Some(stored)) if stored.version == version => Some(stored),
                    _ => continue,
                },
            };
            self.items.insert(op.key.clone(), stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Op;

    fn key(name: &str) -> Key {
        Key::new("p", name)
    }

    fn stored(version: u64) -> Option<Stored> {
        Some(Stored { version, value: version.to_string().into_bytes() })
    }

    fn view() -> View {
        let mut view = View::default();
        view.learn(&key("checked"), stored(1));
        view.learn(&key("written"), stored(2));
        view.learn(&key("only read"), stored(3));
        view
    }

    fn batch() -> Batch {
        let op = |name: &str, expect, action| Op { key: key(name), expect, action };
        let put = |value: &str| Action::Put { value: value.into(), due_ms: None };
        let ops = vec![
            op("checked", Expect::Version(1), Action::Check),
            op("written", Expect::Version(2), put("new")),
            op("not there", Expect::Absent, Action::Check),
            op("deleted", Expect::Any, Action::Delete),
        ];
        Batch { version: 9, ops, durable: false }
    }

    #[test]
    fn a_commit_leaves_what_it_vouches_for() {
        let mut view = view();
        view.committed(&batch(), &Ok(CommitOutcome::Committed));
        assert_eq!(view.known(&key("checked")), Some(stored(1)));
        assert_eq!(view.known(&key("written")), Some(Some(Stored { version: 9, value: b"new".to_vec() })));
        assert_eq!(view.known(&key("not there")), Some(None));
        assert_eq!(view.known(&key("deleted")), Some(None));
        assert_eq!(view.known(&key("only read")), None);
    }

    #[test]
    fn what_did_not_happen_for_certain_leaves_nothing() {
        let unavailable = Err(PortError::Unavailable("throttled".into()));
        for outcome in [Ok(CommitOutcome::Conflict), Ok(CommitOutcome::Unknown), unavailable] {
            let mut view = view();
            view.committed(&batch(), &outcome);
            for name in ["checked", "written", "only read"] {
                assert_eq!(view.known(&key(name)), None, "{outcome:?}");
            }
        }
    }
}
