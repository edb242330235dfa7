//! The program `proofyard-remote`, run as a yard runs it, against servers that speak the services' protocols.

// Helpers outside of test functions may fail a test too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod arguments;
mod bonsai;
mod ere;
mod grpc_server;
mod openvm_edge;
mod redis;
mod server;
mod services;
mod sp1_cluster;
mod yard;
mod zisk;
