//! Following nodes into a yard on AWS: by rounds that ticks wake ([`Looks`]), or in a process that stays ([`serve`]).
//!
//! What a round leaves for the next one is in the table, so it does not matter which process makes it, or how many at once.

mod looks;
mod nodes;
mod serve;

pub use looks::{LookError, Looks};
pub use nodes::{NodesError, NodesOfYard};
pub use serve::serve;
