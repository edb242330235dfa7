//! Promise 7, what the outside was told is on disk: what a power loss takes back, nobody was told of.

use proofyard_core::state::ChainState;

use super::Sight;
use super::mirror::{Item, Seen};

/// `lost` leads from what was written to what is on disk.
pub fn check(sight: &Sight<'_>, lost: &[Seen]) {
    for seen in lost {
        let told = told(seen.before.as_deref(), seen.after.as_deref());
        sight.must(told.is_none(), || {
            format!("{} was lost with the power, after it was told: {}", told.unwrap_or_default(), seen.key)
        });
    }
}

/// What the outside hears of, of an item that was written so and is on disk as it was before.
pub fn told(written: Option<&Item>, on_disk: Option<&Item>) -> Option<&'static str> {
    match (written, on_disk) {
        (Some(Item::Out(_)), _) => Some("an entry of the out log"),
        (Some(Item::Known(_)), None) => Some("a block"),
        (Some(Item::Halt(_)), None) => Some("a halt"),
        (Some(Item::Frontier(is)), Some(Item::Frontier(was))) if is.height != was.height => Some("a commit"),
        (Some(Item::Frontier(is)), Some(Item::Frontier(was))) if is.window != was.window => Some("a window"),
        (Some(Item::Sink(is)), was) if is.next_sequence > 0 => {
            let same = matches!(was, Some(Item::Sink(was)) if was.next_sequence == is.next_sequence);
            (!same).then_some("a hand-on")
        }
        (Some(Item::Chain(is)), Some(Item::Chain(was))) => {
            let said = |state: &ChainState| {
                let holds = (state.paused, state.halted.clone(), state.halts, state.halts_ended);
                (holds, state.epoch, state.pipeline.clone())
            };
            (said(is) != said(was)).then_some("a word of an operator, a halt or a reorg")
        }
        (Some(Item::Tip(is)), Some(Item::Tip(was))) if is.ended && !was.ended => Some("the end of the input"),
        (Some(Item::Task(is)), Some(Item::Task(was))) if was.is_parked() && is.is_open() => Some("a retry"),
        _ => None,
    }
}
