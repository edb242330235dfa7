//! Objects: artifacts, payloads of blocks, descriptions of unrecorded results, sinks' entries.
//!
//! - [`ObjectStore`]: what a store of objects must do. [`s3`] is the one implementation; another one is a file beside
//!   it, and its line where `AwsHome` is made.
//! - [`layout`]: which object holds what, and when it is written: the rules, written once over any store.
//! - [`artifacts`]: the objects as a worker's artifact store, behind a folder; [`sinks`]: entries handed on.

pub mod artifacts;
pub mod layout;
pub mod s3;
pub mod sinks;

use std::path::Path;

use futures_util::future::BoxFuture;
use proofyard_core::error::{Cause, Code, Coded};
use tokio::io::AsyncWrite;

pub use layout::Objects;

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{address} is not there")]
    Missing { address: String },
    /// `passes`: the same call may succeed later.
    #[error("{address} cannot be {doing}")]
    Failed { address: String, doing: &'static str, source: Cause, passes: bool },
}

impl Coded for ObjectError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::ArtifactMissing,
            Self::Failed { .. } => Code::ArtifactStoreFault,
        }
    }
}

/// Objects under keys, each written whole or not at all. A write that returns is durable, and every later read sees it.
pub trait ObjectStore: Send + Sync {
    /// How people and logs name an object, such as `s3://bucket/key`.
    fn address(&self, key: &str) -> String;

    /// The largest content that one `create` or `replace` takes; what is larger goes in parts.
    fn max_put_bytes(&self) -> u64;

    /// `None` where there is no such object.
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, ObjectError>>;

    /// Copies at most so many of its bytes, from the first. It checks only that none of them is missing.
    fn read<'a>(
        &'a self,
        key: &'a str,
        max_bytes: u64,
        to: &'a mut (dyn AsyncWrite + Unpin + Send),
    ) -> BoxFuture<'a, Result<(), ObjectError>>;

    /// Writes an object that does not exist; says whether it did, or another one was first. With a SHA-256, in hex, the
    /// store rejects content that hashes to something else.
    fn create<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
        sha256: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool, ObjectError>>;

    /// Writes an object, whatever is there.
    fn replace<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
        sha256: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), ObjectError>>;

    /// Writes a file of so many bytes in parts. If that fails, no part stays. With `only_new` it fails if the object exists
    /// by then.
    fn put_in_parts<'a>(
        &'a self,
        key: &'a str,
        file: &'a Path,
        bytes: u64,
        only_new: bool,
    ) -> BoxFuture<'a, Result<(), ObjectError>>;
}
