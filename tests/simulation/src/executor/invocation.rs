//! An invocation, as on AWS: one message and the steps that it leads to, taken one after another by the same caller
//! with one read cache, so that nothing is read twice.

use std::collections::BTreeSet;

use proofyard_core::port::Wake;
use proofyard_core::view::View;

use super::Simulation;

#[derive(Default)]
pub struct Invocation {
    /// What has been read and written so far.
    pub view: View,
    /// Wakes sent so far and not handled: steps to take here, and messages to send at the end.
    pub wakes: BTreeSet<Wake>,
}

impl Invocation {
    /// Takes the next wake that is a step of this invocation; pools, sinks and the judge are woken by message.
    pub fn take_step(&mut self) -> Option<Wake> {
        let is_step = |wake: &&Wake| matches!(wake, Wake::Chain { .. } | Wake::Scope { .. });
        let step = self.wakes.iter().find(is_step).cloned()?;
        self.wakes.take(&step)
    }
}

impl Simulation {
    /// Sets, or with `None` ends, the invocation of the current future; answers the one before.
    pub fn set_invocation(&self, invocation: Option<Invocation>) -> Option<Invocation> {
        let (id, _) = self.0.current.get()?;
        let mut schedule = self.0.schedule.borrow_mut();
        std::mem::replace(&mut schedule.futures.get_mut(&id)?.invocation, invocation)
    }

    /// Calls `ask` with the invocation of the current future, if it is in one.
    pub fn in_invocation<T>(&self, ask: impl FnOnce(&mut Invocation) -> T) -> Option<T> {
        let (id, _) = self.0.current.get()?;
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.futures.get_mut(&id)?.invocation.as_mut().map(ask)
    }
}
