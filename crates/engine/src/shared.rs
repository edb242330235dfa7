//! What the proxy's threads know together: what waits to be recorded, what the consensus client last called its head, and what is
//! to be said of the execution client and of the proxy.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proofyard_core::state::EndpointState;
use serde::Deserialize;

/// Calls that are held in memory because the disk did not take them. One of a payload may have megabytes.
const MOST_HELD: usize = 16;

/// As a consensus client says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forkchoice {
    pub head_block_hash: String,
    pub safe_block_hash: String,
    pub finalized_block_hash: String,
}

/// How the execution client was found, since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub state: EndpointState,
    pub since_ms: u64,
    pub error: Option<String>,
}

/// What is to be said of the proxy itself; counts are of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxyCounters {
    /// Valid payloads that came without a witness though one was asked for, and why the last one did.
    pub without_witness: u64,
    pub why_without: Option<String>,
    /// Valid payloads that are not recorded and lost.
    pub lost: u64,
    pub disk: Option<String>,
}

#[derive(Default)]
struct Inner {
    /// Calls whose witnesses are being written.
    writing: BTreeSet<u64>,
    held: VecDeque<Bytes>,
    forkchoice: Option<Forkchoice>,
    upstream: Option<Upstream>,
    told: ProxyCounters,
    is_woken: bool,
    is_over: bool,
}

#[derive(Default)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    wake: Condvar,
    last_id: AtomicU64,
    waiting: AtomicU64,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Later than all before, also than those of an earlier process.
    pub(crate) fn next_id(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let next = |last: u64| now_us.max(last + 1);
        self.last_id
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)))
            .map_or(now_us, next)
    }

    /// Ids of an earlier process, whose clock may have been ahead.
    pub(crate) fn ids_after(&self, id: u64) {
        self.last_id.fetch_max(id, Ordering::Relaxed);
    }

    pub(crate) fn wake(&self) {
        self.inner().is_woken = true;
        self.wake.notify_all();
    }

    pub(crate) fn witness_begins(&self, id: u64) {
        self.inner().writing.insert(id);
    }

    pub(crate) fn witness_ends(&self, id: u64) {
        self.inner().writing.remove(&id);
        self.wake();
    }

    /// A witness of this call is being written.
    pub(crate) fn is_writing(&self, id: u64) -> bool {
        self.inner().writing.contains(&id)
    }

    /// Calls on disk that wait to be recorded.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting_are(&self, calls: usize) {
        self.waiting.store(calls as u64, Ordering::Relaxed);
    }

    pub(crate) fn one_more_waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Until there may be something to record, at most so long.
    pub(crate) fn wait(&self, most: Duration) {
        let inner = self.inner();
        let (mut inner, _) = self
            .wake
            .wait_timeout_while(inner, most, |inner| !inner.is_woken)
            .unwrap_or_else(PoisonError::into_inner);
        inner.is_woken = false;
    }

    pub(crate) fn end(&self) {
        self.inner().is_over = true;
        self.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.inner().is_over
    }

    /// A valid payload that no disk has.
    pub(crate) fn hold(&self, body: Bytes) {
        let mut inner = self.inner();
        if inner.held.len() == MOST_HELD {
            inner.told.lost += 1;
        } else {
            inner.held.push_back(body);
        }
        drop(inner);
        self.wake();
    }

    pub(crate) fn first_held(&self) -> Option<Bytes> {
        self.inner().held.front().cloned()
    }

    pub(crate) fn forget_held(&self) {
        self.inner().held.pop_front();
    }

    pub(crate) fn head_is(&self, forkchoice: Forkchoice) {
        self.inner().forkchoice = Some(forkchoice);
        self.wake();
    }

    pub(crate) fn forkchoice(&self) -> Option<Forkchoice> {
        self.inner().forkchoice.clone()
    }

    pub(crate) fn upstream_is(&self, state: EndpointState, error: Option<String>) {
        let mut inner = self.inner();
        let since_ms = match &inner.upstream {
            Some(before) if before.state == state && before.error == error => return,
            Some(before) if before.state == state => before.since_ms,
            _ => now_ms(),
        };
        inner.upstream = Some(Upstream { state, since_ms, error });
        drop(inner);
        self.wake();
    }

    pub(crate) fn upstream(&self) -> Option<Upstream> {
        self.inner().upstream.clone()
    }

    pub(crate) fn told(&self) -> ProxyCounters {
        self.inner().told.clone()
    }

    pub(crate) fn without_witness(&self, why: &str) {
        let mut inner = self.inner();
        inner.told.without_witness += 1;
        inner.told.why_without = Some(why.to_owned());
    }

    /// A witness came and is not kept.
    pub(crate) fn not_kept(&self, why: &str) {
        self.without_witness(&format!("it cannot be kept: {why}"));
    }

    pub(crate) fn disk_fails(&self, error: &io::Error) {
        self.inner().told.disk = Some(error.to_string());
    }

    pub(crate) fn disk_works(&self) {
        self.inner().told.disk = None;
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
