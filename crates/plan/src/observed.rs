//! What happened to each task and block, read off the commits and the workers; and what a block's time went into.

use std::collections::{BTreeMap, HashMap};

use proofyard_core::port::{Action, Batch};
use proofyard_core::state::{COMMITS, KeyFamily, Listing, OutEntry, OutKind, TaskId};

/// An attempt, as its worker knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Its artifact's name, too.
    pub number: u64,
    pub proving_us: u64,
    /// How long it was listed while no slot of its pool was free.
    pub waited_us: u64,
    /// How long it was listed beyond that, until a slot had claimed it.
    pub taking_us: u64,
    /// The attempt whose output came last of all that it reads.
    pub after: Option<u64>,
    pub after_us: u64,
    /// The highest block that it reads itself.
    pub newest_block: Option<u64>,
    pub accepted_us: u64,
}

/// The slots of one pool, over time.
#[derive(Default)]
pub(crate) struct PoolSeen {
    slots: u64,
    busy: u64,
    changed_us: u64,
    /// How long no slot was free, and how long all slots together were busy.
    none_free_us: u64,
    busy_us: u64,
    pub most_busy: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub at_us: u64,
    /// The proof that came last of those that commit it.
    proof: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Observed {
    /// Since when, and how long no slot of its pool had been free by then.
    listed: HashMap<TaskId, (u64, u64)>,
    attempts: HashMap<u64, Seen>,
    numbers: u64,
    /// By height.
    pub arrived_us: BTreeMap<u64, u64>,
    pub committed: BTreeMap<u64, Committed>,
    pub pools: BTreeMap<String, PoolSeen>,
}

/// What the time from a block's arrival to its commit went into.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub latency_us: u64,
    /// On the critical path: prover and verifier.
    pub proving_us: u64,
    /// On the critical path, listed while no slot of the pool was free.
    pub machines_us: u64,
    /// For blocks before it, or for a cut's others.
    pub blocks_us: u64,
    /// All else.
    pub orchestration_us: u64,
    /// Of that, on the critical path: listed while a slot was free, until one had claimed it.
    pub taking_us: u64,
}

impl PoolSeen {
    fn advance(&mut self, now_us: u64) {
        let passed_us = now_us - self.changed_us;
        self.changed_us = now_us;
        self.busy_us += self.busy * passed_us;
        if self.busy >= self.slots {
            self.none_free_us += passed_us;
        }
    }

    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// How long all slots together were busy until then.
    pub fn busy_us(&mut self, now_us: u64) -> u64 {
        self.advance(now_us);
        self.busy_us
    }
}

impl Observed {
    pub fn of<'a>(pools: impl Iterator<Item = &'a String>) -> Self {
        let pools = pools.map(|pool| (pool.clone(), PoolSeen::default())).collect();
        Self { pools, ..Self::default() }
    }

    fn pool(&mut self, pool: &str, now_us: u64) -> &mut PoolSeen {
        let seen = self.pools.entry(pool.to_owned()).or_default();
        seen.advance(now_us);
        seen
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn slots_come(&mut self, pool: &str, slots: u32, now_us: u64) {
        self.pool(pool, now_us).slots += u64::from(slots);
    }

    pub fn slots_go(&mut self, pool: &str, slots: u32, now_us: u64) {
        self.pool(pool, now_us).slots -= u64::from(slots);
    }

    /// A commit happened: tasks that are listed, blocks that are committed.
    pub fn committed(&mut self, batch: &Batch, now_us: u64) {
        for op in &batch.ops {
            let Action::Put { value, .. } = &op.action else { continue };
            match KeyFamily::of(&op.key) {
                Some(KeyFamily::Listing) => self.list(value, now_us),
                Some(KeyFamily::OutEntry) => self.log(value, now_us),
                _ => {}
            }
        }
    }

    fn list(&mut self, listing: &[u8], now_us: u64) {
        let Ok(listing) = serde_json::from_slice::<Listing>(listing) else { return };
        let none_free_us = self.pool(&listing.pool, now_us).none_free_us;
        self.listed.insert(listing.id, (now_us, none_free_us));
    }

    fn log(&mut self, entry: &[u8], now_us: u64) {
        let Ok(entry) = serde_json::from_slice::<OutEntry>(entry) else { return };
        let OutKind::Proof { from, to, proofs, .. } = entry.kind else { return };
        if entry.log != COMMITS {
            return;
        }
        let numbers = proofs.iter().filter_map(|proof| number_of(&proof.artifact.sha256));
        let last = numbers.max_by_key(|number| self.attempts.get(number).map_or(0, |seen| seen.accepted_us));
        for height in from..=to {
            self.committed.entry(height).or_insert(Committed { at_us: now_us, proof: last });
        }
    }

    /// A slot has a task from now on: what is known of the attempt.
    pub fn claimed(&mut self, task: &TaskId, pool: &str, now_us: u64) -> Seen {
        let listed = self.listed.remove(task);
        let seen = self.pool(pool, now_us);
        seen.busy += 1;
        seen.most_busy = seen.most_busy.max(seen.busy);
        let (listed_us, none_free_us) = listed.unwrap_or((now_us, seen.none_free_us));
        let waited_us = seen.none_free_us - none_free_us;
        let taking_us = (now_us - listed_us).saturating_sub(waited_us);
        Seen { number: self.next_number(), waited_us, taking_us, ..Seen::default() }
    }

    /// A slot has none any more.
    pub fn free(&mut self, pool: &str, now_us: u64) {
        self.pool(pool, now_us).busy -= 1;
    }

    /// This attempt reads that artifact.
    pub fn follows(&self, seen: &mut Seen, artifact: &str) {
        let before = number_of(artifact).and_then(|number| self.attempts.get(&number));
        if let Some(before) = before.filter(|before| before.accepted_us >= seen.after_us) {
            (seen.after, seen.after_us) = (Some(before.number), before.accepted_us);
        }
    }

    /// Its result is accepted. Whoever commits a block by it reads it afterwards.
    pub fn accepted(&mut self, seen: Seen, now_us: u64) {
        self.attempts.insert(seen.number, Seen { accepted_us: now_us, ..seen });
    }

    pub fn tasks(&self) -> u64 {
        self.attempts.len() as u64
    }

    /// What a committed block's time went into; `window` is how many heights may be in work at once.
    pub fn parts(&self, height: u64, window: u64) -> Option<Parts> {
        let (arrived_us, committed) = (*self.arrived_us.get(&height)?, self.committed.get(&height)?);
        let latency_us = committed.at_us.saturating_sub(arrived_us);
        let mut parts = Parts { latency_us, ..Parts::default() };
        let proved_us =
            committed.proof.and_then(|proof| self.attempts.get(&proof)).map(|seen| seen.accepted_us);
        let (mut next, mut newest) = (committed.proof, None);
        while let Some(seen) = next.and_then(|number| self.attempts.get(&number)) {
            parts.proving_us += seen.proving_us;
            parts.machines_us += seen.waited_us;
            parts.taking_us += seen.taking_us;
            newest = newest.max(seen.newest_block);
            next = seen.after;
        }
        let commit_of = |height: u64| self.committed.get(&height).map_or(0, |committed| committed.at_us);
        let opened_us = height.checked_sub(window).map_or(0, commit_of).max(arrived_us);
        let company_us = newest.and_then(|newest| self.arrived_us.get(&newest)).copied().unwrap_or(0);
        parts.blocks_us = opened_us.max(company_us.min(committed.at_us)) - arrived_us;
        if let Some(proved_us) = proved_us {
            let before_us = height.checked_sub(1).map_or(0, commit_of).min(committed.at_us);
            parts.blocks_us += before_us.saturating_sub(proved_us.max(arrived_us));
        }
        let other_us = parts.proving_us + parts.machines_us + parts.blocks_us;
        parts.orchestration_us = latency_us.saturating_sub(other_us);
        Some(parts)
    }
}

/// Which attempt made an artifact; a block's payload has a name of another kind.
fn number_of(artifact: &str) -> Option<u64> {
    u64::from_str_radix(artifact, 16).ok()
}
