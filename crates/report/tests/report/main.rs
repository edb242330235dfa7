//! Reports of yards that ran, as they are read: in a terminal, and in a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Clippy knows tests by their functions.

#[path = "../../../../tests/domain/tests/domain/common/mod.rs"]
#[allow(dead_code, reason = "it is there for other tests too")]
mod common;

mod browser;
mod page;
mod text;
mod yards;
