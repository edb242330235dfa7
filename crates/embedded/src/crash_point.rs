//! Crash points, for tests alone: dying at a named boundary of a handler, instead of somewhere.
//!
//! A process that has `PROOFYARD_CRASH_AT=commit:2:before` in its environment kills itself, by SIGKILL, right before
//! the second batch of that kind is committed; with `after`, right after it was, before its wakes are sent. Without
//! the variable this costs one look at an empty option for each commit. What kind a batch is shows in what it touches.

use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_core::port::{Action, Batch, Key, Op};
use rustix::process::{Signal, getpid, kill_process};

const VARIABLE: &str = "PROOFYARD_CRASH_AT";

/// What a batch of each kind touches at least. The first that fits names it; an operator's words have no name here.
const BOUNDARIES: &[(&str, &[&str])] = &[
    ("pipeline", &["put C/pipe"]),
    ("feed", &["put L/fed"]),
    ("reorg page", &["put C/chain", "put H/canonical"]),
    ("reorg page", &["put C/chain", "delete H/canonical"]),
    ("block", &["put H/known"]),
    ("append", &["put H/canonical"]),
    ("reorg", &["put C/chain", "put C/tip"]),
    ("void cuts", &["put C/chain", "delete K"]),
    ("reorg end", &["put C/chain"]),
    ("emit", &["put C/out"]),
    ("commit", &["put C/frontier", "put O"]),
    ("cut", &["put K"]),
    ("open", &["put C/frontier", "put S/scope"]),
    ("end", &["put C/tip"]),
    ("tasks", &["put S/g", "put T"]),
    ("decide", &["put S/g"]),
    ("settle", &["put S/scope"]),
    ("sink", &["put C/sink"]),
    ("result", &["put T", "delete M"]),
    ("claim", &["put T", "delete R", "put W/slot"]),
    ("failure", &["put T", "put W/w"]),
    ("release", &["put T", "put W/slot"]),
    ("loss", &["put T", "delete W/slot"]),
    ("unlist", &["put T", "delete R"]),
    ("list again", &["put T"]),
    ("worker", &["put W/w", "put W/hb"]),
    ("heartbeat", &["put W/hb"]),
    ("expiry", &["put W/w", "check W/hb"]),
    ("expired", &["delete W/w"]),
    ("local workers", &["put L/workers"]),
];

/// Every boundary that has a name.
pub fn boundaries() -> Vec<&'static str> {
    let mut names: Vec<_> = BOUNDARIES.iter().map(|(name, _)| *name).collect();
    names.dedup();
    names
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// Where this process dies.
pub(crate) struct CrashPoint {
    boundary: String,
    side: Side,
    /// How many of that kind are still to come, this one included.
    left: AtomicU64,
}

impl CrashPoint {
    /// What the environment asks for; nothing where it asks for nothing, or not in these words.
    pub fn from_environment() -> Option<Self> {
        Self::parse(&std::env::var(VARIABLE).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (boundary, time, side) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return None,
        };
        Some(Self { boundary: boundary.to_owned(), side, left: AtomicU64::new(time) })
    }

    /// Does not return if this is the place.
    pub fn pass(&self, batch: &Batch, side: Side) {
        if side != self.side || name_of(batch) != Some(self.boundary.as_str()) {
            return;
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

fn name_of(batch: &Batch) -> Option<&'static str> {
    let touched: Vec<String> = batch.ops.iter().map(touch).collect();
    let fits = |wanted: &&[&str]| wanted.iter().all(|wanted| touched.iter().any(|touch| touch == wanted));
    BOUNDARIES.iter().find(|(_, wanted)| fits(wanted)).map(|(name, _)| *name)
}

/// Such as "put C/frontier": what happens to an item, and of which kind it is.
fn touch(op: &Op) -> String {
    let what = match op.action {
        Action::Check => "check",
        Action::Put { .. } => "put",
        Action::Delete => "delete",
    };
    let Key { partition, sort } = &op.key;
    let table = before_mark(partition);
    match table {
        "C" | "S" | "W" | "L" => format!("{what} {table}/{}", before_mark(sort)),
        "H" if sort.contains('#') => format!("{what} H/known"),
        "H" => format!("{what} H/canonical"),
        _ => format!("{what} {table}"),
    }
}

fn before_mark(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proofyard_core::port::Expect;

    use super::*;

    fn batch(puts: &[(&str, &str)]) -> Batch {
        let put = |(partition, sort): &(&str, &str)| Op {
            key: Key::new(*partition, *sort),
            expect: Expect::Any,
            action: Action::Put { value: Vec::new(), due_ms: None },
        };
        Batch { version: 1, ops: puts.iter().map(put).collect(), durable: false }
    }

    #[test]
    fn a_batch_is_named_by_what_it_touches() {
        assert_eq!(name_of(&batch(&[("W#w", "hb")])), Some("heartbeat"));
        assert_eq!(name_of(&batch(&[("W#w", "hb"), ("W#w", "w")])), Some("worker"));
        assert_eq!(name_of(&batch(&[("H#c#0", "00001#0xab"), ("H#c#0", "00001")])), Some("block"));
        assert_eq!(
            name_of(&batch(&[("C#c", "frontier"), ("S#c:b:1", "scope"), ("O#c#join", "0")])),
            Some("commit")
        );
        assert_eq!(name_of(&batch(&[("C#c", "frontier")])), None);
    }

    #[test]
    fn it_counts_only_its_own_kind_and_side() {
        let point = CrashPoint::parse("heartbeat:3:after").unwrap();
        point.pass(&batch(&[("W#w", "hb")]), Side::Before);
        point.pass(&batch(&[("C#c", "tip")]), Side::After);
        point.pass(&batch(&[("W#w", "hb")]), Side::After);
        assert_eq!(point.left.load(Ordering::Relaxed), 2);
        assert!(CrashPoint::parse("heartbeat:x:after").is_none() && CrashPoint::parse("heartbeat").is_none());
    }
}
