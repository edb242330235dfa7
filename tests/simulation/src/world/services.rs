//! What stands between messages and the outside: handlers that wakes start, the sweeper, and sinks.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::committed::CommittedProof;
use proofyard_core::error::Error;
use proofyard_core::judge::{Judged, Verifies};
use proofyard_core::port::Wake;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{OutEntry, TaskId};
use proofyard_core::sweep::Swept;
use proofyard_core::work::AttemptError;

use super::World;
use crate::executor::{Invocation, Signal};

/// How often one sweep may see one entry: who writes it meanwhile may have a clock that is a little behind.
const VISITS_A_SWEEP: usize = 3;

/// Longer than any run.
pub(super) const NEVER_MS: u64 = 30 * 24 * 3_600_000;

/// What each sink was handed.
#[derive(Default)]
pub struct Sinks {
    pub signal: Signal,
    got: BTreeMap<(String, String), Vec<OutEntry>>,
}

impl World {
    /// One handler call for one wake; a message that fails comes again a few times.
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

    /// The judge is told of a task; what it cannot say now, it is told of again by who waits for it.
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

    /// One message, and the steps that it leads to, until a limit of time ends it.
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
                // With the invocation goes all that it had still to say.
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
            // Mostly there is time for all; now and then only for a visit or two of each kind.
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
            let passes = error.contains("not available") || error.contains("tries in a row");
            if !passes {
                self.simulation.violate(format!("a visit to {key} failed: {error}"));
            }
        }
        if let Some((key, times)) =
            self.simulation.most_due_reads().filter(|(_, times)| *times > VISITS_A_SWEEP)
        {
            self.simulation.violate(format!("one sweep visited {key} {times} times"));
        }
    }

    /// Hands a sink's entries on, one by one.
    pub(super) async fn hand_on(self: Rc<Self>, chain: String, sink: String) {
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

    fn check_hand_on(&self, entry: &OutEntry, since_step: u64) {
        self.look();
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        let sight = checker.sight(&self.simulation, &proving);
        checker.out_logs.hands_on(&sight, entry, since_step);
        let key = OutEntry::key_of(&entry.chain, &entry.log, entry.sequence);
        sight.must(!self.simulation.table().may_lose(&key), || {
            format!("{key} is handed on, and a power loss may still take it back")
        });
    }

    async fn hand_on_entry(&self, chain: &str, sink: &str, entry: OutEntry) {
        if self.happens(self.plan.sink_fails) {
            self.simulation.count("fault: sink failed");
            if let Some(Err(error)) = self.bounded(self.yard.sink_failed(sink, &entry, "no connection")).await
            {
                self.expect_passing_or_renamed("sink_failed", &error);
            }
            return;
        }
        self.get(chain, sink, entry.clone());
        // Between the hand-on and its record the process may die, and the sink gets a repeat.
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

    /// A sink that was renamed meanwhile is told so; under its new name it gets everything.
    fn expect_passing_or_renamed(&self, what: &str, error: &Error) {
        match error {
            Error::Refused(_) => self.simulation.count("world: hand-on of a sink that is gone"),
            error => self.expect_passing(what, error),
        }
    }

    /// A sink gets the out log in order; a repeat is the same entry under the same key.
    fn get(&self, chain: &str, sink: &str, entry: OutEntry) {
        let mut sinks = self.sinks.borrow_mut();
        let got = sinks.got.entry((chain.to_owned(), sink.to_owned())).or_default();
        let sequence = entry.sequence as usize;
        match got.get(sequence) {
            Some(earlier) if *earlier == entry => self.simulation.count("check: sink got a repeat"),
            Some(_) => {
                self.simulation.violate(format!("{chain}/{sink}: {sequence} came again as something else"))
            }
            None if got.len() == sequence => {
                self.simulation.count("check: sink got an entry");
                got.push(entry);
            }
            None => self
                .simulation
                .violate(format!("{chain}/{sink}: {sequence} came after {} entries", got.len())),
        }
    }

    pub(super) fn sinks_left(&self) -> Option<String> {
        let (sinks, checker) = (self.sinks.borrow(), self.checker.borrow());
        let proving = self.proving.borrow();
        let sight = checker.sight(&self.simulation, &proving);
        for chain in self.pipelines.keys() {
            let Some(pipeline) = sight.pipeline(chain) else { continue };
            for (name, sink) in &pipeline.sinks {
                let got = sinks.got.get(&(chain.clone(), name.clone())).map_or(0, Vec::len) as u64;
                let told = checker.out_logs.entries(chain, pipeline.log_of(sink.stage));
                if got != told {
                    return Some(format!("{chain}/{name} got {got} of {told} entries"));
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
