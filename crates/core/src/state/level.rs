//! `C#chain / level#sink` and `N#chain#sink / height`: what a level sink was told about each block. `sinks` alone writes both.

use serde::{Deserialize, Serialize};

use super::{ChainName, KeyFamily, ScopeId, height_key};
use crate::pipeline::BlockWord;
use crate::port::Key;
use crate::transaction::{Item, too_large};

/// How far a level sink is, all blocks together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelPlace {
    pub chain: ChainName,
    pub sink: String,
    /// The first height that it is notified of.
    pub first: u64,
    /// Of every height below this one it was told the last word.
    pub settled_below: u64,
    /// What it was told about heights below this one is forgotten.
    pub forgotten_below: u64,
    /// The height that failed last, if nothing was told since.
    pub failed_at: Option<u64>,
    /// It was notified of nothing at or above this height.
    pub told_below: u64,
    /// Of every block below this height it was told that it arrived, or more.
    pub swept_to: u64,
    /// Where the round through the blocks that are in work goes on.
    pub round_at: u64,
    /// The chain's epoch when this was last compared with it.
    pub epoch: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Messages that the other side refused for good.
    pub refused: u64,
    /// The newest of these, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refused: Option<String>,
    /// Tries in a row that failed.
    pub failures: u32,
    pub last_error: Option<String>,
    pub next_try_ms: Option<u64>,
}

impl LevelPlace {
    /// A sink that was notified of nothing, and is notified of this height and all above.
    pub fn at(chain: &ChainName, sink: &str, first: u64, epoch: u64) -> Self {
        Self {
            chain: chain.clone(),
            sink: sink.to_owned(),
            first,
            settled_below: first,
            forgotten_below: first,
            failed_at: None,
            told_below: first,
            swept_to: first,
            round_at: first,
            epoch,
            paused: false,
            refused: 0,
            last_refused: None,
            failures: 0,
            last_error: None,
            next_try_ms: None,
        }
    }

    pub fn key_of(chain: &ChainName, sink: &str) -> Key {
        KeyFamily::LevelPlace.key_in(chain, sink)
    }

    /// No try has failed.
    pub fn untried(self) -> Self {
        Self { failures: 0, last_error: None, next_try_ms: None, ..self }
    }
}

impl Item for LevelPlace {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.sink)
    }
    fn due_ms(&self) -> Option<u64> {
        self.next_try_ms
    }
    fn damage(&self) -> Option<String> {
        let heights = [
            self.first,
            self.settled_below,
            self.forgotten_below,
            self.told_below,
            self.swept_to,
            self.round_at,
        ];
        too_large(heights.into_iter().chain([self.epoch, self.refused]).chain(self.next_try_ms))
    }
}

/// What a level sink was told about the block at a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub chain: ChainName,
    pub sink: String,
    pub height: u64,
    pub scope: ScopeId,
    /// The chain's epoch when it was first notified of this block here: a block that returns is announced anew.
    pub epoch: u64,
    /// What it may have been told: it was sent, and nobody knows yet whether it came.
    pub sent: Option<BlockWord>,
    /// What it was told, or has refused for good.
    pub told: Option<BlockWord>,
}

impl Told {
    pub fn key_of(chain: &ChainName, sink: &str, height: u64) -> Key {
        KeyFamily::Told.key_in(format_args!("{chain}#{sink}"), height_key(height))
    }
}

impl Item for Told {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.sink, self.height)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.height, self.epoch])
    }
}
