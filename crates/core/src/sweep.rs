//! The sweeper: visits whatever is due, so that no lost message is lost for good.

use crate::claim::is_unwanted;
use crate::error::Error;
use crate::mistake::Mistake;
use crate::port::Wake;
use crate::port::{DUE_SHARDS, Due, Key, Port};
use crate::record::{Ending, attempt_limit_ms, end_attempt, list, may_hedge, rearm};
use crate::state::{Avoid, Frontier, Heartbeat, Scope, SinkCursor, Task, TaskStatus};
use crate::transaction::{Tx, read, transact};
use crate::yard::Yard;

/// Entries of the due index read at a time.
const DUE_A_PAGE: usize = 256;

/// What one sweep did.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    pub visited: usize,
    /// Visits that failed; the rest went on, and these stay due.
    pub errors: Vec<(Key, String)>,
}

impl<P: Port> Yard<P> {
    /// Visits everything that is due now. One item's trouble does not keep it from the next.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for shard in 0..DUE_SHARDS {
            let until_ms = self.port.now_ms();
            let mut page = self.due_page(shard, None, until_ms).await?;
            // What stays due, because its visit failed, is passed by, so that it does not hide what is behind it.
            while let Some(last) = page.last().cloned() {
                for Due { key, .. } in page {
                    swept.visited += 1;
                    if let Err(error) = self.visit(&key).await {
                        swept.errors.push((key, error.to_string()));
                    }
                }
                page = self.due_page(shard, Some(&last), until_ms).await?;
            }
        }
        Ok(swept)
    }

    /// The next entries of a shard that are due by `until_ms`; none after the last.
    pub(crate) async fn due_page(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
    ) -> Result<Vec<Due>, Error> {
        Ok(self.port.due(shard, after, until_ms, self.page_of(DUE_A_PAGE)).await?)
    }

    async fn visit(&self, key: &Key) -> Result<(), Error> {
        match (key.partition.split('#').next().unwrap_or_default(), key.sort.as_str()) {
            ("S", "scope") => self.visit_scope(key).await,
            ("C", "chain" | "frontier") => {
                let chain = key.partition.trim_start_matches("C#");
                self.advance_chain(chain).await?;
                self.rest_chain(chain).await
            }
            ("C", sort) if sort.starts_with("sink#") => self.visit_sink(key).await,
            ("T", _) => self.visit_task(key).await,
            ("W", "hb") => self.visit_heartbeat(key).await,
            _ => Ok(()),
        }
    }

    async fn visit_scope(&self, key: &Key) -> Result<(), Error> {
        let Some(scope) = read::<P, Scope>(&self.port, key).await? else { return Ok(()) };
        self.list_all_fed(&scope).await?;
        self.advance_scope(&scope.id).await?;
        self.advance_chain(&scope.chain).await?;
        let again: Option<Scope> = read(&self.port, key).await?;
        if let Some(scope) = again.filter(|scope| crate::transaction::Item::due_ms(scope).is_some()) {
            let tick_ms = self.pipeline(&scope.chain, &scope.pipeline).await?.chain.tick_ms;
            self.port.arm(key, self.port.now_ms() + tick_ms).await?;
        }
        Ok(())
    }

    async fn visit_heartbeat(&self, key: &Key) -> Result<(), Error> {
        match read::<P, Heartbeat>(&self.port, key).await? {
            Some(heartbeat) => self.expire_worker(&heartbeat.worker, false).await,
            None => Ok(()),
        }
    }

    async fn visit_sink(&self, key: &Key) -> Result<(), Error> {
        if let Some(cursor) = read::<P, SinkCursor>(&self.port, key).await?
            && cursor.next_try_ms.is_some()
        {
            let tick_ms = self.chain(&cursor.chain).await?.1.chain.tick_ms;
            self.port.arm(key, self.port.now_ms() + tick_ms).await?;
            self.port.send(&[Wake::Sink { chain: cursor.chain, sink: cursor.sink }]).await;
        }
        Ok(())
    }

    /// A task is due when it has backed off long enough, when its attempt overran, or for its second copy.
    async fn visit_task(&self, key: &Key) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let Some(mut task): Option<Task> = tx.check(key).await? else { return Ok(()) };
            let now_ms = self.port.now_ms();
            if task.due_ms.is_none_or(|due_ms| due_ms > now_ms) {
                return Ok(());
            }
            match task.status {
                TaskStatus::Open => self.visit_open(tx, &mut task, now_ms).await?,
                TaskStatus::Parked => {
                    let limits = self.limits_of(&task).await?;
                    rearm(&mut task, &limits, now_ms, 0);
                }
                TaskStatus::Accepted | TaskStatus::Cancelled => task.due_ms = None,
            }
            tx.put(&task)
        })
        .await
    }

    async fn visit_open(&self, tx: &mut Tx<'_, P>, task: &mut Task, now_ms: u64) -> Result<(), Error> {
        let limits = self.limits_of(task).await?;
        let overran = |started_ms: u64| started_ms + attempt_limit_ms(&limits) <= now_ms;
        let late: Vec<String> = task
            .attempts
            .iter()
            .filter(|attempt| overran(attempt.started_ms))
            .map(|attempt| attempt.claim.clone())
            .collect();
        for claim in late {
            end_attempt(self, tx, task, &claim, Ending::Lost { reason: "it overran its time limit" }).await?;
        }
        if task.status != TaskStatus::Open {
            return Ok(());
        }
        let straggles = limits.hedge_ms.is_some_and(|hedge_ms| {
            !self.planted(Mistake::NoHedging)
                && may_hedge(task)
                && task.attempts.iter().all(|attempt| attempt.started_ms + hedge_ms <= now_ms)
        });
        if straggles || (task.attempts.is_empty() && !task.listed) {
            if self.scope_is_unwanted(tx, task).await? {
                task.due_ms = None;
                return Ok(());
            }
            if let Some(attempt) = task.attempts.first().filter(|_| straggles) {
                let until_ms = attempt.started_ms + limits.time_limit_ms;
                task.avoid = Some(Avoid { worker: attempt.worker.clone(), until_ms });
            }
            list(tx, task, now_ms)?;
        }
        rearm(task, &limits, now_ms, 0);
        Ok(())
    }

    /// Checked, so that a scope which returns meanwhile lists its tasks itself.
    async fn scope_is_unwanted(&self, tx: &mut Tx<'_, P>, task: &Task) -> Result<bool, Error> {
        let scope: Option<Scope> = tx.check(&Scope::key_of(&task.id.scope)).await?;
        Ok(scope.as_ref().is_none_or(is_unwanted))
    }

    /// The frontier's due time after a visit: again at the next tick, at the time a waiting cut closes, or never.
    async fn rest_chain(&self, chain: &str) -> Result<(), Error> {
        let tick_ms = self.chain(chain).await?.1.chain.tick_ms;
        let now_ms = self.port.now_ms();
        match self.next_look(chain).await? {
            Some(wait_until_ms) => {
                let due_ms = wait_until_ms.max(now_ms + tick_ms);
                self.port.arm(&Frontier::key_of(chain), due_ms).await?;
            }
            None => self.quiet_chain(chain).await?,
        }
        Ok(())
    }
}
