//! What a worker asks of a system.

use std::time::Duration;

use crate::BaselineError;

/// One of a block's tasks. It carries [`INPUT`], and its result [`OUTPUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    pub height: u64,
    /// Its number among its block's segments; none: it joins them.
    pub segment: Option<u32>,
    /// Of its block.
    pub segments: u32,
}

impl Task {
    /// Of a block, those that can start at once.
    pub fn segments(height: u64, segments: u32) -> impl Iterator<Item = Self> {
        (0..segments).map(move |segment| Self { height, segment: Some(segment), segments })
    }

    /// What joins its block's segments.
    pub fn join(self) -> Self {
        Self { segment: None, ..self }
    }

    /// A block of one segment has nothing to join.
    pub fn is_joined(self) -> bool {
        self.segment.is_some() && self.segments > 1
    }
}

/// What a task carries: where its input is. Inputs and proofs are kept elsewhere, as users of these systems do.
pub(crate) const INPUT: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
/// What a result carries: where its proof is.
pub(crate) const OUTPUT: &str = "8897a6b5c4d3e2f18897a6b5c4d3e2f18897a6b5c4d3e2f18897a6b5c4d3e2f1";

/// One connection, of a worker or of who brings the blocks.
pub trait Queue: Send {
    /// Takes in a block's tasks. When this returns they are as durable as the system makes them.
    fn enqueue(&mut self, height: u64, segments: u32) -> Result<(), BaselineError>;

    /// Takes one task that nobody else has, and waits about so long for one.
    fn claim(&mut self, wait: Duration) -> Result<Option<Task>, BaselineError>;

    /// The task that was claimed last is done: when this returns, its result is as durable as the system makes it, it is
    /// counted, and what waited for it alone can be claimed.
    fn complete(&mut self, task: Task) -> Result<(), BaselineError>;

    /// Tasks that are not done.
    fn open_tasks(&mut self) -> Result<u64, BaselineError>;
}
