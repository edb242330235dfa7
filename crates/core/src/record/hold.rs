//! What holds a chain: a pause, and halts. Each is ended by itself.
//!
//! Whatever halts a chain is an item of its own, numbered, written with the halt in one transaction. An operator ends the
//! halts that they have seen, by number; one that came meanwhile holds the chain on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Refusal};
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Wake};
use crate::state::{ChainName, ChainState, Halt, HaltCause, HaltReason};
use crate::transaction::{Tx, read_many, transact};
use crate::yard::{ChainReads, Yard, boxed};

/// At most so many halts are listed by name; beyond that only their number is given.
pub const MAX_NAMED: u64 = 64;

/// Which holds an operator ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Whichever one holds the chain; refused if it is both paused and halted.
    #[default]
    Any,
    Pause,
    /// The halts that there are when the command comes; if more come meanwhile, those stay.
    Halt,
    Both,
}

impl Hold {
    fn covers(self, other: Self) -> bool {
        self == Self::Any || self == Self::Both || self == other
    }
}

/// What `resume` did, and what still holds the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// A pause was ended.
    pub pause: bool,
    /// The halts that were ended, oldest first, at most [`MAX_NAMED`].
    pub halts: Vec<String>,
    /// The number of the first that was ended, and one above that of the last.
    pub from: u64,
    pub to: u64,
    pub still_paused: bool,
    /// Why the chain is halted all the same.
    pub still_halted: Option<String>,
}

impl Yard {
    /// Nothing new is opened or claimed; running work ends, and commits go on.
    #[boxed(?Send)]
    pub async fn pause(&self, chain: &ChainName) -> Result<(), Error> {
        self.change_chain(chain, async |tx, state| tx.put(&ChainState { paused: true, ..state })).await
    }

    /// Also no commit and no hand-on, until resumed.
    #[boxed(?Send)]
    pub async fn halt(&self, chain: &ChainName, reason: &str) -> Result<(), Error> {
        let at_ms = self.port.now_ms();
        let halt = Halt::over(None, &HaltReason::Other(reason.to_owned()), at_ms);
        self.change_chain(chain, async |tx, state| {
            // The commit may have happened already: then this very halt is there.
            match state.halted.as_ref() == Some(&halt) {
                true => tx.put(&state),
                false => put_halt(tx, state, halt.clone()),
            }
        })
        .await
    }

    /// Ends the pause or the halt that there is.
    #[boxed(?Send)]
    pub async fn resume(&self, chain: &ChainName) -> Result<Resumed, Error> {
        self.resume_from(chain, Hold::Any, None).await
    }

    /// Ends a pause, or the halts that an operator has seen: all below a number, or all that there are now. What was
    /// disagreed on stays recorded, and does not halt again.
    #[boxed(?Send)]
    pub async fn resume_from(
        &self,
        chain: &ChainName,
        hold: Hold,
        seen: Option<u64>,
    ) -> Result<Resumed, Error> {
        let found = self.chain_state(chain).await?;
        if hold == Hold::Any && found.paused && found.halted.is_some() {
            return Err(Refusal::WhichHold { chain: chain.clone() }.into());
        }
        let to = seen.unwrap_or(found.halts).min(found.halts);
        let named = self.halts(chain, found.halts_ended, to).await?;
        let mut resumed = Resumed {
            halts: named.into_iter().map(|cause| cause.halt.reason).collect(),
            from: found.halts_ended,
            to: to.max(found.halts_ended),
            ..Resumed::default()
        };
        // Older yards kept the halt only in the chain's item, without a number.
        if let Some(halt) = found.halted.as_ref().filter(|_| found.halts == found.halts_ended) {
            resumed.halts.push(halt.reason.clone());
        }
        if found.halted.is_none() || !hold.covers(Hold::Halt) {
            (resumed.halts, resumed.to) = (Vec::new(), resumed.from);
        }
        resumed.pause = found.paused && hold.covers(Hold::Pause);
        let (pause, to) = (resumed.pause, resumed.to);
        let ends_halts = found.halted.is_some() && hold.covers(Hold::Halt);
        let after = transact_chain(self, chain, async |tx, state| {
            let took_work = state.takes_work();
            let mut state = state;
            state.paused &= !pause;
            if ends_halts {
                state.halts_ended = state.halts_ended.max(match self.planted(PlantedBug::ResumeEndsUnseen) {
                    false => to,
                    true => state.halts,
                });
                state.halted = state.halted.filter(|_| state.halts > state.halts_ended);
            }
            if state.takes_work() && !took_work {
                state.works_since_ms = match self.port.has_yards_clock() {
                    true => self.port.now_ms(),
                    false => ChainState::NOT_KNOWN_MS,
                };
            }
            tx.put(&state)?;
            Ok(state)
        })
        .await?;
        resumed.still_paused = after.paused;
        resumed.still_halted = after.halted.map(|halt| halt.reason);
        Ok(resumed)
    }

    /// What halts a chain now, the oldest first, at most [`MAX_NAMED`] of it.
    #[boxed(?Send)]
    pub async fn open_halts(&self, state: &ChainState) -> Result<Vec<HaltCause>, Error> {
        let mut causes = self.halts(&state.chain, state.halts_ended, state.halts).await?;
        // Older yards kept the halt only in the chain's item, without a number.
        if let Some(halt) = state.halted.as_ref().filter(|_| causes.is_empty()) {
            causes.push(HaltCause { chain: state.chain.clone(), number: state.halts, halt: halt.clone() });
        }
        Ok(causes)
    }

    async fn halts(&self, chain: &ChainName, from: u64, to: u64) -> Result<Vec<HaltCause>, Error> {
        let numbers = from..to.min(from.saturating_add(MAX_NAMED));
        let keys: Vec<Key> = numbers.map(|number| HaltCause::key_of(chain, number)).collect();
        Ok(read_many::<HaltCause>(&self.port, &keys).await?.into_iter().flatten().collect())
    }

    async fn change_chain(
        &self,
        chain: &ChainName,
        mut change: impl AsyncFnMut(&mut Tx<'_>, ChainState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        transact_chain(self, chain, async |tx, state| change(tx, state).await).await
    }
}

/// Changes a chain's item, and wakes whatever may go on or must stop by it.
async fn transact_chain<T>(
    yard: &Yard,
    chain: &ChainName,
    mut change: impl AsyncFnMut(&mut Tx<'_>, ChainState) -> Result<T, Error>,
) -> Result<T, Error> {
    let pipeline = yard.chain(chain).await?.1;
    transact(&yard.port, async |tx| {
        let state = tx.check_chain(chain).await?;
        let changed = change(tx, state).await?;
        yard.wake_frontier(tx, chain).await?;
        tx.send(Wake::Chain { chain: chain.clone() });
        // What was held back may go on: listed tasks, and entries to hand on.
        for pool in pipeline.pools.keys() {
            tx.send(Wake::Pool { pool: pool.clone() });
        }
        for sink in pipeline.sinks.keys() {
            tx.send(Wake::Sink { chain: chain.clone(), sink: sink.clone() });
        }
        tx.durable();
        Ok(changed)
    })
    .await
}

/// Halts a chain, whatever has halted it before: commits and hand-ons stop until an operator has seen this one too.
pub(crate) fn put_halt(tx: &mut Tx<'_>, state: ChainState, halt: Halt) -> Result<(), Error> {
    tx.durable();
    tx.send(Wake::Chain { chain: state.chain.clone() });
    tx.put(&HaltCause { chain: state.chain.clone(), number: state.halts, halt: halt.clone() })?;
    tx.put(&ChainState { halts: state.halts + 1, halted: Some(halt), ..state })
}
