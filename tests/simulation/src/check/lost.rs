//! Promise 7, what the outside was told is on disk: what a power loss takes back, nobody was told of.

use super::Sight;
use super::mirror::{Item, Seen};

/// `lost` leads from what was written to what is on disk.
pub fn check(sight: &Sight<'_>, lost: &[Seen]) {
    for seen in lost {
        let told = match (seen.before.as_deref(), seen.after.as_deref()) {
            (Some(Item::Out(_)), _) => Some("an entry of the out log"),
            (Some(Item::Frontier(was)), Some(Item::Frontier(is))) if was.height != is.height => {
                Some("a commit")
            }
            (Some(Item::Frontier(was)), Some(Item::Frontier(is))) if was.window != is.window => {
                Some("an operator's window")
            }
            (Some(Item::Sink(was)), is) if was.next_sequence > 0 => {
                let kept = matches!(is, Some(Item::Sink(is)) if is.next_sequence == was.next_sequence);
                (!kept).then_some("a hand-on")
            }
            (Some(Item::Chain(was)), Some(Item::Chain(is))) => {
                let kept = (was.paused, &was.halted, was.epoch, &was.pipeline)
                    == (is.paused, &is.halted, is.epoch, &is.pipeline);
                (!kept).then_some("a word of an operator, a halt or a reorg")
            }
            (Some(Item::Known(_)), None) => Some("a block"),
            _ => None,
        };
        sight.must(told.is_none(), || {
            format!("{} was lost with the power, after it was told: {}", told.unwrap_or_default(), seen.key)
        });
    }
}
