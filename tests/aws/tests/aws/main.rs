//! Yards on AWS: what must hold, whatever breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod alarms;
mod confined;
mod conformance;
mod contention;
mod costs;
mod dead_letters;
mod end_to_end;
mod expiry;
mod failing_calls;
mod hot_path;
mod inputs;
mod judged;
mod lasting;
mod leaving;
mod messages;
mod metrics;
mod pool_jobs;
mod price;
mod region;
mod reorgs;
mod services;
mod two_workers;
mod unrecorded;
mod uploads;
mod webhook;
