//! Operators: they pause, halt, resume, retry, redo, edit pipelines and change the window, at random moments; once faults
//! have stopped they only resume and retry. And disasters: spot storms, and power losses.

use std::rc::Rc;

use proofyard_core::error::Error;
use proofyard_core::record::{Hold, MAX_NAMED, RetrySelection};
use proofyard_core::state::ChainName;

use super::edits::EDITS;
use super::{Role, World};
use crate::check::mirror::Item;

impl World {
    pub(super) async fn operate(self: Rc<Self>) {
        loop {
            let interval_ms = if self.is_calm.get() { 10_000 } else { self.plan.operator_interval_ms };
            let pause_ms = self.draw(|random| random.between(1, interval_ms * 2));
            self.simulation.sleep(pause_ms).await;
            let chain = self.draw(|random| random.pick(&self.plan.chains).name.clone());
            if self.is_calm.get() {
                self.resume_and_retry().await;
            } else {
                self.act_at_random(&chain).await;
            }
        }
    }

    async fn act_at_random(self: &Rc<Self>, chain: &ChainName) {
        let yard = &self.yard;
        let done = match self.draw(|random| random.below(12)) {
            0 => self.note_answer("world: paused", self.acknowledged(yard.pause(chain)).await),
            1 => self.note_answer(
                "world: halted",
                self.acknowledged(yard.halt(chain, "the operator says so")).await,
            ),
            2..=4 => self.resume(chain).await,
            5 => {
                let window = self.draw(|random| random.between(1, 8));
                self.note_answer(
                    "world: window changed",
                    self.acknowledged(yard.set_window(chain, window)).await,
                )
            }
            6 => {
                let from = self.any_height(chain);
                self.note_answer("world: redone", self.acknowledged(yard.record_redo(chain, from)).await)
            }
            7 => {
                let height = self.any_height(chain);
                let selection = RetrySelection::Height { chain: chain.clone(), height };
                self.note_answer("world: retried a height", self.bounded(yard.retry(&selection)).await)
            }
            8 => {
                let selection = RetrySelection::AllOf { chain: chain.clone() };
                self.note_answer("world: retried", self.bounded(yard.retry(&selection)).await)
            }
            9 | 10 => self.edit(chain).await,
            _ => self.note_answer("world: input ended", self.acknowledged(yard.record_end(chain)).await),
        };
        // An operator who saw an error does not know the outcome, and waits a moment.
        if !done {
            self.simulation.sleep(50).await;
        }
    }

    /// An operator reads the chain's state, thinks, and ends the halts that they have seen: no later one.
    async fn resume(&self, chain: &ChainName) -> bool {
        let Ok(seen) = self.yard.chain_state(chain).await else { return false };
        let think_ms = self.draw(|random| random.skewed(5_000));
        self.simulation.sleep(think_ms).await;
        let hold =
            self.draw(|random| *random.pick(&[Hold::Any, Hold::Pause, Hold::Halt, Hold::Both, Hold::Both]));
        let answer = self.acknowledged(self.yard.resume_from(chain, hold, Some(seen.halts))).await;
        if let Some(Ok(resumed)) = &answer {
            self.check();
            let checker = self.checker.borrow();
            let named = resumed.halts.len() as u64;
            let is_named = named == (resumed.to - resumed.from).min(MAX_NAMED);
            let is_seen = checker.mirror.chain(chain).is_some_and(|state| {
                state.halts_ended <= seen.halts.max(seen.halts_ended)
                    && (state.paused == resumed.still_paused)
            });
            if !is_named || !is_seen {
                let state = checker.mirror.chain(chain);
                self.simulation.violate(format!(
                    "{chain}: an operator who had seen {} halts was answered {resumed:?}, and now it is {state:?}",
                    seen.halts
                ));
            }
            if resumed.pause && resumed.still_halted.is_some() {
                self.simulation.count("world: a pause ended under a halt");
            }
            if hold != Hold::Pause && resumed.still_halted.is_some() {
                self.simulation.count("world: halted by what came meanwhile");
            }
        }
        self.note_answer("world: resumed", answer)
    }

    /// Edits the pipeline file and puts it in force; what is open keeps the text that it was opened with.
    async fn edit(&self, chain: &ChainName) -> bool {
        let Some(text) = self.checker.borrow().mirror.text(chain).map(str::to_owned) else { return true };
        let (count, edit) = self.draw(|random| *random.pick(EDITS));
        let Some(text) = self.draw(|random| edit(&text, random)) else { return true };
        let answer = self.acknowledged(self.yard.record_pipeline(&text)).await;
        if let Some(Err(Error::Refused(refusal))) = &answer {
            self.simulation.count("world: edit refused");
            self.simulation.trace(|| format!("{count}: refused: {refusal}\n{text}"));
        }
        self.simulation.count("world: pipeline changed");
        self.note_answer(count, answer)
    }

    fn any_height(&self, chain: &ChainName) -> u64 {
        let nodes = self.nodes.borrow();
        let Some(node) = nodes.get(chain) else { return 0 };
        let head = node.head_block().map_or(node.start_height, |head| head.height);
        self.draw(|random| random.between(node.start_height, head))
    }

    /// Counts and checks an answer; false where the operator does not know the outcome.
    fn note_answer<T: std::fmt::Debug>(&self, count: &'static str, answer: Option<Result<T, Error>>) -> bool {
        match answer {
            None => false,
            Some(Ok(answer)) => {
                self.simulation.count(count);
                self.simulation.trace(|| format!("{count}: {answer:?}"));
                true
            }
            Some(Err(Error::Refused(_))) => true,
            Some(Err(error)) => {
                self.expect_passing(count, &error);
                false
            }
        }
    }

    /// Resumes chains that are held and retries parked tasks; touches nothing else, so that it cannot hide that something
    /// else is stuck.
    async fn resume_and_retry(self: &Rc<Self>) {
        for chain in &self.plan.chains {
            let is_stopped = self.yard.chain_state(&chain.name).await.is_ok_and(|state| !state.takes_work());
            if is_stopped {
                let answer = self.yard.resume_from(&chain.name, Hold::Both, None).await;
                self.note_answer("world: resumed at the end", Some(answer));
            }
            if self.has_parked(&chain.name) {
                let selection = RetrySelection::AllOf { chain: chain.name.clone() };
                self.note_answer("world: retried at the end", Some(self.yard.retry(&selection).await));
            }
        }
    }

    fn has_parked(&self, chain: &ChainName) -> bool {
        let checker = self.checker.borrow();
        checker.mirror.items().any(|(_, item)| match item {
            Item::Task(task) => {
                let is_wanted = checker.mirror.scope(&task.id().scope).is_some_and(|scope| scope.is_live());
                task.id().chain() == *chain && task.is_parked() && is_wanted
            }
            _ => false,
        })
    }

    /// Spot storms, and power losses.
    pub(super) async fn make_disasters(self: Rc<Self>) {
        loop {
            let pause_ms = self.draw(|random| random.between(500, 10_000));
            self.simulation.sleep(pause_ms).await;
            if self.happens(self.plan.power_loss) {
                self.lose_power();
            } else if self.happens(self.plan.everything_dies) {
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

    /// Everything dies at once, all wakes are lost, and so are some of the commits that were not synced: the latest ones.
    fn lose_power(&self) {
        self.simulation.count("fault: power lost");
        self.check();
        self.kill_where(|_| true);
        self.simulation.drop_wakes();
        let commits = self.simulation.table().losable_commits();
        let kept = self.draw(|random| random.between(0, commits as u64)) as usize;
        if kept < commits {
            self.simulation.count("fault: commits lost with the power");
        }
        self.simulation.trace(|| format!("power is lost, with {} of {commits} commits", commits - kept));
        let now_ms = self.simulation.now_ms();
        self.simulation.table_mut().lose_power(kept, now_ms);
        self.check();
        let checker = self.checker.borrow();
        for (chain, node) in self.nodes.borrow().iter() {
            for (height, hash) in &node.acknowledged {
                if !checker.mirror.knows(chain, *height, hash) {
                    self.simulation.violate(format!(
                        "{chain}: the acknowledged block {height} {hash} was lost with the power"
                    ));
                }
            }
        }
    }

    pub(super) fn kill_where(&self, is_hit: impl Fn(&Role) -> bool) {
        let hit: Vec<_> =
            self.roles.borrow().iter().filter(|(_, role)| is_hit(role)).map(|(id, _)| *id).collect();
        hit.into_iter().for_each(|process| self.simulation.kill(process));
    }
}
