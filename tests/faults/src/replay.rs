//! What an out log says: proofs and retracts, taken in order, leave a chain.

use proofyard_core::state::{OutEntry, OutKind};

/// One proof that stands: its heights, and the hash of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub from: u64,
    pub to: u64,
    pub hash: String,
}

/// What stands at the end; panics at a gap, a repeat that differs, or a retract of anything but the end.
pub fn replay(entries: &[OutEntry], start_height: u64) -> Vec<Standing> {
    let mut standing: Vec<Standing> = Vec::new();
    let next_height = |standing: &[Standing]| standing.last().map_or(start_height, |last| last.to + 1);
    let mut last: Option<&OutEntry> = None;
    for entry in entries {
        if last.is_some_and(|last| last == entry) {
            continue;
        }
        assert_eq!(entry.sequence, last.map_or(0, |last| last.sequence + 1), "{entry:?} follows {last:?}");
        last = Some(entry);
        match &entry.kind {
            OutKind::Proof { from, to, hash, .. } => {
                assert_eq!(*from, next_height(&standing), "{entry:?} is out of order");
                standing.push(Standing { from: *from, to: *to, hash: hash.to_string() });
            }
            OutKind::Retract { from, to } => {
                assert_eq!(*to + 1, next_height(&standing), "{entry:?} retracts what was not handed on");
                standing.retain(|proof| proof.to < *from);
                assert_eq!(*from, next_height(&standing), "{entry:?} retracts a part of a proof");
            }
        }
    }
    standing
}
