//! Operators: they pause, halt, resume, retry, change the window and prove again, at bad moments; and put all right
//! at the end.

use std::rc::Rc;

use proofyard_core::error::Error;
use proofyard_core::record::RetrySelection;

use super::{Role, World};

impl World {
    pub(super) async fn operate(self: Rc<Self>) {
        loop {
            let interval_ms = if self.is_calm.get() { 10_000 } else { self.plan.operator_interval_ms };
            let pause_ms = self.draw(|random| random.between(1, interval_ms * 2));
            self.simulation.sleep(pause_ms).await;
            let chain = self.draw(|random| random.pick(&self.plan.chains).name.clone());
            if self.is_calm.get() {
                self.put_right().await;
            } else {
                self.meddle(&chain).await;
            }
        }
    }

    async fn meddle(self: &Rc<Self>, chain: &str) {
        let done = match self.draw(|random| random.below(11)) {
            0 => self.said("world: paused", self.yard.pause(chain).await),
            1 => self.said("world: halted", self.yard.halt(chain, "the operator says so").await),
            2..=4 => self.said("world: resumed", self.yard.resume(chain).await),
            5 => {
                let window = self.draw(|random| random.between(1, 8));
                self.said("world: window changed", self.yard.set_window(chain, window).await)
            }
            6 => {
                let from = self.any_height(chain);
                self.said("world: redone", self.yard.record_redo(chain, from).await)
            }
            7 => {
                let height = self.any_height(chain);
                let selection = RetrySelection::Height { chain: chain.to_owned(), height };
                self.said("world: retried a height", self.yard.retry(&selection).await)
            }
            8 => {
                let selection = RetrySelection::AllOf { chain: chain.to_owned() };
                self.said("world: retried", self.yard.retry(&selection).await)
            }
            9 => {
                let text = self.other_limits(chain);
                self.said("world: pipeline changed", self.yard.record_pipeline(&text).await)
            }
            _ => self.said("world: input ended", self.yard.record_end(chain).await),
        };
        // An operator who saw an error does not know; a moment later they look again.
        if !done {
            self.simulation.sleep(50).await;
        }
    }

    /// The same stages under other limits; what is open keeps the text it opened with.
    fn other_limits(&self, chain: &str) -> String {
        let text = self.plan.chains.iter().find(|plan| plan.name == chain).map(|plan| plan.text.clone());
        let losses = self.draw(|random| random.between(2, 9));
        text.unwrap_or_default().replace("max_losses = ", &format!("max_losses = {losses}"))
    }

    fn any_height(&self, chain: &str) -> u64 {
        let nodes = self.nodes.borrow();
        let Some(node) = nodes.get(chain) else { return 0 };
        let head = node.head_block().map_or(node.start_height, |head| head.height);
        self.draw(|random| random.between(node.start_height, head))
    }

    fn said<T: std::fmt::Debug>(&self, count: &'static str, answer: Result<T, Error>) -> bool {
        match answer {
            Ok(answer) => {
                self.simulation.count(count);
                self.simulation.trace(|| format!("{count}: {answer:?}"));
                true
            }
            Err(Error::Refused(_)) => true,
            Err(error) => {
                self.expect_passing(count, &error);
                false
            }
        }
    }

    /// Whatever stopped, goes on.
    async fn put_right(self: &Rc<Self>) {
        for chain in &self.plan.chains {
            let is_stopped = self.yard.chain_state(&chain.name).await.is_ok_and(|state| !state.takes_work());
            if is_stopped {
                self.said("world: resumed at the end", self.yard.resume(&chain.name).await);
            }
            let selection = RetrySelection::AllOf { chain: chain.name.clone() };
            self.said("world: retried at the end", self.yard.retry(&selection).await);
        }
    }

    /// Reclaimed machines, and power cuts.
    pub(super) async fn make_disasters(self: Rc<Self>) {
        loop {
            let pause_ms = self.draw(|random| random.between(500, 10_000));
            self.simulation.sleep(pause_ms).await;
            if self.happens(self.plan.everything_dies) {
                self.simulation.count("fault: everything died");
                self.kill_where(|_| true);
            } else if self.happens(self.plan.spot_storm) {
                self.simulation.count("fault: spot storm");
                self.kill_where(|role| {
                    matches!(role, Role::Worker(_)) && self.draw(|random| random.chance(7_000))
                });
            }
        }
    }

    pub(super) fn kill_where(&self, is_hit: impl Fn(&Role) -> bool) {
        let hit: Vec<_> =
            self.roles.borrow().iter().filter(|(_, role)| is_hit(role)).map(|(id, _)| *id).collect();
        hit.into_iter().for_each(|process| self.simulation.kill(process));
    }
}
