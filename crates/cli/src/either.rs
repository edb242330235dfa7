//! Either home behind one type, so that a verb is written once.

use std::io::Read;
use std::path::{Path, PathBuf};

use proofyard_aws::artifacts::BucketArtifacts;
use proofyard_aws::port::AwsPort;
use proofyard_core::port::{Batch, CommitOutcome, Due, Key, Port, PortError, Range, Stored, Wake};
use proofyard_core::state::ArtifactRef;
use proofyard_embedded::LocalPort;
use proofyard_worker::artifacts::{ArtifactError, ArtifactStore, Artifacts, Draft};

/// Either home's port.
#[derive(Clone)]
pub enum AnyPort {
    Local(LocalPort),
    Aws(AwsPort),
}

/// Does the same of either.
macro_rules! either {
    ($port:expr, $inner:ident => $call:expr) => {
        match $port {
            AnyPort::Local($inner) => $call,
            AnyPort::Aws($inner) => $call,
        }
    };
}

impl Port for AnyPort {
    fn now_ms(&self) -> u64 {
        either!(self, port => port.now_ms())
    }
    fn random(&self) -> u64 {
        either!(self, port => port.random())
    }
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        either!(self, port => port.get(key).await)
    }
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        either!(self, port => port.range(range).await)
    }
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        either!(self, port => port.due(shard, after, until_ms, limit).await)
    }
    async fn arm(&self, key: &Key, due_ms: u64) -> Result<(), PortError> {
        either!(self, port => port.arm(key, due_ms).await)
    }
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        either!(self, port => port.commit(batch).await)
    }
    async fn send(&self, wakes: &[Wake]) {
        either!(self, port => port.send(wakes).await);
    }
}

/// Artifacts of either home.
pub enum AnyArtifacts {
    Local(Artifacts),
    Aws(BucketArtifacts),
}

impl ArtifactStore for AnyArtifacts {
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        match self {
            Self::Local(store) => store.fetch(artifact),
            Self::Aws(store) => store.fetch(artifact),
        }
    }
    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError> {
        match self {
            Self::Local(store) => store.draft(content, max_bytes, source),
            Self::Aws(store) => store.draft(content, max_bytes, source),
        }
    }
    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError> {
        match self {
            Self::Local(store) => store.keep(draft),
            Self::Aws(store) => store.keep(draft),
        }
    }
    fn name_of(&self, artifact: &ArtifactRef) -> String {
        match self {
            Self::Local(store) => store.name_of(artifact),
            Self::Aws(store) => store.name_of(artifact),
        }
    }
}
