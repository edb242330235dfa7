//! Rounds, one after another, until it is asked to stop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofyard_core::pipeline::NodeSource;
use proofyard_core::state::EndpointState;
use proofyard_intake::Intake;
use proofyard_intake::follower::{Follower, Hint};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::endpoints::Endpoints;
use crate::heads::{HINTS, Subscription};
use crate::rpc::RpcNodes;

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// While a node tells of its blocks, it is asked so many times less often.
const TOLD_POLLS: u32 = 4;
/// The node that is followed may have a block a moment later than another tells of it: until then it is asked after
/// this time, then after twice that, and so on, for so long.
const TOLD_POLL: Duration = Duration::from_millis(100);
const TOLD_FOR: Duration = Duration::from_secs(4);
/// Between two whole rounds because of what was told.
const WHOLE_GAP: Duration = Duration::from_millis(50);
/// A WebSocket that says nothing for so many polls, while there are new blocks, is given up.
const SILENT_POLLS: u32 = 4;
const SILENT_AFTER_LEAST: Duration = Duration::from_secs(5);

/// Follows until `is_stopped`, or the home fails for good. To be run within a [`LocalSet`].
pub async fn follow<I: Intake>(
    follower: &mut Follower<I, RpcNodes>,
    endpoints: &Endpoints,
    source: &NodeSource,
    is_stopped: impl Fn() -> bool,
) -> Result<(), I::Error> {
    LocalSet::new().run_until(rounds(follower, endpoints, source, is_stopped)).await
}

async fn rounds<I: Intake>(
    follower: &mut Follower<I, RpcNodes>,
    endpoints: &Endpoints,
    source: &NodeSource,
    is_stopped: impl Fn() -> bool,
) -> Result<(), I::Error> {
    let poll = Duration::from_millis(source.poll_ms);
    let polled = Rc::new(Cell::new(0));
    let (hints, mut told) = channel(HINTS);
    let statuses = Rc::clone(&follower.nodes().subscriptions);
    *statuses.borrow_mut() = endpoints.ws.iter().map(|url| Subscription::not_asked(url, now_ms())).collect();
    for (index, url) in endpoints.ws.iter().enumerate() {
        let subscription = Subscription {
            url: url.clone(),
            statuses: Rc::clone(&statuses),
            index,
            polled: Rc::clone(&polled),
            silent_after: (poll * SILENT_POLLS).max(SILENT_AFTER_LEAST),
            hints: hints.clone(),
            now_ms,
        };
        tokio::task::spawn_local(subscription.run());
    }
    let mut hint: Option<Hint> = None;
    // The newest block that was announced, and when.
    let mut newest_told = (0, Instant::now());
    let (mut whole_at, mut awaited_poll) = (Instant::now(), TOLD_POLL);
    while !is_stopped() {
        // Also while blocks are announced one after another, all nodes are looked at now and then.
        let is_whole_due = whole_at.elapsed() >= poll * TOLD_POLLS;
        let round = match follower.round(hint.as_ref().filter(|_| !is_whole_due)).await {
            Ok(round) => round,
            Err(error) if follower.intake().may_try_again(&error).await => continue,
            Err(error) => return Err(error),
        };
        if round.is_whole {
            whole_at = Instant::now();
        }
        if let Some(height) = hint.take().map(|hint| hint.height).filter(|height| *height > newest_told.0) {
            newest_told = (height, Instant::now());
            awaited_poll = TOLD_POLL;
        }
        let newest = follower.newest_head().unwrap_or_default();
        polled.set(newest);
        let is_awaited = newest < newest_told.0 && newest_told.1.elapsed() < TOLD_FOR;
        let is_told = statuses.borrow().iter().any(|status| status.state == EndpointState::Ready);
        let wait = match round.rests_until_ms {
            _ if round.has_more => Duration::ZERO,
            Some(until_ms) => Duration::from_millis(until_ms.saturating_sub(now_ms())).min(poll),
            None if is_awaited => {
                let wait = awaited_poll;
                awaited_poll = (awaited_poll * 2).min(poll.max(TOLD_POLL));
                wait
            }
            None if is_told => (poll * TOLD_POLLS).saturating_sub(whole_at.elapsed()).max(LOOK),
            None => poll,
        };
        hint = next_hint(&mut told, wait, whole_at + WHOLE_GAP, &is_stopped).await;
    }
    Ok(())
}

/// Waits until a node tells of a block. Of several that wait only the last counts, which a whole round takes; right after such a
/// round more of them are waited for, since a reorg has a node tell of all its blocks.
async fn next_hint(
    told: &mut Receiver<Hint>,
    wait: Duration,
    not_before: Instant,
    is_stopped: &impl Fn() -> bool,
) -> Option<Hint> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let hint = tokio::time::timeout(left.min(LOOK), told.recv()).await;
        match hint {
            Ok(Some(mut hint)) => {
                sleep(not_before.saturating_duration_since(Instant::now())).await;
                while let Ok(next) = told.try_recv() {
                    hint = next;
                }
                return Some(hint);
            }
            // The sender lives as long as this.
            Ok(None) => sleep(left.min(LOOK)).await,
            Err(_) => {}
        }
        if is_stopped() || Instant::now() >= until {
            return None;
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
