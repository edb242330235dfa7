//! Sinks of yards on the local AWS that are no files, told as the function tells them. Its role is checked in the stacks' tests: this AWS
//! has no roles of functions where there are no functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod hooks;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../crates/notify/tests/notify/server.rs"]
mod server;
mod services;
mod yard;
