//! The sweeper: visits whatever is due, so that no lost message is lost for good.
//!
//! A sweep has a budget of time. It looks first at what frees work: workers whose lease ended, then chains and tasks, each
//! chain advanced once; then at open scopes, which are many and mostly quiet. No kind takes more than half of the time
//! that is left, so that none starves the next; and each goes on where the last sweep stopped, so that none of its own
//! entries starves. A scope is looked at less and less often while nothing happens to it.

use std::collections::BTreeSet;

use crate::advance::Look;
use crate::claim::is_unwanted;
use crate::error::Error;
use crate::listing::{attempt_limit_ms, next_look_ms, put_listing, reschedule};
use crate::pages::DuePages;
use crate::pipeline::{Pipeline, Sink};
use crate::planted_bug::PlantedBug;
use crate::port::{Due, DueKind, Key, Version, Wake};
use crate::record::{Ending, end_attempt};
use crate::scope_stages::stages_of;
use crate::state::{
    ChainName, KeyFamily, KindPlace, LevelPlace, Scope, SeenHeartbeat, SinkCursor, SweepPlace, Task,
    VisitedEntry, WorkerId,
};
use crate::strategy::readiness::keys_read;
use crate::transaction::{Item, Tx, decode, read, read_stored, transact};
use crate::yard::{Yard, boxed};

/// Entries of the due index read at a time.
const DUE_A_PAGE: usize = 256;
/// Scopes that are read at once before they are visited one by one.
const READ_AHEAD: usize = 64;
/// A scope to which nothing happens is looked at after 1 tick, 2, 4 and so on, up to so many, and to so long.
const LONGEST_QUIET_TICKS: u64 = 16;
const LONGEST_QUIET_MS: u64 = 300_000;

/// What one sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    pub visited: usize,
    /// Visits that failed; the rest went on, and these stay due.
    pub errors: Vec<(Key, Error)>,
    /// Since this was last true, all that was due has been visited, by this sweep and those before it.
    pub round_over: bool,
}

/// A sweep under way: [`Sweep::what_frees_work`], then [`Sweep::scopes`], then [`Sweep::end`].
pub struct Sweep<'a> {
    yard: &'a Yard,
    began_ms: u64,
    until_ms: u64,
    found: SweepPlace,
    place: SweepPlace,
    /// Chains that were advanced.
    advanced: BTreeSet<ChainName>,
    swept: Swept,
}

impl Yard {
    /// Visits everything that is due now.
    #[boxed(?Send)]
    pub async fn sweep(&self) -> Result<Swept, Error> {
        self.sweep_within(u64::MAX).await
    }

    /// Visits what is due, for about so long.
    #[boxed(?Send)]
    pub async fn sweep_within(&self, budget_ms: u64) -> Result<Swept, Error> {
        let mut sweep = self.begin_sweep(budget_ms).await?;
        sweep.what_frees_work().await?;
        sweep.scopes().await?;
        sweep.end().await
    }

    /// For callers that do something between its parts.
    #[boxed(?Send)]
    pub async fn begin_sweep<'a>(&'a self, budget_ms: u64) -> Result<Sweep<'a>, Error> {
        let began_ms = self.port.now_ms();
        let found: SweepPlace = read(&self.port, &SweepPlace::key()).await?.unwrap_or_default();
        Ok(Sweep {
            yard: self,
            began_ms,
            until_ms: began_ms.saturating_add(budget_ms),
            place: found.clone(),
            found,
            advanced: BTreeSet::new(),
            swept: Swept::default(),
        })
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
}

impl Sweep<'_> {
    /// Workers whose lease ended, tasks to list again or to end, chains, sinks.
    #[boxed(?Send)]
    pub async fn what_frees_work(&mut self) -> Result<(), Error> {
        self.go_round(DueKind::Worker, self.half_of_what_is_left()).await?;
        self.go_round(DueKind::Step, self.half_of_what_is_left()).await
    }

    /// Open blocks and cuts.
    #[boxed(?Send)]
    pub async fn scopes(&mut self) -> Result<(), Error> {
        self.go_round(DueKind::Scope, self.until_ms).await
    }

    /// Keeps where the next sweep goes on.
    pub async fn end(self) -> Result<Swept, Error> {
        let round_over = self.place.went_round();
        let mut place = self.place;
        if round_over {
            for kind in DueKind::ALL {
                place.of(kind).went_round = false;
            }
        }
        if place != self.found {
            transact(&self.yard.port, async |tx| {
                tx.peek::<SweepPlace>(&SweepPlace::key()).await?;
                tx.put(&place)
            })
            .await?;
        }
        Ok(Swept { round_over, ..self.swept })
    }

    fn half_of_what_is_left(&self) -> u64 {
        let now_ms = self.yard.port.now_ms();
        now_ms + self.until_ms.saturating_sub(now_ms) / 2
    }

    /// Visits what is due of one kind: the rest of the round that the last sweep left, then what came due since, or until it
    /// is time; one visit is always made. One visit that fails does not keep it from the next.
    async fn go_round(&mut self, kind: DueKind, until_ms: u64) -> Result<(), Error> {
        let goes_on = self.place.of(kind).after.is_some();
        if goes_on && !self.rest_of_round(kind, until_ms).await? {
            return Ok(());
        }
        self.place.of(kind).until_ms = self.began_ms;
        self.rest_of_round(kind, until_ms).await.map(|_| ())
    }

    /// Says whether it came to the round's end.
    async fn rest_of_round(&mut self, kind: DueKind, until_ms: u64) -> Result<bool, Error> {
        let after = self.place.of(kind).after.clone();
        let shards = kind.shards();
        let start = after.as_ref().map_or(shards.start, |entry| entry.shard);
        for shard in start..shards.end {
            let after = after.as_ref().filter(|_| shard == start).map(VisitedEntry::due);
            if !self.shard(kind, shard, after, until_ms).await? {
                return Ok(false);
            }
        }
        *self.place.of(kind) = KindPlace { went_round: true, ..KindPlace::default() };
        Ok(true)
    }

    /// Says whether it came to the shard's end.
    async fn shard(
        &mut self,
        kind: DueKind,
        shard: u8,
        after: Option<Due>,
        until_ms: u64,
    ) -> Result<bool, Error> {
        let mut pages = DuePages::until(shard, self.place.of(kind).until_ms, after);
        while let Some(page) = pages.next(self.yard).await? {
            // What stays due, because its visit failed, is passed by, so that it does not hide what is behind it.
            for (place, due) in page.iter().enumerate() {
                if place % READ_AHEAD == 0 {
                    self.yard.read_ahead(kind, &page[place..page.len().min(place + READ_AHEAD)]).await?;
                }
                self.swept.visited += 1;
                if let Err(error) = self.visit(&due.key).await {
                    self.swept.errors.push((due.key.clone(), error));
                }
                if self.yard.port.now_ms() >= until_ms {
                    self.place.of(kind).after = Some(VisitedEntry::new(shard, due));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn visit(&mut self, key: &Key) -> Result<(), Error> {
        match KeyFamily::of(key) {
            Some(KeyFamily::Scope) => self.visit_scope(key).await,
            Some(KeyFamily::ChainState | KeyFamily::Frontier) => {
                let chain = ChainName::of_key(key);
                if self.advanced.insert(chain.clone()) {
                    self.yard.advance_chain(&chain).await?;
                    self.yard.wake_sinks(&chain).await?;
                }
                self.yard.rest_chain(&chain).await
            }
            Some(KeyFamily::SinkCursor) => self.yard.visit_sink(key).await,
            Some(KeyFamily::LevelPlace) => self.yard.visit_level_sink(key).await,
            Some(KeyFamily::Task) => self.yard.visit_task(key).await,
            Some(KeyFamily::Heartbeat) => self.yard.look_at_worker(key).await,
            _ => Ok(()),
        }
    }

    async fn visit_scope(&mut self, key: &Key) -> Result<(), Error> {
        let yard = self.yard;
        let Some((version, scope)) = yard.still_due::<Scope>(key).await? else { return Ok(()) };
        yard.list_all_fed(&scope).await?;
        let look = yard.look_after_scope(scope.id()).await?;
        let again = if look.moved { yard.still_due::<Scope>(key).await? } else { Some((version, scope)) };
        let Some((version, scope)) = again else { return Ok(()) };
        // The notifications of it may be lost.
        let waits = scope.is_proved() && scope.committed_ms().is_none();
        if waits && self.advanced.insert(scope.chain().clone()) {
            yard.advance_chain(scope.chain()).await?;
        }
        let tick_ms = yard.pipeline_of(&scope).await?.chain.tick_ms;
        let due_ms = yard.port.now_ms() + quiet_ms(&scope, &look, tick_ms, yard.port.now_ms());
        yard.port.reschedule(key, version, Some(due_ms)).await?;
        Ok(())
    }
}

/// How long a scope may wait for its next look: as long as nothing has happened to it, within bounds.
fn quiet_ms(scope: &Scope, look: &Look, tick_ms: u64, now_ms: u64) -> u64 {
    if look.moved {
        return tick_ms;
    }
    let of_scope = [scope.opened_ms(), scope.proved_ms(), scope.committed_ms(), scope.due_ms()];
    let changed_ms = of_scope.into_iter().flatten().fold(look.latest_ms, u64::max);
    now_ms.saturating_sub(changed_ms).clamp(tick_ms, longest_quiet_ms(tick_ms))
}

/// The longest time between two looks at an open scope, while sweeps get through.
pub(crate) fn longest_quiet_ms(tick_ms: u64) -> u64 {
    tick_ms.saturating_mul(LONGEST_QUIET_TICKS).min(LONGEST_QUIET_MS).max(tick_ms)
}

impl Yard {
    /// An item that has something due. Where it has nothing, its entry in the index is stale, and is removed.
    async fn still_due<T: Item>(&self, key: &Key) -> Result<Option<(Version, T)>, Error> {
        let Some((version, item)) = read_stored::<T>(&self.port, key).await? else { return Ok(None) };
        if item.due_ms().is_none() {
            self.port.reschedule(key, version, None).await?;
            return Ok(None);
        }
        Ok(Some((version, item)))
    }

    /// Reads at once what visits will ask for one by one: a home whose reads are far away keeps it for this invocation. What
    /// cannot be read is for its own visit to say.
    async fn read_ahead(&self, kind: DueKind, page: &[Due]) -> Result<(), Error> {
        let keys: Vec<Key> = page.iter().map(|due| due.key.clone()).collect();
        match kind {
            DueKind::Worker => {
                let seen =
                    keys.iter().map(|key| SeenHeartbeat::key_of(&WorkerId::from(KeyFamily::about(key))));
                let all: Vec<Key> = keys.iter().cloned().chain(seen).collect();
                self.port.get_many(&all).await?;
                Ok(())
            }
            DueKind::Step => Ok(()),
            DueKind::Scope => self.read_scopes_ahead(&keys).await,
        }
    }

    async fn read_scopes_ahead(&self, keys: &[Key]) -> Result<(), Error> {
        let mut next = Vec::new();
        for (key, stored) in keys.iter().zip(self.port.get_many(keys).await?) {
            let Some(Ok(scope)) = stored.map(|stored| decode::<Scope>(key, &stored)) else { continue };
            let Ok(pipeline) = self.pipeline(scope.chain(), scope.pipeline()).await else { continue };
            for stage in stages_of(&pipeline, &scope).into_iter().map(|index| &pipeline.stages[index]) {
                next.extend(keys_read(&scope, &pipeline, stage));
            }
        }
        self.port.get_many(&next).await?;
        Ok(())
    }

    async fn visit_sink(&self, key: &Key) -> Result<(), Error> {
        let Some((version, cursor)) = self.still_due::<SinkCursor>(key).await? else { return Ok(()) };
        let pipeline = self.chain(&cursor.chain).await?.1;
        let sink = pipeline.sinks.get(&cursor.sink);
        let reads_it = sink.is_some_and(|sink| !sink.is_level() && pipeline.log_of(sink.stage) == cursor.log);
        // What comes into its log wakes it.
        let end = self.out_sequence(&cursor.log, &self.frontier(&cursor.chain).await?).await?;
        let is_told = reads_it && !cursor.paused && cursor.next_sequence < end;
        self.try_sink_again(key, version, &pipeline, cursor.sink, is_told).await
    }

    async fn visit_level_sink(&self, key: &Key) -> Result<(), Error> {
        let Some((version, place)) = self.still_due::<LevelPlace>(key).await? else { return Ok(()) };
        let pipeline = self.chain(&place.chain).await?.1;
        let is_level = pipeline.sinks.get(&place.sink).is_some_and(Sink::is_level);
        self.try_sink_again(key, version, &pipeline, place.sink, is_level && !place.paused).await
    }

    /// A sink that is gone from the pipeline, reads another log or is paused is not due: what brings it back wakes it.
    async fn try_sink_again(
        &self,
        key: &Key,
        version: Version,
        pipeline: &Pipeline,
        sink: String,
        is_told: bool,
    ) -> Result<(), Error> {
        let due_ms = is_told.then(|| self.port.now_ms() + pipeline.chain.tick_ms);
        self.port.reschedule(key, version, due_ms).await?;
        if is_told {
            self.port.send(&[Wake::Sink { chain: pipeline.chain.name.clone(), sink }]).await;
        }
        Ok(())
    }

    /// A task is due when it has backed off long enough, when its attempt overran, or for its second copy.
    async fn visit_task(&self, key: &Key) -> Result<(), Error> {
        let Some((version, task)) = self.still_due::<Task>(key).await? else { return Ok(()) };
        if task.is_accepted() {
            // A result that came when nobody waited for it.
            self.advance_scope(&task.id().scope).await?;
            self.port.reschedule(key, version, None).await?;
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let Some(mut task): Option<Task> = tx.check(key).await? else { return Ok(()) };
            let now_ms = self.port.now_ms();
            if task.due_ms().is_none_or(|due_ms| due_ms > now_ms) || task.is_accepted() {
                return Ok(());
            }
            match task.is_parked() {
                false => self.visit_open(tx, &mut task, now_ms).await?,
                // If its block returns, it is looked at again.
                true if self.scope_is_unwanted(tx, &task).await? => task.look_at(None),
                true => reschedule(self, &mut task),
            }
            tx.put(&task)
        })
        .await
    }

    async fn visit_open(&self, tx: &mut Tx<'_>, task: &mut Task, now_ms: u64) -> Result<(), Error> {
        let limits = self.limits_of(task).await?;
        if let Some(pause_ms) = task.unmeasured_pause_ms() {
            task.pause_until(self.due_in(pause_ms));
            return Ok(());
        }
        let mut oldest_ms = None;
        for attempt in task.attempts().to_vec() {
            let ran_ms = self.ran(&attempt).await?.all_ms;
            if ran_ms >= attempt_limit_ms(&limits) {
                let ending = Ending::Lost { reason: "it overran its time limit" };
                end_attempt(self, tx, task, &attempt.claim, ending).await?;
            } else {
                oldest_ms = oldest_ms.max(Some(ran_ms));
            }
        }
        if !task.is_open() {
            return Ok(());
        }
        let straggles = limits.hedge_ms.is_some_and(|hedge_ms| {
            !self.planted(PlantedBug::NoHedging)
                && task.may_hedge()
                && oldest_ms.is_some_and(|ran_ms| ran_ms >= hedge_ms)
        });
        if straggles || (task.attempts().is_empty() && !task.is_listed()) {
            if self.scope_is_unwanted(tx, task).await? {
                // What runs is ended in time all the same.
                match oldest_ms {
                    Some(ran_ms) => task.look_at(Some(next_look_ms(&limits, false, now_ms, ran_ms))),
                    None => task.withdraw(),
                }
                return Ok(());
            }
            let listing = match task.attempts().first().filter(|_| straggles) {
                Some(attempt) => task.hedge(attempt.started_ms + limits.time_limit_ms, now_ms),
                None => task.list(now_ms),
            };
            put_listing(tx, listing)?;
        }
        if let Some(ran_ms) = oldest_ms {
            task.look_at(Some(next_look_ms(&limits, task.may_hedge(), now_ms, ran_ms)));
        }
        Ok(())
    }

    /// Checked, so that a scope which returns meanwhile lists its tasks itself.
    async fn scope_is_unwanted(&self, tx: &mut Tx<'_>, task: &Task) -> Result<bool, Error> {
        let scope: Option<Scope> = tx.check(&Scope::key_of(&task.id().scope)).await?;
        Ok(scope.as_ref().is_none_or(is_unwanted))
    }
}
