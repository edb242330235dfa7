//! Crash points, for tests only: a process dies at a named commit of a handler, instead of at a random moment.
//!
//! A process that has `PROOFYARD_CRASH_AT=commit:2:before` in its environment kills itself, by SIGKILL, right before
//! the second batch of that kind is committed; with `after`, right after it was, before its wakes are sent. Without
//! the variable this costs one look at an empty option for each commit. The kind of a batch is recognised by the items that
//! it touches.

use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_core::port::{Action, Batch, Op};
use proofyard_core::state::KeyFamily::{
    self, BlocksTaken, Canonical, ChainState, CutAt, Frontier, Group, Heartbeat, KnownBlock, LevelPlace,
    Listing, LocalWorkers, Marker, OutEntry, OutState, PipelineText, Scope, SinkCursor, Slot, Task, Tip,
    Told, Worker,
};
use rustix::process::{Signal, getpid, kill_process};

use self::Touch::{Check, Delete, Put};

const VARIABLE: &str = "PROOFYARD_CRASH_AT";

/// What a batch of each kind touches at least; the first kind that fits is the batch's. Most operators' verbs have none.
const BOUNDARIES: &[(&str, &[Touch])] = &[
    ("pipeline", &[Put(PipelineText)]),
    ("feed", &[Put(BlocksTaken)]),
    ("reorg page", &[Put(ChainState), Put(Canonical)]),
    ("reorg page", &[Put(ChainState), Delete(Canonical)]),
    ("block", &[Put(KnownBlock)]),
    ("append", &[Put(Canonical)]),
    ("reorg", &[Put(ChainState), Put(Tip)]),
    ("void cuts", &[Put(ChainState), Delete(CutAt)]),
    ("reorg end", &[Put(ChainState)]),
    ("emit", &[Put(OutState)]),
    ("commit", &[Put(Frontier), Put(OutEntry)]),
    ("cut", &[Put(CutAt)]),
    ("open", &[Put(Frontier), Put(Scope)]),
    ("end", &[Put(Tip)]),
    ("tasks", &[Put(Group), Put(Task)]),
    ("decide", &[Put(Group)]),
    ("settle", &[Put(Scope)]),
    ("sink", &[Put(SinkCursor)]),
    ("block told", &[Put(LevelPlace), Put(Told)]),
    ("blocks settled", &[Put(LevelPlace)]),
    ("result", &[Put(Task), Delete(Marker)]),
    ("claim", &[Put(Task), Delete(Listing), Put(Slot)]),
    ("failure", &[Put(Task), Put(Worker)]),
    ("release", &[Put(Task), Put(Slot)]),
    ("loss", &[Put(Task), Delete(Slot)]),
    ("unlist", &[Put(Task), Delete(Listing)]),
    ("list again", &[Put(Task)]),
    ("worker", &[Put(Worker), Put(Heartbeat)]),
    ("heartbeat", &[Put(Heartbeat)]),
    ("expiry", &[Put(Worker), Check(Heartbeat)]),
    ("expired", &[Delete(Worker)]),
    ("local workers", &[Put(LocalWorkers)]),
];

/// What happens to an item of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Check(KeyFamily),
    Put(KeyFamily),
    Delete(KeyFamily),
}

/// The names of all kinds.
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
    /// How many batches of that kind are still to come, including the one to die at.
    left: AtomicU64,
}

impl CrashPoint {
    /// The crash point that the environment names; `None` if it names none, or cannot be parsed.
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

    /// Kills this process if this is the crash point.
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
    let touched: Vec<Touch> = batch.ops.iter().filter_map(touch).collect();
    let fits = |wanted: &&[Touch]| wanted.iter().all(|wanted| touched.contains(wanted));
    BOUNDARIES.iter().find(|(_, wanted)| fits(wanted)).map(|(name, _)| *name)
}

fn touch(op: &Op) -> Option<Touch> {
    let family = KeyFamily::of(&op.key)?;
    Some(match op.action {
        Action::Check => Check(family),
        Action::Put { .. } => Put(family),
        Action::Delete => Delete(family),
    })
}

#[cfg(test)]
mod tests {
    use proofyard_core::port::{Expect, Key};

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
