//! What those who submit a pool's workers know of one another: how many are being submitted, which jobs AWS Batch may
//! not list yet, and which ended before a worker of theirs registered.
//!
//! Many functions look at a pool at once, and each would submit all that it lacks. So the count is kept in the table:
//! whoever submits first writes down how many, on condition that what it counted still stands, and afterwards their ids.
//! What a submitter that died leaves there stops counting after [`SETTLED_MS`]; until then the pool has rather too few.
//!
//! A pool whose jobs end before they register, such as one whose image does not start, gets one job at a time, each
//! after twice the wait, until one registers.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::port::{Key, Range};
use proofyard_core::state::KeyFamily;
use proofyard_core::transaction::Item;
use serde::{Deserialize, Serialize};

use super::jobs::{Alive, Listed, More, PoolJobs, more_workers};

/// By then a submitter has ended, one way or the other, and AWS Batch lists what was submitted.
pub(crate) const SETTLED_MS: u64 = 120_000;
/// The wait after the first jobs that ended before they registered; it doubles with each further round.
const FIRST_WAIT_MS: u64 = 30_000;
const LONGEST_WAIT_MS: u64 = 3_600_000;
const MAX_REASON_CHARS: usize = 500;
/// Pools that are looked at; `infra/spec` has a handful.
const MAX_POOLS: usize = 256;

/// Of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submissions {
    pool: String,
    #[serde(default)]
    being_submitted: Vec<BeingSubmitted>,
    #[serde(default)]
    jobs: Vec<Submitted>,
    #[serde(default)]
    trouble: Option<StartTrouble>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BeingSubmitted {
    id: u64,
    workers: u32,
    warm: u32,
    at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Submitted {
    job: String,
    at_ms: u64,
    warm: bool,
    #[serde(default)]
    registered: bool,
}

/// Why a pool has no workers although they are submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTrouble {
    /// How often in a row what was submitted ended before it registered.
    pub rounds: u32,
    pub jobs: u64,
    /// What AWS Batch says of the last one.
    pub reason: String,
    pub at_ms: u64,
    /// The next worker is submitted then.
    pub next_ms: u64,
}

/// What was found out about a pool's jobs.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Of those that are not listed with the ones that come or run: how they ended; `None` of one that is not over.
    pub unlisted: BTreeMap<String, Option<String>>,
    /// Those of which a worker registered.
    pub registered: BTreeSet<String>,
}

impl Submissions {
    pub fn key_of(pool: &str) -> Key {
        KeyFamily::PoolJobs.key_in("", pool)
    }

    /// Of all pools.
    pub fn all() -> Range {
        KeyFamily::PoolJobs.range("", MAX_POOLS)
    }

    pub fn of(pool: &str) -> Self {
        Self { pool: pool.to_owned(), ..Self::default() }
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    pub fn trouble(&self) -> Option<&StartTrouble> {
        self.trouble.as_ref()
    }

    pub fn knows(&self, job: &str) -> bool {
        self.jobs.iter().any(|known| known.job == job)
    }

    /// Jobs of which it is not known whether a worker of theirs registered.
    pub fn unregistered(&self) -> Vec<&str> {
        self.jobs.iter().filter(|known| !known.registered).map(|known| known.job.as_str()).collect()
    }

    /// Jobs that AWS Batch does not list with those that come or run.
    pub fn unlisted(&self, listed: &Listed) -> Vec<&str> {
        self.jobs.iter().map(|known| known.job.as_str()).filter(|job| !listed.has(job)).collect()
    }

    /// What is listed, and what is not listed yet.
    pub fn alive(&self, listed: &Listed, now_ms: u64) -> Alive {
        let mut alive = listed.alive();
        for known in self.jobs.iter().filter(|known| !listed.has(&known.job)) {
            alive.coming += 1;
            alive.warm += u32::from(known.warm);
        }
        for some in self.being_submitted.iter().filter(|some| some.counts(now_ms)) {
            alive.coming += some.workers;
            alive.warm += some.warm;
        }
        alive
    }

    /// How many workers may be submitted now, which is written down under this id.
    pub fn reserve(&mut self, id: u64, pool: &PoolJobs, look: &Look<'_>) -> More {
        let mut more = more_workers(pool, self.alive(look.listed, look.now_ms), look.wanted, look.on_tick);
        if let Some(trouble) = &self.trouble {
            // One that tries whether they start again.
            let one = u32::from(trouble.next_ms <= look.now_ms && self.unregistered().is_empty());
            more.warm = more.warm.min(one);
            more.burst = more.burst.min(one - more.warm);
        }
        self.being_submitted.retain(|some| some.counts(look.now_ms));
        if more != More::default() {
            let workers = more.warm + more.burst;
            self.being_submitted.push(BeingSubmitted { id, workers, warm: more.warm, at_ms: look.now_ms });
        }
        more
    }

    /// What was reserved has these ids now; each with whether it stays.
    pub fn submitted(&mut self, id: u64, jobs: &[(String, bool)], now_ms: u64) {
        self.being_submitted.retain(|some| some.id != id);
        for (job, warm) in jobs {
            if !self.knows(job) {
                let (job, warm) = (job.clone(), *warm);
                self.jobs.push(Submitted { job, at_ms: now_ms, warm, registered: false });
            }
        }
    }

    /// A worker of this job registered: the pool's workers start.
    pub fn registered(&mut self, job: &str) {
        for known in self.jobs.iter_mut().filter(|known| known.job == job) {
            known.registered = true;
            self.trouble = None;
        }
    }

    /// Takes in what was found out, and forgets what need not be known any more.
    pub fn settle(&mut self, listed: &Listed, found: &Found, now_ms: u64) {
        for job in &found.registered {
            if self.jobs.iter().any(|known| known.job == *job && !known.registered) {
                self.registered(job);
            }
        }
        let mut left = Vec::new();
        for known in std::mem::take(&mut self.jobs) {
            match found.unlisted.get(&known.job) {
                Some(Some(_)) if known.registered => {}
                Some(Some(reason)) => self.ended_before_it_registered(&known, reason, now_ms),
                // It is on its way from one state to the next.
                Some(None) => left.push(known),
                // What AWS Batch does not know after so long does not count.
                None if listed.has(&known.job) || known.at_ms.saturating_add(SETTLED_MS) > now_ms => {
                    left.push(known)
                }
                None => {}
            }
        }
        self.jobs = left;
        self.being_submitted.retain(|some| some.counts(now_ms));
    }

    fn ended_before_it_registered(&mut self, job: &Submitted, reason: &str, now_ms: u64) {
        let before = self.trouble.take();
        let (mut rounds, jobs) = before.as_ref().map_or((0, 0), |before| (before.rounds, before.jobs));
        let mut next_ms = before.as_ref().map_or(0, |before| before.next_ms);
        let mut at_ms = before.as_ref().map_or(0, |before| before.at_ms);
        // All that were submitted before the last wait began are of one round.
        if before.is_none() || job.at_ms >= at_ms {
            rounds = rounds.saturating_add(1);
            at_ms = now_ms;
            next_ms = now_ms.saturating_add(wait_ms(rounds));
        }
        let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        self.trouble = Some(StartTrouble { rounds, jobs: jobs.saturating_add(1), reason, at_ms, next_ms });
    }
}

impl Item for Submissions {
    fn key(&self) -> Key {
        Self::key_of(&self.pool)
    }
}

impl BeingSubmitted {
    fn counts(&self, now_ms: u64) -> bool {
        self.at_ms.saturating_add(SETTLED_MS) > now_ms
    }
}

/// What whoever submits sees.
pub(crate) struct Look<'a> {
    pub listed: &'a Listed,
    /// Workers that waiting tasks would keep busy.
    pub wanted: u32,
    pub on_tick: bool,
    pub now_ms: u64,
}

fn wait_ms(rounds: u32) -> u64 {
    FIRST_WAIT_MS.saturating_mul(1 << rounds.saturating_sub(1).min(32)).min(LONGEST_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> PoolJobs {
        let pool = r#"{"job_queue": "q", "job_definition": "d", "max_workers": 4}"#;
        serde_json::from_str(pool).unwrap()
    }

    fn look(listed: &Listed, now_ms: u64) -> Look<'_> {
        Look { listed, wanted: 9, on_tick: true, now_ms }
    }

    fn ids(ids: &[&str]) -> Vec<(String, bool)> {
        ids.iter().map(|id| ((*id).to_owned(), false)).collect()
    }

    fn over(jobs: &[&str]) -> Found {
        let over = |job: &&str| ((*job).to_owned(), Some("exit code 42".to_owned()));
        Found { unlisted: jobs.iter().map(over).collect(), ..Found::default() }
    }

    #[test]
    fn what_others_submit_counts_from_before_they_do_until_batch_lists_it() {
        let mut known = Submissions::of("cpu");
        let nobody = Listed::default();
        assert_eq!(known.reserve(1, &pool(), &look(&nobody, 0)).burst, 4);
        assert_eq!(known.reserve(2, &pool(), &look(&nobody, 0)), More::default());
        known.submitted(1, &ids(&["a", "b", "c"]), 1_000);
        // One was not submitted after all.
        assert_eq!(known.reserve(3, &pool(), &look(&nobody, 1_000)).burst, 1);
        known.submitted(3, &ids(&["d"]), 1_000);
        let some = Listed::running(&["a", "b"]);
        assert_eq!(known.alive(&some, 2_000), Alive { coming: 2, running: 2, ..Alive::default() });
        // Long after, what Batch knows is all there is; one of them is not listed, since it just moves.
        let moves = Found { unlisted: BTreeMap::from([("c".to_owned(), None)]), ..Found::default() };
        known.settle(&some, &moves, 1_000 + SETTLED_MS);
        assert_eq!(known.alive(&some, 200_000), Alive { coming: 1, running: 2, ..Alive::default() });
        assert_eq!(known.alive(&nobody, 200_000).coming, 3, "whatever is listed");
    }

    #[test]
    fn what_a_submitter_that_died_reserved_counts_for_a_while() {
        let mut known = Submissions::of("cpu");
        let nobody = Listed::default();
        assert_eq!(known.reserve(1, &pool(), &look(&nobody, 0)).burst, 4);
        assert_eq!(known.reserve(2, &pool(), &look(&nobody, SETTLED_MS - 1)), More::default());
        assert_eq!(known.reserve(3, &pool(), &look(&nobody, SETTLED_MS)).burst, 4);
    }

    #[test]
    fn a_pool_whose_jobs_do_not_register_waits_twice_as_long_each_time() {
        let mut known = Submissions::of("cpu");
        let nobody = Listed::default();
        let four = known.reserve(1, &pool(), &look(&nobody, 0));
        known.submitted(1, &ids(&["a", "b", "c", "d"]), 0);
        assert_eq!(four.burst, 4);
        known.settle(&nobody, &over(&["a", "b"]), 5_000);
        known.settle(&nobody, &over(&["c", "d"]), 9_000);
        let trouble = known.trouble().cloned().unwrap();
        assert_eq!((trouble.rounds, trouble.jobs, trouble.next_ms), (1, 4, 35_000), "all of one round");
        assert_eq!(trouble.reason, "exit code 42");
        let mut now_ms = 35_000;
        for (round, waits_ms) in [(2, 60_000), (3, 120_000), (4, 240_000)] {
            assert_eq!(known.reserve(round, &pool(), &look(&nobody, now_ms - 1)), More::default());
            assert_eq!(known.reserve(round, &pool(), &look(&nobody, now_ms)).burst, 1, "one that tries");
            let job = format!("{round}");
            known.submitted(round, &ids(&[&job]), now_ms);
            assert_eq!(known.reserve(99, &pool(), &look(&nobody, now_ms + 1)), More::default());
            known.settle(&nobody, &over(&[&job]), now_ms + 1_000);
            now_ms += 1_000 + waits_ms;
            let trouble = known.trouble().unwrap();
            assert_eq!((u64::from(trouble.rounds), trouble.next_ms), (round, now_ms));
        }
        assert!(wait_ms(u32::MAX) == LONGEST_WAIT_MS);
        assert_eq!(known.reserve(9, &pool(), &look(&nobody, now_ms)).burst, 1);
        known.submitted(9, &ids(&["good"]), now_ms);
        let registered = Found { registered: BTreeSet::from(["good".to_owned()]), ..Found::default() };
        known.settle(&Listed::running(&["good"]), &registered, now_ms + 1);
        assert_eq!(known.trouble(), None);
        assert_eq!(known.reserve(10, &pool(), &look(&Listed::running(&["good"]), now_ms + 1)).burst, 3);
    }

    #[test]
    fn a_job_that_registered_and_ended_is_no_trouble() {
        let mut known = Submissions::of("cpu");
        known.submitted(1, &ids(&["a", "b"]), 0);
        known.registered("a");
        known.settle(&Listed::default(), &over(&["a"]), 1_000);
        assert_eq!((known.trouble(), known.unregistered()), (None, vec!["b"]));
        // It registered and ended between two looks.
        let found = Found { registered: BTreeSet::from(["b".to_owned()]), ..over(&["b"]) };
        known.settle(&Listed::default(), &found, 1_000);
        assert_eq!(known, Submissions::of("cpu"));
    }
}
