//! Level sinks are told how far each block is: it arrived, was started, accepted, committed, missed, retracted.
//!
//! What a sink was told about a block is compared with what the state says now; only the newest word is sent, so that a sink that
//! was behind hears nothing that is over. Before a word is sent it is written down, so that after a crash nobody sends an older
//! one behind it. The newest blocks come first: whoever looks at the sink's side wants to know of those.
//!
//! A call looks at a few pages of heights: the newest, the lowest that are not settled, those about the frontier and, in
//! rounds, one more of those that are in work, and one of those that it has not looked at yet. So it costs the same however far
//! behind a sink is.

mod place;
mod proof;
mod word;

pub use self::proof::NewsProof;

use self::place::Look;
use self::word::Compared;
use super::Trouble;
use crate::error::{Error, Refusal};
use crate::pipeline::BlockWord;
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::scope_stages::goal_of;
use crate::state::{BlockHash, ChainName, LevelPlace, NamedScope, ScopeId, Told};
use crate::transaction::transact;
use crate::yard::{Yard, boxed};

/// Messages of one call; the next call has the rest. Few, since each takes as long as the other side does, and newer words may
/// come meanwhile.
const MAX_NEWS: usize = 4;

/// What a level sink is to be told next of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockNews {
    pub chain: ChainName,
    pub sink: String,
    pub height: u64,
    pub hash: BlockHash,
    /// The block as it was proved; proved anew it is another one.
    pub scope: ScopeId,
    /// The chain's epoch when the sink was first notified of this block: one that returned has another.
    pub epoch: u64,
    pub word: BlockWord,
    /// The block's own time, where it is still on the chain.
    pub timestamp_s: Option<u64>,
    /// With `Accepted` and `Committed`.
    pub proof: Option<NewsProof>,
}

impl Yard {
    /// What a level sink is to be told now, the newest blocks first; nothing while the chain is halted or changes its branch,
    /// the sink is paused, or a failed try must wait.
    #[boxed(?Send)]
    pub async fn level_next(&self, chain: &ChainName, sink: &str) -> Result<Vec<BlockNews>, Error> {
        let Some(look) = self.look_at_level(chain, sink).await? else { return Ok(Vec::new()) };
        let waits = look.place.next_try_ms.is_some_and(|next_try_ms| next_try_ms > self.port.now_ms());
        self.remember_first(&look).await?;
        if waits || look.place.paused || look.state.halted.is_some() || look.state.reorg.is_some() {
            return Ok(Vec::new());
        }
        if look.place.epoch != look.state.epoch {
            self.step_back(&look).await?;
            return self.wake_level(chain, sink).await.map(|()| Vec::new());
        }
        let compared = self.compare(&look, &look.pages()).await?;
        self.port.forget_reads();
        let now = self.chain_state(chain).await?;
        if now.epoch != look.state.epoch || now.reorg.is_some() {
            // It may have been compared with two branches at once.
            return self.wake_level(chain, sink).await.map(|()| Vec::new());
        }
        let mut news = Vec::new();
        // Behind a block that failed, those below it come first: one that never succeeds holds up no other.
        let (above, below): (Vec<&Compared>, Vec<&Compared>) =
            compared.iter().rev().partition(|block| Some(block.height) >= look.place.failed_at);
        let (first, then) = if look.place.failed_at.is_some() { (below, above) } else { (above, below) };
        for block in first.into_iter().chain(then) {
            if let Some(word) = look.next_word(block) {
                news.extend(self.news(&look, block, word).await?);
            }
            if news.len() >= MAX_NEWS {
                return Ok(news);
            }
        }
        if news.is_empty() && self.move_on(&look, &compared).await? {
            self.wake_level(chain, sink).await?;
        }
        Ok(news)
    }

    /// It is about to be told; `false` where that is not to be said any more.
    #[boxed(?Send)]
    pub async fn level_sending(&self, news: &BlockNews) -> Result<bool, Error> {
        self.change_told(news, |_, told| {
            // What may have been told counts as told: nothing older follows it.
            let is_newer =
                told.epoch == news.epoch && told.told < Some(news.word) && told.sent <= Some(news.word);
            if is_newer && !self.planted(PlantedBug::SinkWordNotWritten) {
                told.sent = told.sent.max(Some(news.word));
            }
            is_newer
        })
        .await
    }

    /// It has been told, durably.
    #[boxed(?Send)]
    pub async fn level_done(&self, news: &BlockNews) -> Result<(), Error> {
        self.change_told(news, |place, told| {
            *place = LevelPlace { failed_at: None, ..place.clone().untried() };
            told.hears(news);
        })
        .await
    }

    /// It will never take this word; what else there is to say goes on.
    #[boxed(?Send)]
    pub async fn level_refused(&self, news: &BlockNews, reason: &str) -> Result<(), Error> {
        self.change_told(news, |place, told| {
            *place = LevelPlace {
                refused: place.refused.saturating_add(1),
                last_refused: Some(format!("block {} as {}: {reason}", news.height, news.word.name())),
                failed_at: None,
                ..place.clone().untried()
            };
            told.hears(news);
        })
        .await
    }

    /// It could not be told; the sink is tried again after a pause that doubles.
    #[boxed(?Send)]
    pub async fn level_failed(&self, news: &BlockNews, trouble: &Trouble) -> Result<(), Error> {
        self.change_told(news, |place, _| {
            place.next_try_ms = Some(self.next_try_ms(place.failures, trouble));
            place.failures = trouble.failures_after(place.failures);
            place.failed_at = Some(news.height);
            place.last_error = Some(trouble.reason.clone());
        })
        .await
    }

    async fn wake_level(&self, chain: &ChainName, sink: &str) -> Result<(), Error> {
        self.port.send(&[Wake::Sink { chain: chain.clone(), sink: sink.to_owned() }]).await;
        Ok(())
    }

    async fn news(&self, look: &Look, block: &Compared, word: BlockWord) -> Result<Option<BlockNews>, Error> {
        let scope = match (&block.told, &block.scope, word) {
            (Some(told), _, BlockWord::Retracted) => told.scope.clone(),
            (_, Some(scope), _) => scope.id().clone(),
            _ => return Ok(None),
        };
        let Some(NamedScope::Block { hash, .. }) = scope.named() else { return Ok(None) };
        let hash = BlockHash::from(hash);
        let proof = match (&block.scope, word) {
            (Some(scope), BlockWord::Accepted | BlockWord::Committed) => {
                match self.news_proof(scope).await? {
                    // The judge has not looked, or it may not be built on: nothing is to be said of it now.
                    None if goal_of(&*self.pipeline_of(scope).await?, scope).is_some() => return Ok(None),
                    proof => proof,
                }
            }
            _ => None,
        };
        let (chain, sink) = (look.place.chain.clone(), look.place.sink.clone());
        let told = block.told.as_ref().filter(|told| told.scope == scope);
        let begins_anew = word != BlockWord::Retracted && block.is_no_longer_given_up();
        let epoch = told.filter(|_| !begins_anew).map_or(look.state.epoch, |told| told.epoch);
        let is_there = block.scope.as_ref().filter(|now| *now.id() == scope);
        let timestamp_s = is_there.and_then(|now| now.block()).map(|block| block.timestamp_s);
        Ok(Some(BlockNews {
            chain,
            sink,
            height: block.height,
            hash,
            scope,
            epoch,
            word,
            timestamp_s,
            proof,
        }))
    }

    async fn change_told<T>(
        &self,
        news: &BlockNews,
        change: impl Fn(&mut LevelPlace, &mut Told) -> T,
    ) -> Result<T, Error> {
        let BlockNews { chain, sink, height, scope, .. } = news;
        let unknown = || Refusal::UnknownSink { chain: chain.clone(), sink: sink.clone() };
        let place_now = self.level_place(chain, sink).await?.ok_or_else(unknown)?;
        transact(&self.port, async |tx| {
            let place_key = LevelPlace::key_of(chain, sink);
            let told_key = Told::key_of(chain, sink, *height);
            tx.fetch([place_key.clone(), told_key.clone()]).await?;
            let place: Option<LevelPlace> = tx.check(&place_key).await?;
            let mut place = place.unwrap_or_else(|| place_now.clone());
            let told: Option<Told> = tx.check(&told_key).await?;
            let told = told.filter(|told| told.scope == *scope && told.epoch >= news.epoch);
            let mut told = told.unwrap_or_else(|| Told {
                chain: chain.clone(),
                sink: sink.clone(),
                height: *height,
                scope: scope.clone(),
                epoch: news.epoch,
                sent: None,
                told: None,
            });
            let answer = change(&mut place, &mut told);
            place.told_below = place.told_below.max(height.saturating_add(1));
            match told.told {
                // What is said of this height next is of another block.
                Some(BlockWord::Retracted) => tx.delete(told_key),
                _ => tx.put(&told)?,
            }
            tx.put(&place)?;
            tx.durable();
            Ok(answer)
        })
        .await
    }
}

impl Told {
    /// It was told this, unless it was notified of a later life of the block by now.
    fn hears(&mut self, news: &BlockNews) {
        if self.epoch == news.epoch {
            self.told = self.told.max(Some(news.word));
        }
    }
}
