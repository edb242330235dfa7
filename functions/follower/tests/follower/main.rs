//! Following a real node into yards on the local AWS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod functions;
mod serving;
mod ticks;
mod yard;
