//! The yard's own services: handlers that wakes start, the judge, the sweeper, and the delivery to sinks.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::committed::CommittedProof;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::judge::{Judged, Verifies};
use proofyard_core::pipeline::BlockWord;
use proofyard_core::port::Wake;
use proofyard_core::record::FailureKind;
use proofyard_core::sinks::{BlockNews, Trouble};
use proofyard_core::state::{ChainName, OutEntry, OutKind, ScopeId, SinkCursor, TaskId};
use proofyard_core::sweep::Swept;
use proofyard_core::work::AttemptError;

use super::World;
use super::pipelines::{LEVELS, RARE};
use crate::check::mirror::Item;
use crate::executor::{Invocation, Signal};

/// How often one round of a sweep may visit one entry: another process, whose clock is a little behind, may set it due again
/// meanwhile.
const VISITS_A_ROUND: usize = 3;

/// Longer than any run.
pub(super) const NEVER_MS: u64 = 30 * 24 * 3_600_000;

/// What each sink has received.
#[derive(Default)]
pub struct Sinks {
    pub signal: Signal,
    received: BTreeMap<(ChainName, String), Vec<OutEntry>>,
    /// By chain and height: the newest word that the chain's level sink was told, and of which block.
    heard: BTreeMap<ChainName, BTreeMap<u64, (ScopeId, BlockWord)>>,
}

impl World {
    /// Handles one wake; a message that fails is redelivered a few times.
    pub(super) async fn serve(self: Rc<Self>, wake: Wake) {
        if let Wake::Judge { task } = &wake {
            return self.judge(task).await;
        }
        if self.happens(self.plan.invocations) {
            return self.invoke(wake).await;
        }
        for _ in 0..3 {
            match self.bounded(self.yard.advance(&wake)).await {
                Some(Ok(())) => return,
                Some(Err(error)) => self.expect_passing("advance", &error),
                None => {}
            }
            self.simulation.sleep(200).await;
        }
    }

    /// The judge verifies a task's result. If it cannot now, the scope that waits for the judgement wakes it again.
    async fn judge(&self, task: &TaskId) {
        for _ in 0..3 {
            match self.bounded(self.yard.judge(&mut Verifier { world: self }, "judge", task)).await {
                Some(Ok(Judged::Later(_))) => self.simulation.count("branch: judged later"),
                Some(Ok(judged)) => {
                    return self.simulation.count(match judged {
                        Judged::Stands => "branch: judged",
                        Judged::Refused(_) => "branch: refused by the judge",
                        Judged::Before => "branch: judged before",
                        _ => "branch: nothing to judge",
                    });
                }
                Some(Err(error)) => self.expect_passing("judge", &error),
                None => {}
            }
            self.simulation.sleep(200).await;
        }
    }

    /// One invocation: a message and the steps that it leads to, up to some number of steps, as a time limit would end it.
    async fn invoke(&self, wake: Wake) {
        self.simulation.count("branch: invocation");
        self.simulation.set_invocation(Some(Invocation { wakes: [wake].into(), ..Invocation::default() }));
        let mut steps = self.simulation.random(|random| random.between(1, 12));
        while steps > 0
            && let Some(step) = self.simulation.in_invocation(Invocation::take_step).flatten()
        {
            steps -= 1;
            match self.bounded(self.yard.advance(&step)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => self.expect_passing("advance", &error),
                // The invocation died: the wakes that it had not sent are lost.
                None => {
                    self.simulation.set_invocation(None);
                }
            }
        }
        if let Some(invocation) = self.simulation.set_invocation(None) {
            self.yard.port.send_out(&Vec::from_iter(invocation.wakes)).await;
        }
    }

    pub(super) async fn sweep(self: Rc<Self>) {
        let ticks = self.pipelines.values().map(|pipeline| pipeline.chain.tick_ms);
        let tick_ms = ticks.min().unwrap_or(1_000);
        loop {
            self.simulation.sleep(tick_ms).await;
            if self.only_wakes.get() {
                continue;
            }
            self.simulation.reset_due_reads();
            // Mostly a sweep has time for everything; sometimes only for a visit or two of each kind.
            let budget_ms = match self.simulation.random(|random| random.below(4)) {
                0 => self.simulation.random(|random| random.skewed(500)),
                _ => u64::MAX,
            };
            match self.bounded(self.yard.sweep_within(budget_ms)).await {
                Some(Ok(swept)) => {
                    if swept.round_over {
                        self.sweeps.set(self.sweeps.get() + 1);
                    } else {
                        self.simulation.count("branch: sweep had no time for all");
                    }
                    self.check_sweep(swept);
                }
                Some(Err(error)) => self.expect_passing("sweep", &error),
                None => {}
            }
        }
    }

    pub(super) fn check_sweep(&self, swept: Swept) {
        for (key, error) in swept.errors {
            self.simulation.count("branch: visit failed");
            if !error.passes() {
                self.simulation.violate(format!("a visit to {key} failed: {}", with_causes(&error)));
            }
        }
        if let Some((key, times)) =
            self.simulation.most_due_reads().filter(|(_, times)| *times > VISITS_A_ROUND)
        {
            self.simulation.violate(format!("one round of a sweep visited {key} {times} times"));
        }
    }

    /// Hands a sink's entries on, one after another.
    pub(super) async fn hand_on(self: Rc<Self>, chain: ChainName, sink: String) {
        let signal = self.sinks.borrow().signal.clone();
        loop {
            let (since_step, notices) = (self.simulation.steps(), signal.notices());
            match self.bounded(self.yard.sink_next(&chain, &sink)).await {
                Some(Ok(Some(entry))) => {
                    self.check_hand_on(&entry, since_step);
                    self.hand_on_entry(&chain, &sink, entry).await;
                }
                Some(Ok(None)) => {
                    let idle_ms = if self.only_wakes.get() { NEVER_MS } else { 5_000 };
                    signal.wait_after(notices, &self.simulation, self.simulation.now_ms() + idle_ms).await;
                }
                Some(Err(error)) => {
                    self.expect_passing("sink_next", &error);
                    self.simulation.sleep(200).await;
                }
                None => {}
            }
        }
    }

    /// Tells a level sink how far blocks are.
    pub(super) async fn tell_levels(self: Rc<Self>, chain: ChainName, sink: String) {
        let signal = self.sinks.borrow().signal.clone();
        loop {
            let notices = signal.notices();
            let news = match self.bounded(self.yard.level_next(&chain, &sink)).await {
                Some(Ok(news)) => news,
                Some(Err(error)) => {
                    self.expect_passing("level_next", &error);
                    self.simulation.sleep(200).await;
                    continue;
                }
                None => continue,
            };
            if news.is_empty() {
                let idle_ms = if self.only_wakes.get() { NEVER_MS } else { 5_000 };
                signal.wait_after(notices, &self.simulation, self.simulation.now_ms() + idle_ms).await;
            }
            for news in news {
                if !self.tell_block(&news).await {
                    break;
                }
            }
        }
    }

    /// Tells one word; says whether it came to an end that is known.
    async fn tell_block(&self, news: &BlockNews) -> bool {
        match self.bounded(self.yard.level_sending(news)).await {
            Some(Ok(true)) => {}
            Some(Ok(false)) => return true,
            Some(Err(error)) => {
                self.expect_passing_or_renamed("level_sending", &error);
                return false;
            }
            None => return false,
        }
        if self.happens(self.plan.sink_fails) {
            self.simulation.count("fault: level sink failed");
            // The word may have come all the same.
            if self.happens(5_000) {
                self.hear(news);
            }
            let trouble = Trouble::saying("no connection");
            if let Some(Err(error)) = self.bounded(self.yard.level_failed(news, &trouble)).await {
                self.expect_passing_or_renamed("level_failed", &error);
            }
            return false;
        }
        self.hear(news);
        self.simulation.pause().await;
        if self.happens(self.plan.sink_fails / 10) {
            self.simulation.count("fault: crash after a word");
            self.simulation.kill_current();
            self.simulation.pause().await;
        }
        match self.bounded(self.yard.level_done(news)).await {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.expect_passing_or_renamed("level_done", &error);
                false
            }
            None => false,
        }
    }

    /// What a level sink hears of a block: never an older word after a newer.
    fn hear(&self, news: &BlockNews) {
        self.simulation.count("check: level sink was told");
        let BlockNews { chain, height, scope, word, .. } = news;
        let mut sinks = self.sinks.borrow_mut();
        let heard = sinks.heard.entry(chain.clone()).or_default();
        let known = heard.get(height).filter(|(known, _)| known == scope).map(|(_, word)| *word);
        if known.is_some_and(|known| known > *word) {
            self.simulation.violate(format!("{scope} is told of as {word:?} after {known:?}"));
        }
        if let Some((other, _)) = heard.get(height).filter(|(other, _)| other != scope) {
            self.simulation.violate(format!("{scope} is told of as {word:?} while {other} stands"));
        }
        match word {
            BlockWord::Retracted => _ = heard.remove(height),
            word => _ = heard.insert(*height, (scope.clone(), *word)),
        }
    }

    /// A level sink that has not heard the last word of every block.
    pub(super) fn levels_left(&self) -> Option<String> {
        let (sinks, checker) = (self.sinks.borrow(), self.checker.borrow());
        let proving = self.proving.borrow();
        let context = checker.context(&self.simulation, &proving);
        for chain in self.pipelines.keys() {
            let Some(pipeline) = context.pipeline(chain) else { continue };
            if !pipeline.sinks.contains_key(LEVELS) {
                continue;
            }
            let Some(frontier) = context.mirror.frontier(chain) else { continue };
            for height in pipeline.chain.start_height..frontier.height {
                let heard = sinks.heard.get(chain).and_then(|heard| heard.get(&height));
                let canonical = context.mirror.canonical(chain, height).map(|block| block.scope());
                let has_last = heard.is_some_and(|(scope, word)| {
                    Some(scope) == canonical.as_ref() && *word >= BlockWord::Committed
                });
                if !has_last {
                    return Some(format!("{chain}/{LEVELS} heard {heard:?} of {height}"));
                }
            }
        }
        None
    }

    fn check_hand_on(&self, entry: &OutEntry, since_step: u64) {
        self.check();
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        let context = checker.context(&self.simulation, &proving);
        checker.out_logs.check_hand_on(&context, entry, since_step);
        let key = OutEntry::key_of(&entry.chain, &entry.log, entry.sequence);
        context.must(!self.simulation.table().may_lose(&key), || {
            format!("{key} is handed on, and a power loss may still take it back")
        });
    }

    async fn hand_on_entry(&self, chain: &ChainName, sink: &str, entry: OutEntry) {
        if self.happens(self.plan.sink_fails) {
            self.simulation.count("fault: sink failed");
            // One that is told once in a while may be sure of that, and then gets a newer one.
            let nothing_sent = sink == RARE && self.happens(5_000) && !self.has_received(chain, &entry);
            let trouble = Trouble { nothing_sent, ..Trouble::saying("no connection") };
            if let Some(Err(error)) = self.bounded(self.yard.sink_failed(sink, &entry, &trouble)).await {
                self.expect_passing_or_renamed("sink_failed", &error);
            }
            return;
        }
        self.receive(chain, sink, entry.clone());
        // The process may die before it records the hand-on, and the sink receives a repeat.
        self.simulation.pause().await;
        if self.happens(self.plan.sink_fails / 10) {
            self.simulation.count("fault: crash after a hand-on");
            self.simulation.kill_current();
            self.simulation.pause().await;
        }
        if let Some(Err(error)) = self.bounded(self.yard.sink_done(sink, &entry)).await {
            self.expect_passing_or_renamed("sink_done", &error);
        }
    }

    /// A sink that was renamed meanwhile is refused; under its new name it receives everything.
    fn expect_passing_or_renamed(&self, what: &str, error: &Error) {
        match error {
            Error::Refused(_) => self.simulation.count("world: hand-on of a sink that is gone"),
            error => self.expect_passing(what, error),
        }
    }

    fn has_received(&self, chain: &ChainName, entry: &OutEntry) -> bool {
        let sinks = self.sinks.borrow();
        let received = sinks.received.get(&(chain.clone(), RARE.to_owned()));
        received.is_some_and(|received| received.contains(entry))
    }

    /// A sink that is told once in a while receives newer and newer entries; what takes back what it has it receives before.
    fn receive_rarely(&self, chain: &ChainName, entry: OutEntry) {
        let mut sinks = self.sinks.borrow_mut();
        let received = sinks.received.entry((chain.clone(), RARE.to_owned())).or_default();
        let Some(last) = received.last().filter(|last| last.log == entry.log) else {
            return received.push(entry);
        };
        if *last == entry {
            return self.simulation.count("check: a rare sink got a repeat");
        }
        if entry.sequence <= last.sequence {
            let (before, now) = (last.sequence, entry.sequence);
            return self.simulation.violate(format!("{chain}/{RARE}: {now} came after {before}"));
        }
        let below =
            received.iter().filter(|each| each.log == entry.log).fold(0, |below, each| match &each.kind {
                OutKind::Proof { to, .. } => to + 1,
                OutKind::Retract { from, .. } => below.min(*from),
            });
        let between = last.sequence + 1..entry.sequence;
        let taken_back = self.checker.borrow().out_logs.takes_back(chain, &entry.log, between, below);
        if let Some(retract) = taken_back {
            let now = entry.sequence;
            self.simulation.violate(format!(
                "{chain}/{RARE}: {now} came, and not {retract}, which takes back what it has"
            ));
        }
        self.simulation.count("check: a rare sink got an entry");
        received.push(entry);
    }

    /// A sink receives the out log in order; a repeat is the same entry under the same key.
    fn receive(&self, chain: &ChainName, sink: &str, entry: OutEntry) {
        if sink == RARE {
            return self.receive_rarely(chain, entry);
        }
        let mut sinks = self.sinks.borrow_mut();
        let received = sinks.received.entry((chain.clone(), sink.to_owned())).or_default();
        let sequence = entry.sequence as usize;
        match received.get(sequence) {
            Some(earlier) if *earlier == entry => self.simulation.count("check: sink got a repeat"),
            Some(_) => {
                self.simulation.violate(format!("{chain}/{sink}: {sequence} came again as something else"))
            }
            None if received.len() == sequence => {
                self.simulation.count("check: sink got an entry");
                received.push(entry);
            }
            None => self
                .simulation
                .violate(format!("{chain}/{sink}: {sequence} came after {} entries", received.len())),
        }
    }

    /// A sink that has not received its whole log.
    pub(super) fn sinks_left(&self) -> Option<String> {
        let (sinks, checker) = (self.sinks.borrow(), self.checker.borrow());
        let proving = self.proving.borrow();
        let context = checker.context(&self.simulation, &proving);
        for chain in self.pipelines.keys() {
            let Some(pipeline) = context.pipeline(chain) else { continue };
            for (name, sink) in pipeline.sinks.iter().filter(|(_, sink)| !sink.is_level()) {
                let received = match name == RARE {
                    // Its time alone brings it on.
                    true if self.only_wakes.get() => continue,
                    true => match context.mirror.get(&SinkCursor::key_of(
                        chain,
                        name,
                        pipeline.log_of(sink.stage),
                    )) {
                        Some(Item::Sink(cursor)) => cursor.next_sequence,
                        _ => 0,
                    },
                    false => sinks.received.get(&(chain.clone(), name.clone())).map_or(0, Vec::len) as u64,
                };
                let logged = checker.out_logs.entries(chain, pipeline.log_of(sink.stage));
                if received != logged {
                    return Some(format!("{chain}/{name} got {received} of {logged} entries"));
                }
            }
        }
        None
    }
}

/// The judge's verifiers.
struct Verifier<'a> {
    world: &'a World,
}

impl Verifies for Verifier<'_> {
    async fn verify(&mut self, proof: &CommittedProof) -> Result<Option<String>, AttemptError> {
        let world = self.world;
        let ms = world.plan.prove_ms / 10;
        world.simulation.sleep(if world.is_calm.get() { ms.min(20) } else { ms }).await;
        let failed =
            |kind, message: &str| AttemptError::Failed { kind, message: message.into(), log: Vec::new() };
        if world.happens(world.plan.prover_fails / 2) {
            return Err(failed(FailureKind::Unavailable, "no connection"));
        }
        let proving = world.proving.borrow();
        match proving.artifact(&proof.proof.artifact).filter(|artifact| artifact.is_true) {
            Some(artifact) => Ok(Some(artifact.public_values.clone())),
            None => Err(failed(FailureKind::Transient, "it does not verify")),
        }
    }
}
