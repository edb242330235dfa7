//! Which object holds what, over any store, and when it is written.
//!
//! - `artifacts/ab/abcdef...`: the content whose SHA-256 that is, written once: proofs, and blocks' payloads. What is there
//!   already is left alone unless its size differs: then it is a damaged copy, and is repaired by writing it again.
//! - `made/...`, under the SHA-256 of a task's id: the description of an unrecorded result. It may be deleted once the task's
//!   result is recorded.
//! - `sinks/CHAIN/FILE/...`: a file sink's entries, each an object, written once.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use proofyard_core::state::{ArtifactRef, ChainName, TaskId};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;

use super::{ObjectError, ObjectStore};

/// The most that is read of such a description; attempts write less.
const MAX_MADE_BYTES: u64 = 64 << 10;

fn artifact_key(artifact: &ArtifactRef) -> String {
    format!("artifacts/{}/{}", artifact.sha256.get(..2).unwrap_or("__"), artifact.sha256)
}

fn made_key(task: &TaskId) -> String {
    format!("made/{}.json", hex::encode(Sha256::digest(task.to_string())))
}

/// Where an entry of a sink is: listed, the keys are in order of sequence.
pub fn sink_key(chain: &ChainName, path: &str, sequence: u64) -> String {
    format!("sinks/{chain}/{}/{sequence:020}.json", path.trim_start_matches(['/', '.']))
}

/// A yard's objects. Clones are the same.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    pub fn new(store: impl ObjectStore + 'static) -> Self {
        Self { store: Arc::new(store) }
    }

    /// How people and logs name an artifact.
    pub fn address(&self, artifact: &ArtifactRef) -> String {
        self.store.address(&artifact_key(artifact))
    }

    /// Durable when it returns. The file's content must be the artifact's.
    pub fn put_file<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            if artifact.bytes > self.store.max_put_bytes() {
                return self.put_in_parts(artifact, path).await;
            }
            let content = tokio::fs::read(path).await.map_err(|error| unreadable(path, error))?;
            self.put_bytes(artifact, content).await
        })
    }

    /// The same, of content in memory.
    pub fn put_bytes<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        content: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            let (key, sha256) = (artifact_key(artifact), Some(artifact.sha256.as_str()));
            match self.store.create(&key, content.clone(), sha256).await? {
                true => Ok(()),
                false if self.store.size(&key).await? == Some(artifact.bytes) => Ok(()),
                false => self.store.replace(&key, content, sha256).await,
            }
        })
    }

    /// S3 checks the hash of each part, but not that of the whole by which an artifact is named: readers check that. The
    /// last step creates the object, unless another process has created it meanwhile.
    async fn put_in_parts(&self, artifact: &ArtifactRef, path: &Path) -> Result<(), ObjectError> {
        let key = artifact_key(artifact);
        let there = self.store.size(&key).await?;
        if there == Some(artifact.bytes) {
            return Ok(());
        }
        let put = self.store.put_in_parts(&key, path, artifact.bytes, there.is_none()).await;
        let Err(failed) = put else { return Ok(()) };
        // Another process was faster, or only the answer was lost.
        if self.store.size(&key).await? == Some(artifact.bytes) { Ok(()) } else { Err(failed) }
    }

    /// Writes the content to `to`, a file that is empty. Nothing is checked here but that all of it came.
    pub fn get_file<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        to: &'a mut (dyn AsyncWrite + Unpin + Send),
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move { self.store.read(&artifact_key(artifact), u64::MAX, to).await })
    }

    /// Replaces the description that an earlier attempt at the task left.
    pub fn put_made<'a>(&'a self, task: &'a TaskId, made: Vec<u8>) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move { self.store.replace(&made_key(task), made, None).await })
    }

    /// Only its beginning, if it is longer than any description.
    pub fn get_made<'a>(&'a self, task: &'a TaskId) -> BoxFuture<'a, Result<Option<Vec<u8>>, ObjectError>> {
        Box::pin(async move {
            let mut made = Vec::new();
            match self.store.read(&made_key(task), MAX_MADE_BYTES, &mut made).await {
                Ok(()) => Ok(Some(made)),
                Err(ObjectError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Writes a sink's entry; false where its object has another content.
    pub fn put_entry<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
    ) -> BoxFuture<'a, Result<bool, ObjectError>> {
        Box::pin(async move {
            if self.store.create(key, content.clone(), None).await? {
                return Ok(true);
            }
            // A repeat after a crash finds what it wrote itself. One byte more tells a longer object.
            let mut found = Vec::new();
            self.store.read(key, content.len() as u64 + 1, &mut found).await?;
            Ok(found == content)
        })
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> ObjectError {
    ObjectError::Failed {
        address: path.display().to_string(),
        doing: "read",
        source: error.into(),
        passes: false,
    }
}
