//! A yard: the handlers of one home, over its port.
//!
//! A home makes a `Yard<ItsPort>`. The handlers are those of `Yard`, which is a `Yard<dyn Port>` and what a reference to any
//! yard turns into: they are compiled here, once, and not again for each port. What others call, if it is not generic, is
//! `#[boxed(?Send)]`: the code of an `async` function is compiled where it is awaited, unless its future is boxed.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Has an `async` function answer a boxed future. The macro is made for functions that call themselves, which need the same.
pub(crate) use async_recursion::async_recursion as boxed;

use crate::error::{Error, Refusal};
use crate::pipeline::{self, Pipeline};
use crate::port::Port;
use crate::state::{
    ChainName, ChainState, Frontier, LOOK_NOW_MS, PipelineHash, PipelineText, PoolTasks, Scope, Tip,
};
use crate::transaction::{Tx, read};

/// Pipelines kept parsed; a yard sees a handful in its life, so the bound is for safety only.
const MAX_CACHED_PIPELINES: usize = 256;

pub struct Yard<P: ?Sized = dyn Port> {
    pipelines: Arc<Mutex<HashMap<PipelineHash, Arc<Pipeline>>>>,
    judged: bool,
    takes: PoolTasks,
    #[cfg(feature = "planted-bugs")]
    bug: Option<crate::planted_bug::PlantedBug>,
    #[cfg(feature = "planted-bugs")]
    page_items: Option<usize>,
    /// Last, as Rust asks of a field that may be a `dyn Port`.
    pub port: P,
}

impl<P: Port + 'static> Deref for Yard<P> {
    type Target = Yard;

    fn deref(&self) -> &Yard {
        self
    }
}

impl<P: Port> Yard<P> {
    pub fn new(port: P) -> Self {
        Self {
            pipelines: Arc::default(),
            judged: false,
            takes: PoolTasks::All,
            #[cfg(feature = "planted-bugs")]
            bug: None,
            #[cfg(feature = "planted-bugs")]
            page_items: None,
            port,
        }
    }

    /// The same yard over another port to the same store, such as one that remembers what it read. Parsed pipelines are
    /// shared.
    pub fn over<Q: Port>(&self, port: Q) -> Yard<Q> {
        Yard {
            pipelines: Arc::clone(&self.pipelines),
            judged: self.judged,
            takes: self.takes,
            #[cfg(feature = "planted-bugs")]
            bug: self.bug,
            #[cfg(feature = "planted-bugs")]
            page_items: self.page_items,
            port,
        }
    }

    /// A yard in which nothing is handed on before the judge has looked at it, if there is one.
    pub fn with_judge(self, judged: bool) -> Self {
        Self { judged, ..self }
    }

    /// A yard whose workers take only such tasks of their pools, and are asked for and counted by these alone.
    pub fn taking(self, takes: PoolTasks) -> Self {
        Self { takes, ..self }
    }

    /// A yard with a planted bug: it breaks one rule on purpose.
    #[cfg(feature = "planted-bugs")]
    pub fn with_planted_bug(port: P, bug: crate::planted_bug::PlantedBug) -> Self {
        Self { bug: Some(bug), ..Self::new(port) }
    }

    /// A yard of small pages, in which a few items show what else only many would.
    #[cfg(feature = "planted-bugs")]
    pub fn with_pages_of(self, items: usize) -> Self {
        Self { page_items: Some(items), ..self }
    }
}

impl Yard {
    pub fn is_judged(&self) -> bool {
        self.judged
    }

    pub(crate) fn takes(&self) -> PoolTasks {
        self.takes
    }

    /// How many items one page of a loop takes, where `full` is what a home can take.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn page_of(&self, full: usize) -> usize {
        self.page_items.map_or(full, |items| items.min(full))
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[inline(always)]
    pub(crate) fn page_of(&self, full: usize) -> usize {
        full
    }

    /// True only in a yard that was built with this bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn planted(&self, bug: crate::planted_bug::PlantedBug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[inline(always)]
    pub(crate) fn planted(&self, _: crate::planted_bug::PlantedBug) -> bool {
        false
    }

    /// A rank, as the yard's planted bug changes it, if it has one that does.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn ranked(&self, rank: String) -> String {
        self.bug.map_or_else(|| rank.clone(), |bug| bug.misranked(&rank))
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[inline(always)]
    pub(crate) fn ranked(&self, rank: String) -> String {
        rank
    }

    /// The due time of what must be looked at in so long. A host with another clock has the sweeper look at once,
    /// which sets the time by its own.
    pub(crate) fn due_in(&self, wait_ms: u64) -> u64 {
        match self.port.has_yards_clock() {
            true => self.port.now_ms().saturating_add(wait_ms),
            false => LOOK_NOW_MS,
        }
    }

    /// The yard's time, to decide whether something is late; the beginning of time on a host that does not know it, so
    /// that nothing is.
    pub(crate) fn time_for_lateness_ms(&self) -> u64 {
        if self.port.has_yards_clock() { self.port.now_ms() } else { 0 }
    }

    /// The pipeline of that hash, as recorded for the chain.
    #[boxed(?Send)]
    pub async fn pipeline(&self, chain: &ChainName, hash: &PipelineHash) -> Result<Arc<Pipeline>, Error> {
        let cached = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned();
        if let Some(pipeline) = cached {
            return Ok(pipeline);
        }
        let bad = |reason: String| Refusal::BadPipeline { hash: hash.clone(), reason };
        let stored: Option<PipelineText> = read(&self.port, &PipelineText::key_of(chain, hash)).await?;
        let text = stored.ok_or_else(|| bad("it is not stored".into()))?.text;
        let pipeline = Arc::new(parsed(hash, &text)?);
        let mut cache = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED_PIPELINES {
            cache.clear();
        }
        cache.insert(hash.clone(), Arc::clone(&pipeline));
        Ok(pipeline)
    }

    /// The pipeline that a scope lives by: the one it opened with; before that, the one in force.
    #[boxed(?Send)]
    pub async fn pipeline_of(&self, scope: &Scope) -> Result<Arc<Pipeline>, Error> {
        match scope.pipeline().is_none() {
            true => Ok(self.chain(scope.chain()).await?.1),
            false => self.pipeline(scope.chain(), scope.pipeline()).await,
        }
    }

    /// The chain's state and the pipeline now in force.
    #[boxed(?Send)]
    pub async fn chain(&self, chain: &ChainName) -> Result<(ChainState, Arc<Pipeline>), Error> {
        let state = self.chain_state(chain).await?;
        let pipeline = self.pipeline(chain, &state.pipeline).await?;
        Ok((state, pipeline))
    }

    #[boxed(?Send)]
    pub async fn chain_state(&self, chain: &ChainName) -> Result<ChainState, Error> {
        let state = read(&self.port, &ChainState::key_of(chain)).await?;
        Ok(state.ok_or_else(|| Refusal::UnknownChain(chain.to_string()))?)
    }

    #[boxed(?Send)]
    pub async fn frontier(&self, chain: &ChainName) -> Result<Frontier, Error> {
        let frontier = read(&self.port, &Frontier::key_of(chain)).await?;
        Ok(frontier.ok_or_else(|| Refusal::UnknownChain(chain.to_string()))?)
    }

    #[boxed(?Send)]
    pub async fn tip(&self, chain: &ChainName) -> Result<Tip, Error> {
        let tip = read(&self.port, &Tip::key_of(chain)).await?;
        Ok(tip.ok_or_else(|| Refusal::UnknownChain(chain.to_string()))?)
    }
}

/// The pipeline of a text that was checked before it came here.
pub(crate) fn parsed(hash: &PipelineHash, text: &str) -> Result<Pipeline, Refusal> {
    pipeline::parse(text).map(|checked| checked.pipeline).map_err(|mistakes| {
        let reasons: Vec<_> =
            mistakes.iter().map(|mistake| mistake.display("pipeline").to_string()).collect();
        Refusal::BadPipeline { hash: hash.clone(), reason: reasons.join("; ") }
    })
}

/// Reads the chain's items inside a transaction; a chain that is not there is refused by name.
pub(crate) trait ChainReads {
    async fn peek_chain(&mut self, chain: &ChainName) -> Result<ChainState, Error>;
    async fn check_chain(&mut self, chain: &ChainName) -> Result<ChainState, Error>;
    async fn check_tip(&mut self, chain: &ChainName) -> Result<Tip, Error>;
    async fn peek_frontier(&mut self, chain: &ChainName) -> Result<Frontier, Error>;
    async fn check_frontier(&mut self, chain: &ChainName) -> Result<Frontier, Error>;
}

impl ChainReads for Tx<'_> {
    async fn peek_chain(&mut self, chain: &ChainName) -> Result<ChainState, Error> {
        known(chain, self.peek(&ChainState::key_of(chain)).await?)
    }
    async fn check_chain(&mut self, chain: &ChainName) -> Result<ChainState, Error> {
        known(chain, self.check(&ChainState::key_of(chain)).await?)
    }
    async fn check_tip(&mut self, chain: &ChainName) -> Result<Tip, Error> {
        known(chain, self.check(&Tip::key_of(chain)).await?)
    }
    async fn peek_frontier(&mut self, chain: &ChainName) -> Result<Frontier, Error> {
        known(chain, self.peek(&Frontier::key_of(chain)).await?)
    }
    async fn check_frontier(&mut self, chain: &ChainName) -> Result<Frontier, Error> {
        known(chain, self.check(&Frontier::key_of(chain)).await?)
    }
}

fn known<T>(chain: &ChainName, item: Option<T>) -> Result<T, Error> {
    Ok(item.ok_or_else(|| Refusal::UnknownChain(chain.to_string()))?)
}
