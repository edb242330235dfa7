//! What all processes that submit a pool's workers share: how many workers are being submitted, which jobs AWS Batch may
//! not list yet, and which jobs ended before a worker of theirs registered.
//!
//! Many functions look at a pool at once, and each would submit all the workers that it lacks. So the count is kept in the
//! table: a submitter first reserves a number, on condition that the count has not changed, and afterwards writes the jobs'
//! ids. A reservation whose submitter died counts for [`SUBMISSION_GRACE_MS`]; until then the pool may have too few workers.
//!
//! A pool whose jobs end before they register (its image may not start) gets one job at a time, each after twice the wait,
//! until one registers.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::port::{Key, Range};
use proofyard_core::state::KeyFamily;
use proofyard_core::transaction::Item;
use serde::{Deserialize, Serialize};

use super::jobs::{Alive, Listed, More, PoolJobs, more_workers};

/// By then a submitter has finished or died, and AWS Batch lists what was submitted.
pub(crate) const SUBMISSION_GRACE_MS: u64 = 120_000;
/// The wait after the first jobs that ended before they registered; it doubles with each further round.
const FIRST_WAIT_MS: u64 = 30_000;
const LONGEST_WAIT_MS: u64 = 3_600_000;
const MAX_REASON_CHARS: usize = 500;
/// How many pools are read; `infra/spec` has a handful.
const MAX_POOLS: usize = 256;

/// The submissions of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submissions {
    pool: String,
    #[serde(default)]
    being_submitted: Vec<BeingSubmitted>,
    #[serde(default)]
    jobs: Vec<Submitted>,
    #[serde(default, rename = "trouble")]
    failed_starts: Option<FailedStarts>,
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

/// Jobs of a pool that ended before a worker registered, since the last one that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStarts {
    /// How many times in a row submitted jobs ended before they registered; jobs submitted together count once.
    pub rounds: u32,
    pub jobs: u64,
    /// How AWS Batch says that the last one ended.
    pub reason: String,
    pub at_ms: u64,
    /// When the next job is submitted.
    pub next_ms: u64,
}

/// What AWS Batch and the table say of a pool's submitted jobs.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The jobs that are not in Batch's lists: how each ended; `None` for one that has not.
    pub unlisted: BTreeMap<String, Option<String>>,
    /// The jobs of which a worker has registered.
    pub registered: BTreeSet<String>,
}

impl Submissions {
    pub fn key_of(pool: &str) -> Key {
        KeyFamily::PoolJobs.key_in("", pool)
    }

    /// The items of all pools.
    pub fn all() -> Range {
        KeyFamily::PoolJobs.range("", MAX_POOLS)
    }

    pub fn of(pool: &str) -> Self {
        Self { pool: pool.to_owned(), ..Self::default() }
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    pub fn failed_starts(&self) -> Option<&FailedStarts> {
        self.failed_starts.as_ref()
    }

    pub fn knows(&self, job: &str) -> bool {
        self.jobs.iter().any(|known| known.job == job)
    }

    /// The jobs of which no worker is known to have registered.
    pub fn unregistered(&self) -> Vec<&str> {
        self.jobs.iter().filter(|known| !known.registered).map(|known| known.job.as_str()).collect()
    }

    /// The jobs that are not in Batch's lists of pending and running ones.
    pub fn unlisted(&self, listed: &Listed) -> Vec<&str> {
        self.jobs.iter().map(|known| known.job.as_str()).filter(|job| !listed.has(job)).collect()
    }

    /// The jobs that are not over: those in Batch's lists, and those that are not listed yet.
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

    /// Reserves, under this id, as many workers as may be submitted now.
    pub fn reserve(&mut self, id: u64, pool: &PoolJobs, look: &Look<'_>) -> More {
        let mut more = more_workers(pool, self.alive(look.listed, look.now_ms), look.wanted, look.on_tick);
        if let Some(failed) = &self.failed_starts {
            // One job, to see whether they start again.
            let one = u32::from(failed.next_ms <= look.now_ms && self.unregistered().is_empty());
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

    /// Replaces a reservation by the ids of the jobs that were submitted; each with whether it stays.
    pub fn submitted(&mut self, id: u64, jobs: &[(String, bool)], now_ms: u64) {
        self.being_submitted.retain(|some| some.id != id);
        for (job, warm) in jobs {
            if !self.knows(job) {
                let (job, warm) = (job.clone(), *warm);
                self.jobs.push(Submitted { job, at_ms: now_ms, warm, registered: false });
            }
        }
    }

    /// A worker of this job has registered: the pool's workers do start.
    pub fn registered(&mut self, job: &str) {
        for known in self.jobs.iter_mut().filter(|known| known.job == job) {
            known.registered = true;
            self.failed_starts = None;
        }
    }

    /// Applies what was found out, and removes jobs that need not be known any more.
    pub fn update(&mut self, listed: &Listed, found: &Found, now_ms: u64) {
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
                // It is just moving from one of Batch's states to the next.
                Some(None) => left.push(known),
                // A job that AWS Batch does not know after so long does not count.
                None if listed.has(&known.job)
                    || known.at_ms.saturating_add(SUBMISSION_GRACE_MS) > now_ms =>
                {
                    left.push(known)
                }
                None => {}
            }
        }
        self.jobs = left;
        self.being_submitted.retain(|some| some.counts(now_ms));
    }

    fn ended_before_it_registered(&mut self, job: &Submitted, reason: &str, now_ms: u64) {
        let before = self.failed_starts.take();
        let (mut rounds, jobs) = before.as_ref().map_or((0, 0), |before| (before.rounds, before.jobs));
        let mut next_ms = before.as_ref().map_or(0, |before| before.next_ms);
        let mut at_ms = before.as_ref().map_or(0, |before| before.at_ms);
        // Jobs that were submitted before the last wait began belong to its round.
        if before.is_none() || job.at_ms >= at_ms {
            rounds = rounds.saturating_add(1);
            at_ms = now_ms;
            next_ms = now_ms.saturating_add(wait_ms(rounds));
        }
        let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        self.failed_starts =
            Some(FailedStarts { rounds, jobs: jobs.saturating_add(1), reason, at_ms, next_ms });
    }
}

impl Item for Submissions {
    fn key(&self) -> Key {
        Self::key_of(&self.pool)
    }
}

impl BeingSubmitted {
    fn counts(&self, now_ms: u64) -> bool {
        self.at_ms.saturating_add(SUBMISSION_GRACE_MS) > now_ms
    }
}

/// What a submitter has found out about a pool.
pub(crate) struct Look<'a> {
    pub listed: &'a Listed,
    /// How many workers the waiting tasks would keep busy.
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
        known.update(&some, &moves, 1_000 + SUBMISSION_GRACE_MS);
        assert_eq!(known.alive(&some, 200_000), Alive { coming: 1, running: 2, ..Alive::default() });
        assert_eq!(known.alive(&nobody, 200_000).coming, 3, "whatever is listed");
    }

    #[test]
    fn what_a_submitter_that_died_reserved_counts_for_a_while() {
        let mut known = Submissions::of("cpu");
        let nobody = Listed::default();
        assert_eq!(known.reserve(1, &pool(), &look(&nobody, 0)).burst, 4);
        assert_eq!(known.reserve(2, &pool(), &look(&nobody, SUBMISSION_GRACE_MS - 1)), More::default());
        assert_eq!(known.reserve(3, &pool(), &look(&nobody, SUBMISSION_GRACE_MS)).burst, 4);
    }

    #[test]
    fn a_pool_whose_jobs_do_not_register_waits_twice_as_long_each_time() {
        let mut known = Submissions::of("cpu");
        let nobody = Listed::default();
        let four = known.reserve(1, &pool(), &look(&nobody, 0));
        known.submitted(1, &ids(&["a", "b", "c", "d"]), 0);
        assert_eq!(four.burst, 4);
        known.update(&nobody, &over(&["a", "b"]), 5_000);
        known.update(&nobody, &over(&["c", "d"]), 9_000);
        let failed = known.failed_starts().cloned().unwrap();
        assert_eq!((failed.rounds, failed.jobs, failed.next_ms), (1, 4, 35_000), "all of one round");
        assert_eq!(failed.reason, "exit code 42");
        let mut now_ms = 35_000;
        for (round, waits_ms) in [(2, 60_000), (3, 120_000), (4, 240_000)] {
            assert_eq!(known.reserve(round, &pool(), &look(&nobody, now_ms - 1)), More::default());
            assert_eq!(known.reserve(round, &pool(), &look(&nobody, now_ms)).burst, 1, "one that tries");
            let job = format!("{round}");
            known.submitted(round, &ids(&[&job]), now_ms);
            assert_eq!(known.reserve(99, &pool(), &look(&nobody, now_ms + 1)), More::default());
            known.update(&nobody, &over(&[&job]), now_ms + 1_000);
            now_ms += 1_000 + waits_ms;
            let failed = known.failed_starts().unwrap();
            assert_eq!((u64::from(failed.rounds), failed.next_ms), (round, now_ms));
        }
        assert!(wait_ms(u32::MAX) == LONGEST_WAIT_MS);
        assert_eq!(known.reserve(9, &pool(), &look(&nobody, now_ms)).burst, 1);
        known.submitted(9, &ids(&["good"]), now_ms);
        let registered = Found { registered: BTreeSet::from(["good".to_owned()]), ..Found::default() };
        known.update(&Listed::running(&["good"]), &registered, now_ms + 1);
        assert_eq!(known.failed_starts(), None);
        assert_eq!(known.reserve(10, &pool(), &look(&Listed::running(&["good"]), now_ms + 1)).burst, 3);
    }

    #[test]
    fn a_job_that_registered_and_ended_is_no_failed_start() {
        let mut known = Submissions::of("cpu");
        known.submitted(1, &ids(&["a", "b"]), 0);
        known.registered("a");
        known.update(&Listed::default(), &over(&["a"]), 1_000);
        assert_eq!((known.failed_starts(), known.unregistered()), (None, vec!["b"]));
        // It registered and ended between two looks.
        let found = Found { registered: BTreeSet::from(["b".to_owned()]), ..over(&["b"]) };
        known.update(&Listed::default(), &found, 1_000);
        assert_eq!(known, Submissions::of("cpu"));
    }
}
