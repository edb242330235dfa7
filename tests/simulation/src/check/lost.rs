//! Invariant 7, durability: what a handler has answered, no power loss takes back. Others may see it before it is on disk; its
//! caller is answered only after.

use proofyard_core::state::ChainState;

use super::mirror::Item;

/// What the outside was told by the answer of who wrote this item, where it is on disk only as it was before.
pub fn acknowledged(written: Option<&Item>, on_disk: Option<&Item>) -> Option<&'static str> {
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
            let facts = |state: &ChainState| {
                let holds = (state.paused, state.halted.clone(), state.halts, state.halts_ended);
                (holds, state.epoch, state.pipeline.clone())
            };
            (facts(is) != facts(was)).then_some("an operator's verb, a halt or a reorg")
        }
        (Some(Item::Tip(is)), Some(Item::Tip(was))) if is.ended && !was.ended => Some("the end of the input"),
        (Some(Item::Task(is)), Some(Item::Task(was))) if was.is_parked() && is.is_open() => Some("a retry"),
        (Some(Item::Task(is)), Some(Item::Task(was))) if is.checkpoint().is_some() => {
            (is.checkpoint() != was.checkpoint()).then_some("a checkpoint")
        }
        _ => None,
    }
}
