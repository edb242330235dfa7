//! Following, over a yard in memory and nodes that can be made to do anything; time moves by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../../../../tests/domain/tests/domain/common/memory.rs"]
#[allow(dead_code, reason = "core's own tests use the rest")]
mod memory;
mod nodes;

mod following;
mod health;
