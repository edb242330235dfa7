//! One machine's home on real disks: what every port must do, who may use a directory, kills and power loss.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod conformance;
mod crash;
mod directory;
mod support;
