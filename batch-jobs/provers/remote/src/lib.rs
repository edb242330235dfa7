//! A prover that hands each task to a proving service and brings back the proof.
//!
//! - [`settings`]: what the pipeline's `arguments` say, with every mistake in them.
//! - [`service`]: what a proving service can do, as a trait, and what can go wrong with it.
//! - [`protocols`]: the services' protocols, a file each.
//! - [`job`]: one task, whatever the protocol: submit it or find it again, note its id, wait, fetch, cancel.
//! - [`grpc`]: gRPC over the same.
//! - [`artifact_store`]: what a cluster keeps in Redis.
//! - [`http`]: calls that end when the task is no longer wanted, and say whether the service may have acted on them.
//! - [`prover`]: the prover protocol over all of it.
//!
//! The rule throughout: a job costs money, so it is never created twice where that can be helped. Where the service takes an id
//! of ours, it is derived from the task, and whoever tries again finds the job by it. Where the id is the service's, it is a
//! checkpoint before anything else is done.

mod artifact_store;
mod grpc;
mod http;
mod input;
mod job;
mod protobuf;
mod protocols;
mod prover;
mod service;
mod settings;

pub use prover::RemoteProver;
