//! What stands between messages and the outside: handlers that wakes start, the sweeper, and sinks.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::port::Wake;
use proofyard_core::state::OutEntry;

use super::World;
use crate::executor::{Errand, Signal};

/// What each sink was handed.
#[derive(Default)]
pub struct Sinks {
    pub signal: Signal,
    got: BTreeMap<(String, String), Vec<OutEntry>>,
}

impl World {
    /// One handler call for one wake; a message that fails comes again a few times.
    pub(super) async fn serve(self: Rc<Self>, wake: Wake) {
        if self.happens(self.plan.errands) {
            return self.go_on_errand(wake).await;
        }
        for _ in 0..3 {
            match self.yard.advance(&wake).await {
                Ok(()) => return,
                Err(error) => self.expect_passing("advance", &error),
            }
            self.simulation.sleep(200).await;
        }
    }

    /// One message, and the steps that it leads to, until a limit of time ends it.
    async fn go_on_errand(&self, wake: Wake) {
        self.simulation.count("branch: errand");
        self.simulation.set_errand(Some(Errand { wakes: [wake].into(), ..Errand::default() }));
        let mut steps = self.simulation.random(|random| random.between(1, 12));
        while steps > 0
            && let Some(step) = self.simulation.on_errand(Errand::take_step).flatten()
        {
            steps -= 1;
            if let Err(error) = self.yard.advance(&step).await {
                self.expect_passing("advance", &error);
            }
        }
        if let Some(errand) = self.simulation.set_errand(None) {
            self.yard.port.send_out(&Vec::from_iter(errand.wakes)).await;
        }
    }

    pub(super) async fn sweep(self: Rc<Self>) {
        let ticks = self.pipelines.values().map(|pipeline| pipeline.chain.tick_ms);
        let tick_ms = ticks.min().unwrap_or(1_000);
        loop {
            self.simulation.sleep(tick_ms).await;
            // Mostly there is time for all; now and then only for a visit or two of each kind.
            let budget_ms = match self.simulation.random(|random| random.below(4)) {
                0 => self.simulation.random(|random| random.skewed(500)),
                _ => u64::MAX,
            };
            match self.yard.sweep_within(budget_ms).await {
                Ok(swept) => {
                    if !swept.round_over {
                        self.simulation.count("branch: sweep had no time for all");
                    }
                    for (key, error) in swept.errors {
                        self.simulation.count("branch: visit failed");
                        let passes = error.contains("not available") || error.contains("tries in a row");
                        if !passes {
                            self.simulation.violate(format!("a visit to {key} failed: {error}"));
                        }
                    }
                }
                Err(error) => self.expect_passing("sweep", &error),
            }
        }
    }

    /// Hands a sink's entries on, one by one.
    pub(super) async fn hand_on(self: Rc<Self>, chain: String, sink: String) {
        let signal = self.sinks.borrow().signal.clone();
        loop {
            match self.yard.sink_next(&chain, &sink).await {
                Ok(Some(entry)) => self.hand_on_entry(&chain, &sink, entry).await,
                Ok(None) => signal.wait(&self.simulation, self.simulation.now_ms() + 5_000).await,
                Err(error) => {
                    self.expect_passing("sink_next", &error);
                    self.simulation.sleep(200).await;
                }
            }
        }
    }

    async fn hand_on_entry(&self, chain: &str, sink: &str, entry: OutEntry) {
        let sequence = entry.sequence;
        if self.happens(self.plan.sink_fails) {
            self.simulation.count("fault: sink failed");
            if let Err(error) = self.yard.sink_failed(chain, sink, sequence, "no connection").await {
                self.expect_passing("sink_failed", &error);
            }
            return;
        }
        self.get(chain, sink, entry);
        // Between the hand-on and its record the process may die, and the sink gets a repeat.
        self.simulation.pause().await;
        if self.happens(self.plan.sink_fails / 10) {
            self.simulation.count("fault: crash after a hand-on");
            self.simulation.kill_current();
            self.simulation.pause().await;
        }
        if let Err(error) = self.yard.sink_done(chain, sink, sequence).await {
            self.expect_passing("sink_done", &error);
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
        for (chain, pipeline) in &self.pipelines {
            for (name, sink) in &pipeline.sinks {
                let got = sinks.got.get(&(chain.clone(), name.clone())).map_or(0, Vec::len) as u64;
                let told = checker.out_logs.entries(chain, &pipeline.stages[sink.stage].name);
                if got != told {
                    return Some(format!("{chain}/{name} got {got} of {told} entries"));
                }
            }
        }
        None
    }
}
