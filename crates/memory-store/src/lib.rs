//! What the real handlers run on where time is not real: versioned items in memory, an index of due times that may lag
//! behind them, and one source of chance. The simulation makes them lie and forget; the plan gives each call a latency.

mod due_index;
mod items;
mod random;

pub use due_index::DueIndex;
pub use items::{Items, Row};
pub use random::Random;
