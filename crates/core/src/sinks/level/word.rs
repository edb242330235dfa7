//! Which word is true of each block, and which one its sink is to be told next.

use std::collections::BTreeSet;

use super::place::Look;
use super::proof::{first_stages, some_tasks};
use crate::error::Error;
use crate::pipeline::BlockWord;
use crate::port::Key;
use crate::state::{Canonical, Group, Scope, Task, Told};
use crate::transaction::read_many;
use crate::yard::Yard;

/// How far one block is, and what the sink was told about it.
pub(super) struct Compared {
    pub(super) height: u64,
    pub(super) scope: Option<Scope>,
    pub(super) told: Option<Told>,
    pub(super) word: Option<BlockWord>,
}

impl Yard {
    /// Ascending by height.
    pub(super) async fn compare(&self, look: &Look, heights: &BTreeSet<u64>) -> Result<Vec<Compared>, Error> {
        let (chain, sink) = (&look.place.chain, &look.place.sink);
        let heights: Vec<u64> = heights.iter().copied().collect();
        let keys: Vec<Key> = heights.iter().map(|height| Told::key_of(chain, sink, *height)).collect();
        let told = read_many::<Told>(&self.port, &keys).await?;
        let keys: Vec<Key> = heights.iter().map(|height| Canonical::key_of(chain, *height)).collect();
        let canonical = read_many::<Canonical>(&self.port, &keys).await?;
        let known: Vec<Key> = canonical.iter().flatten().map(|block| Scope::key_of(&block.scope())).collect();
        let mut scopes = read_many::<Scope>(&self.port, &known).await?.into_iter();
        let mut compared = Vec::new();
        for ((height, told), canonical) in heights.into_iter().zip(told).zip(canonical) {
            let scope = canonical.and_then(|_| scopes.next().flatten());
            let word = scope.as_ref().filter(|scope| scope.is_canonical()).map(|scope| look.word(scope));
            compared.push(Compared { height, scope, told, word });
        }
        if look.wanted.contains(&BlockWord::Started) {
            self.find_started(&mut compared).await?;
        }
        Ok(compared)
    }

    /// Whether workers have taken tasks of the open blocks: a scope's own item does not say so.
    async fn find_started(&self, compared: &mut [Compared]) -> Result<(), Error> {
        let is_in_question = |block: &&mut Compared| {
            let Some(scope) = block.scope.as_ref().filter(|scope| scope.is_open()) else { return false };
            let told = block.told.as_ref().filter(|told| told.scope == *scope.id());
            let heard = told.is_some_and(|told| told.told >= Some(BlockWord::Started));
            let heard = heard && !block.is_no_longer_given_up();
            block.word == Some(BlockWord::Arrived) && !heard
        };
        let mut open: Vec<&mut Compared> = compared.iter_mut().filter(is_in_question).collect();
        let mut groups = Vec::new();
        for (at, block) in open.iter().enumerate() {
            let Some(scope) = &block.scope else { continue };
            let pipeline = self.pipeline_of(scope).await?;
            groups.extend(first_stages(&pipeline).map(|stage| (at, Group::key_of(scope.id(), stage))));
        }
        let keys: Vec<Key> = groups.iter().map(|(_, key)| key.clone()).collect();
        let found = read_many::<Group>(&self.port, &keys).await?;
        let mut tasks = Vec::new();
        for ((at, _), group) in groups.into_iter().zip(found) {
            tasks.extend(group.into_iter().flat_map(|group| some_tasks(&group)).map(|task| (at, task)));
        }
        let keys: Vec<Key> = tasks.iter().map(|(_, task)| task.task_key()).collect();
        let found = read_many::<Task>(&self.port, &keys).await?;
        for ((at, _), task) in tasks.into_iter().zip(found) {
            if task.is_some_and(|task| task.first_claimed_ms().is_some()) {
                open[at].word = Some(BlockWord::Started);
            }
        }
        Ok(())
    }
}

impl Compared {
    /// The sink may have been told that it is missed, and it left the chain, came back, and is in work or proved. Whether the
    /// word came makes no difference.
    pub(super) fn is_no_longer_given_up(&self) -> bool {
        let (Some(told), Some(scope)) = (&self.told, &self.scope) else { return false };
        let is_missed = self.word.is_none_or(|word| word == BlockWord::Missed);
        told.scope == *scope.id() && told.sent == Some(BlockWord::Missed) && !is_missed
    }
}

impl Look {
    /// How far a block of the chain is, as its scope says.
    fn word(&self, scope: &Scope) -> BlockWord {
        if scope.is_missed() {
            return BlockWord::Missed;
        }
        if scope.heights().1 < self.frontier {
            return BlockWord::Committed;
        }
        if scope.is_proved() { BlockWord::Accepted } else { BlockWord::Arrived }
    }

    /// The newest wanted word that is true of a block.
    fn target(&self, word: BlockWord) -> Option<BlockWord> {
        let is_true = |wanted: &BlockWord| match word {
            BlockWord::Missed => matches!(wanted, BlockWord::Arrived | BlockWord::Missed),
            word => *wanted <= word,
        };
        self.wanted.iter().copied().filter(is_true).max()
    }

    /// What the sink is to be told about a block now, if anything.
    pub(super) fn next_word(&self, block: &Compared) -> Option<BlockWord> {
        let told = match (&block.told, &block.scope) {
            (Some(told), Some(scope)) if told.scope == *scope.id() => Some(told),
            // Another block is there now, or none. What was never sent need not be taken back.
            (Some(told), _) if told.sent.is_some() && self.wanted.contains(&BlockWord::Retracted) => {
                return Some(BlockWord::Retracted);
            }
            _ => None,
        };
        let word = block.word?;
        let is_taken_back = told.is_some_and(|told| told.sent == Some(BlockWord::Retracted));
        if (is_taken_back || block.is_no_longer_given_up()) && self.wanted.contains(&BlockWord::Retracted) {
            // It left the chain and is back, or is no longer given up: it is taken back first, then announced anew.
            return Some(BlockWord::Retracted);
        }
        // A sink that does not hear of that is told anew as well.
        let told = told.filter(|_| !block.is_no_longer_given_up());
        let target = self.target(word)?;
        let (sent, heard) = told.map_or((None, None), |told| (told.sent, told.told));
        if heard >= Some(target) || sent > Some(target) {
            return None;
        }
        let is_introduced = heard.is_some() || sent > Some(BlockWord::Arrived);
        Some(if self.introduces && !is_introduced { BlockWord::Arrived } else { target })
    }

    /// Nothing will be said of this height any more, unless the chain changes its branch.
    pub(super) fn is_settled(&self, block: &Compared) -> bool {
        let is_last = matches!(block.word, Some(BlockWord::Committed | BlockWord::Missed));
        is_last && self.next_word(block).is_none()
    }
}
