//! Artifacts: the inputs and outputs of tasks, each written once, named by its SHA-256, never changed.
//!
//! - [`ArtifactStore`]: what a worker needs of a store, wherever it is;
//! - [`Artifacts`]: the store in a folder of this machine, which a home with a store elsewhere has beside it as a cache;
//! - [`Draft`]: content that was copied to where its prover cannot change it, and has no name yet.
//!
//! Any thread may put content and read it; nobody changes content that has a name.

mod draft;
mod error;
mod folder;
mod syncer;

use std::io::Read;
use std::path::{Path, PathBuf};

use proofyard_core::state::{ArtifactRef, TaskId};

pub use self::draft::Draft;
pub use self::error::ArtifactError;
pub(crate) use self::error::is_full_disk;
pub use self::folder::Artifacts;
pub use self::syncer::Syncer;

/// Where a worker reads its tasks' inputs from, and stores their outputs. Content is named by its hash.
///
/// It is called inside [`crate::WorkerHome::block_on`], on that thread, and blocks it: a store that waits on a network does so
/// on threads of its own.
pub trait ArtifactStore: Send + Sync + 'static {
    /// The content as a file on this machine, checked against its name.
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError>;
    /// Copies at most `max_bytes` to this machine; `source` is what an error calls them. Unnamed yet, it can be read at
    /// once.
    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError>;
    /// Gives a draft its name. It is durable, under its name, when this returns.
    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError>;
    /// Keeps a draft whose result is not recorded yet, and beside it `made`, which describes the result: should it never be
    /// recorded, the task's next attempt finds both. A store may keep no description: then that attempt proves again.
    fn keep_unrecorded(
        &self,
        draft: &Draft,
        _task: &TaskId,
        _made: Vec<u8>,
    ) -> Result<ArtifactRef, ArtifactError> {
        self.keep(draft)
    }
    /// The same before the draft is verified: should this process die meanwhile, the task's next attempt finds the draft
    /// on this machine. It need not outlive a power loss.
    fn set_aside(&self, _draft: &Draft, _task: &TaskId, _made: Vec<u8>) -> Result<(), ArtifactError> {
        Ok(())
    }
    /// Deletes what [`Self::set_aside`] left for a later attempt, if it is no longer needed.
    fn discard_unrecorded(&self, _task: &TaskId) {}
    /// The description that an earlier attempt at this task left of its unrecorded result, if there is one. It may be
    /// damaged.
    fn unrecorded(&self, _task: &TaskId) -> Result<Option<Vec<u8>>, ArtifactError> {
        Ok(None)
    }
    /// Called when [`Self::unrecorded`] answered something that cannot be used: why.
    fn reject_unrecorded(&self, _task: &TaskId, _why: &str) {}
    /// How messages name an artifact: by a path, or an address.
    fn name_of(&self, artifact: &ArtifactRef) -> String;
}
