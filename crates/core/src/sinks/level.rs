//! Level sinks are told how far each block is: it arrived, was started, accepted, committed, missed, retracted.
//!
//! What a sink was told of a block is compared with what the state says now; only the newest word is sent, so that a sink that
//! was behind hears nothing that is over. Before a word is sent it is written down, so that after a crash nobody sends an older
//! one behind it. The newest blocks come first: whoever looks at the sink's side wants to know of those.
//!
//! A call looks at a few pages of heights: the newest, the lowest that are not settled, those about the frontier and, in
//! rounds, one more of those that are in work, and one of those that it has not looked at yet. So it costs the same however far
//! behind a sink is.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Trouble;
use crate::advance::handed_on::HandedOn;
use crate::error::{Error, Refusal};
use crate::pipeline::{BlockWord, Follows, Pipeline, Sink, SinkFrom, SinkTarget, Source, WITNESS};
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Port, Wake};
use crate::scope_stages::goal_of;
use crate::state::{
    BlockHash, Canonical, ChainState, Group, LevelPlace, NamedScope, OutProof, Scope, ScopeId, Task, TaskId,
    Told,
};
use crate::transaction::{Tx, read, read_many, transact};
use crate::yard::Yard;

/// Heights of one page.
const PAGE_HEIGHTS: u64 = 64;
/// Heights below the frontier that its page begins with.
const BEHIND_FRONTIER: u64 = 16;
/// Messages of one call; the next call has the rest. Few, since each takes as long as the other side does, and newer words may
/// come meanwhile.
const MAX_NEWS: usize = 4;
/// Tasks that are looked at to see whether a block was started: of a block with more, some all over it.
const MAX_LOOKED_AT: u32 = 16;
/// How many settled heights are remembered, so that a reorg that deep is told of.
const REMEMBERED_HEIGHTS: u64 = 1_024;

/// What a level sink is to be told next of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockNews {
    pub chain: String,
    pub sink: String,
    pub height: u64,
    pub hash: BlockHash,
    /// The block as it was proved; proved anew it is another one.
    pub scope: ScopeId,
    /// The chain's epoch when this block was first told of: of one that returned it is another one.
    pub epoch: u64,
    pub word: BlockWord,
    /// The block's own time, where it is still on the chain.
    pub timestamp_s: Option<u64>,
    /// With `Accepted` and `Committed`.
    pub proof: Option<NewsProof>,
}

/// The proof that commits a block.
#[derive(Clone, Debug, PartialEq)]
pub struct NewsProof {
    pub proof: OutProof,
    /// That one, and where a quorum commits those of the other members that agreed; each with its prover's name.
    pub all: Vec<(String, OutProof)>,
    pub cycles: Option<u64>,
    /// From when the inputs of the block's first task were there until its proof was, on the clocks of the workers that did
    /// it; with one task, what its prover took.
    pub proving_ms: u64,
}

/// A level sink and its chain as they are now.
struct Look {
    state: ChainState,
    place: LevelPlace,
    /// It begins now: where that was is to be written down.
    begins: bool,
    frontier: u64,
    /// What may be in work is below this height.
    opened: u64,
    /// One above the head.
    next: u64,
    /// One above the highest height that there may be something to say of.
    end: u64,
    wanted: BTreeSet<BlockWord>,
    /// Where a block must be introduced as arrived before anything else is said of it.
    introduces: bool,
}

/// How far one block is, and what the sink was told of it.
struct Compared {
    height: u64,
    scope: Option<Scope>,
    told: Option<Told>,
    word: Option<BlockWord>,
}

impl<P: Port> Yard<P> {
    /// What a level sink is to be told now, the newest blocks first; nothing while the chain is halted or changes its branch,
    /// the sink is paused, or a failed try must wait.
    pub async fn level_next(&self, chain: &str, sink: &str) -> Result<Vec<BlockNews>, Error> {
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
    pub async fn level_done(&self, news: &BlockNews) -> Result<(), Error> {
        self.change_told(news, |place, told| {
            *place = LevelPlace { failed_at: None, ..place.clone().untried() };
            told.hears(news);
        })
        .await
    }

    /// It will never take this word; what else there is to say goes on.
    pub async fn level_refused(&self, news: &BlockNews, reason: &str) -> Result<(), Error> {
        self.change_told(news, |place, told| {
            *place = LevelPlace {
                refused: place.refused.saturating_add(1),
                failed_at: None,
                last_error: Some(format!("block {} as {}: {reason}", news.height, news.word.name())),
                ..place.clone().untried()
            };
            told.hears(news);
        })
        .await
    }

    /// It could not be told; the sink is tried again after a pause that doubles.
    pub async fn level_failed(&self, news: &BlockNews, trouble: &Trouble) -> Result<(), Error> {
        self.change_told(news, |place, _| {
            place.next_try_ms = Some(self.next_try_ms(place.failures, trouble));
            place.failures = trouble.failures_after(place.failures);
            place.failed_at = Some(news.height);
            place.last_error = Some(trouble.reason.clone());
        })
        .await
    }

    /// How far a level sink is; where it would begin, if it was told nothing yet.
    pub async fn level_place(&self, chain: &str, sink: &str) -> Result<Option<LevelPlace>, Error> {
        Ok(self.look_at_level(chain, sink).await?.map(|look| look.place))
    }

    /// Whether a level sink has something left to be told that no more blocks are needed for.
    pub(crate) async fn level_is_behind(&self, chain: &str, sink: &str) -> Result<bool, Error> {
        let look = self.look_at_level(chain, sink).await?;
        Ok(look
            .is_some_and(|look| look.place.settled_below < look.end || look.place.epoch != look.state.epoch))
    }

    async fn wake_level(&self, chain: &str, sink: &str) -> Result<(), Error> {
        self.port.send(&[Wake::Sink { chain: chain.to_owned(), sink: sink.to_owned() }]).await;
        Ok(())
    }

    /// `None` where the pipeline in force has no level sink of that name.
    async fn look_at_level(&self, chain: &str, sink: &str) -> Result<Option<Look>, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let Some(Sink { follows: Follows::Blocks(wanted), from, target, .. }) = pipeline.sinks.get(sink)
        else {
            return Ok(None);
        };
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        let next = tip.height().map_or(state.start_height, |tip| tip.saturating_add(1));
        let place: Option<LevelPlace> = read(&self.port, &LevelPlace::key_of(chain, sink)).await?;
        let first = match from {
            SinkFrom::Start => state.start_height,
            SinkFrom::Now => next,
        };
        let begins = place.is_none() && *from == SinkFrom::Now;
        let place = place.unwrap_or_else(|| LevelPlace::at(chain, sink, first, state.epoch));
        Ok(Some(Look {
            begins,
            frontier: frontier.height,
            opened: frontier.opened,
            next,
            end: next.max(place.told_below),
            wanted: wanted.clone(),
            introduces: matches!(target, SinkTarget::Ethproofs(_)),
            place,
            state,
        }))
    }

    /// Where "now" was is to be known later.
    async fn remember_first(&self, look: &Look) -> Result<(), Error> {
        if !look.begins {
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let key = LevelPlace::key_of(&look.place.chain, &look.place.sink);
            match tx.check::<LevelPlace>(&key).await? {
                Some(_) => Ok(()),
                None => tx.put(&look.place),
            }
        })
        .await
    }

    /// After a reorg: what was settled is looked at again, as far as it is remembered.
    async fn step_back(&self, look: &Look) -> Result<(), Error> {
        let back_to = look.place.settled_below.saturating_sub(REMEMBERED_HEIGHTS);
        let back_to = back_to.max(look.place.forgotten_below);
        transact(&self.port, async |tx| {
            let key = LevelPlace::key_of(&look.place.chain, &look.place.sink);
            let place: Option<LevelPlace> = tx.check(&key).await?;
            let mut place = place.unwrap_or_else(|| look.place.clone());
            place.epoch = look.state.epoch;
            place.settled_below = place.settled_below.min(back_to);
            place.swept_to = place.settled_below;
            tx.put(&place)
        })
        .await
    }

    /// There was nothing to say on any page: moves over what is settled at the low end, and on to the next pages. Says
    /// whether there is more to look at at once.
    async fn move_on(&self, look: &Look, compared: &[Compared]) -> Result<bool, Error> {
        let place = &look.place;
        let low = compared.iter().skip_while(|block| block.height < place.settled_below);
        let is_next = |(height, block): &(u64, &Compared)| block.height == *height && look.is_settled(block);
        let settled = (place.settled_below..).zip(low).take_while(is_next).count() as u64;
        let from = place.settled_below;
        let to = from.saturating_add(settled.min(PAGE_HEIGHTS));
        let (swept, round) = (look.sweep_page(), look.round_page());
        let moved = LevelPlace {
            settled_below: to,
            forgotten_below: place.forgotten_below.max(to.saturating_sub(REMEMBERED_HEIGHTS)),
            swept_to: swept.end.max(place.swept_to).max(to),
            round_at: if round.end < look.opened { round.end } else { to },
            // Nothing is left to be taken back of these heights above the head.
            told_below: place.told_below.min(look.next.max(look.newest_page().start)),
            ..place.clone()
        };
        if moved == *place {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let now: Option<LevelPlace> = tx.check(&LevelPlace::key_of(&place.chain, &place.sink)).await?;
            if now.is_some_and(|now| now != *place) {
                return Ok(());
            }
            for height in (from..to).filter_map(|height| height.checked_sub(REMEMBERED_HEIGHTS)) {
                tx.delete(Told::key_of(&place.chain, &place.sink, height));
            }
            tx.put(&moved)
        })
        .await?;
        // The round takes a page each time that somebody looks.
        Ok(settled >= PAGE_HEIGHTS || moved.swept_to < look.end)
    }

    /// Ascending by height.
    async fn compare(&self, look: &Look, heights: &BTreeSet<u64>) -> Result<Vec<Compared>, Error> {
        let (chain, sink) = (&look.place.chain, &look.place.sink);
        let heights: Vec<u64> = heights.iter().copied().collect();
        let keys: Vec<Key> = heights.iter().map(|height| Told::key_of(chain, sink, *height)).collect();
        let told = read_many::<P, Told>(&self.port, &keys).await?;
        let keys: Vec<Key> = heights.iter().map(|height| Canonical::key_of(chain, *height)).collect();
        let canonical = read_many::<P, Canonical>(&self.port, &keys).await?;
        let known: Vec<Key> = canonical.iter().flatten().map(|block| Scope::key_of(&block.scope())).collect();
        let mut scopes = read_many::<P, Scope>(&self.port, &known).await?.into_iter();
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
        let found = read_many::<P, Group>(&self.port, &keys).await?;
        let mut tasks = Vec::new();
        for ((at, _), group) in groups.into_iter().zip(found) {
            tasks.extend(group.into_iter().flat_map(|group| some_tasks(&group)).map(|task| (at, task)));
        }
        let keys: Vec<Key> = tasks.iter().map(|(_, task)| task.task_key()).collect();
        let found = read_many::<P, Task>(&self.port, &keys).await?;
        for ((at, _), task) in tasks.into_iter().zip(found) {
            if task.is_some_and(|task| task.first_claimed_ms().is_some()) {
                open[at].word = Some(BlockWord::Started);
            }
        }
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

    /// The block's proof as it may be handed on: where a quorum commits, those that agreed.
    async fn news_proof(&self, scope: &Scope) -> Result<Option<NewsProof>, Error> {
        let pipeline = self.pipeline_of(scope).await?;
        let Some(goal) = goal_of(&pipeline, scope) else { return Ok(None) };
        let stage = &pipeline.stages[goal];
        let found = transact(&self.port, async |tx: &mut Tx<'_, P>| {
            self.handed_on(tx, scope, &pipeline, stage).await
        });
        let HandedOn::Proofs(proofs) = found.await? else { return Ok(None) };
        let Some(proof) = proofs.first().cloned() else { return Ok(None) };
        let task = TaskId::new(scope.id(), &proof.stage, proof.index);
        let task: Option<Task> = read(&self.port, &task.task_key()).await?;
        let Some(result) = task.and_then(Task::into_accepted) else { return Ok(None) };
        let height = scope.heights().0;
        let prover_of = |proof: &OutProof| {
            pipeline
                .stages
                .iter()
                .find(|stage| stage.name == proof.stage)?
                .prover_at(height)
                .map(str::to_owned)
        };
        let all = proofs.into_iter().filter_map(|proof| Some((prover_of(&proof)?, proof))).collect();
        let began_ms = self.began_ms(scope, &pipeline).await?;
        let ended_ms = result.at_ms.saturating_sub(result.verify_ms);
        let is_one_task =
            pipeline.stages[goal].sources().all(|source| pipeline.stages[source].name == WITNESS);
        let proving_ms = match began_ms {
            Some(began_ms) if !is_one_task => ended_ms.saturating_sub(began_ms).max(result.prove_ms),
            _ => result.prove_ms,
        };
        Ok(Some(NewsProof { proof, all, cycles: result.cycles, proving_ms: proving_ms.max(1) }))
    }

    /// When the first of the block's tasks, of those that are looked at, had its inputs.
    async fn began_ms(&self, scope: &Scope, pipeline: &Pipeline) -> Result<Option<u64>, Error> {
        let keys: Vec<Key> = first_stages(pipeline).map(|stage| Group::key_of(scope.id(), stage)).collect();
        let groups = read_many::<P, Group>(&self.port, &keys).await?.into_iter().flatten();
        let keys: Vec<Key> =
            groups.flat_map(|group| some_tasks(&group)).map(|task| task.task_key()).collect();
        let tasks = read_many::<P, Task>(&self.port, &keys).await?.into_iter().flatten();
        Ok(tasks.filter_map(Task::into_accepted).filter_map(|result| result.started_ms).min())
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

impl Compared {
    /// The sink may have been told that it is missed, and it left the chain, came back, and is in work or proved. Whether the
    /// word came makes no difference.
    fn is_no_longer_given_up(&self) -> bool {
        let (Some(told), Some(scope)) = (&self.told, &self.scope) else { return false };
        let is_missed = self.word.is_none_or(|word| word == BlockWord::Missed);
        told.scope == *scope.id() && told.sent == Some(BlockWord::Missed) && !is_missed
    }
}

impl Told {
    /// It was told this, unless it is told of a later life of the block by now.
    fn hears(&mut self, news: &BlockNews) {
        if self.epoch == news.epoch {
            self.told = self.told.max(Some(news.word));
        }
    }
}

impl Look {
    /// The heights that this call looks at.
    fn pages(&self) -> BTreeSet<u64> {
        let about_frontier = self.page(self.frontier.saturating_sub(BEHIND_FRONTIER));
        let pages = [self.page(0), about_frontier, self.round_page(), self.sweep_page(), self.newest_page()];
        pages.into_iter().flatten().collect()
    }

    /// A page from this height on, of what is not settled.
    fn page(&self, from: u64) -> Range<u64> {
        let from = from.max(self.place.settled_below);
        from..from.saturating_add(PAGE_HEIGHTS).min(self.end).max(from)
    }

    fn newest_page(&self) -> Range<u64> {
        self.page(self.end.saturating_sub(PAGE_HEIGHTS))
    }

    /// The next page of the round through what is in work.
    fn round_page(&self) -> Range<u64> {
        let page = self.page(self.place.round_at);
        page.start..page.end.min(self.opened).max(page.start)
    }

    /// The next page of what was not looked at yet.
    fn sweep_page(&self) -> Range<u64> {
        self.page(self.place.swept_to)
    }

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

    /// What the sink is to be told of a block now, if anything.
    fn next_word(&self, block: &Compared) -> Option<BlockWord> {
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
            // It left the chain and is back, or is no longer given up: it is taken back first, then told of anew.
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
    fn is_settled(&self, block: &Compared) -> bool {
        let is_last = matches!(block.word, Some(BlockWord::Committed | BlockWord::Missed));
        is_last && self.next_word(block).is_none()
    }
}

/// The stages that a block's work begins with; fetching is not proving.
fn first_stages(pipeline: &Pipeline) -> impl Iterator<Item = &str> {
    let of_block = pipeline.stages.iter().filter(|stage| stage.cut_by.is_none() && !stage.after_commit);
    let first = of_block.filter(|stage| stage.name != WITNESS && stage.from.contains(&Source::Block));
    first.map(|stage| stage.name.as_str())
}

/// Some tasks of a group, all over it.
fn some_tasks(group: &Group) -> impl Iterator<Item = TaskId> + use<> {
    let (all, count) = (group.expected, group.expected.min(MAX_LOOKED_AT));
    let index = move |at: u32| match count {
        0 | 1 => 0,
        _ => u32::try_from(u64::from(at) * u64::from(all - 1) / u64::from(count - 1)).unwrap_or(0),
    };
    let (scope, stage) = (group.scope.clone(), group.stage.clone());
    (0..count).map(move |at| TaskId::new(&scope, &stage, index(at)))
}
