//! The objects as a worker's artifact store: a folder of this machine in front of them.
//!
//! A task's inputs are fetched once and kept in the folder, within a limit; its output is put in the object store before it
//! counts as kept.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use proofyard_core::error::with_causes;
use proofyard_core::state::{ArtifactRef, TaskId};
use proofyard_worker::artifacts::{ArtifactError, ArtifactStore, Artifacts, Draft};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::{ObjectError, Objects};

/// A file that was fetched a moment ago may be in use by a prover: it stays, whatever the limit.
const IN_USE: Duration = Duration::from_secs(600);

/// How long writing the description of an unrecorded result may delay the result.
const DESCRIPTION_TIMEOUT: Duration = Duration::from_secs(5);

pub struct ObjectArtifacts {
    objects: Objects,
    folder: Artifacts,
    runtime: Handle,
    max_bytes: u64,
    held: Mutex<HashMap<ArtifactRef, Instant>>,
}

impl ObjectArtifacts {
    /// Caches about `max_bytes` below `folder`, which only this process may use. Network calls run on `runtime`'s threads.
    pub fn new(
        objects: Objects,
        folder: &Path,
        max_bytes: u64,
        runtime: Handle,
    ) -> Result<Self, ArtifactError> {
        let folder = Artifacts::open(folder)?;
        Ok(Self { objects, folder, runtime, max_bytes, held: Mutex::default() })
    }

    /// Waits for what runs on the runtime's own threads; the caller may be inside one of its futures.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move { _ = sender.send(work.await) });
        receiver.recv().ok()
    }

    fn download(&self, artifact: &ArtifactRef) -> Result<(), ArtifactError> {
        let address = self.objects.address(artifact);
        let (objects, wanted) = (self.objects.clone(), artifact.clone());
        let target = tempfile::NamedTempFile::new_in(self.folder.root()).map_err(|source| {
            ArtifactError::Io { path: self.folder.root().to_owned(), doing: "written to", source }
        })?;
        let unread = |source| ArtifactError::Io { path: target.path().to_owned(), doing: "read", source };
        let mut file = tokio::fs::File::from_std(target.reopen().map_err(unread)?);
        let got = self.wait(async move {
            objects.get_file(&wanted, &mut file).await?;
            // The last bytes are written in the background until this returns.
            tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|error| ObjectError::Failed {
                address: objects.address(&wanted),
                doing: "kept here",
                source: error.into(),
                passes: true,
            })
        });
        got.unwrap_or_else(|| Err(self.stopped(artifact))).map_err(remote)?;
        let draft = self.folder.draft(target.reopen().map_err(unread)?, artifact.bytes, target.path());
        let what = match draft {
            Ok(draft) if draft.artifact() == artifact => {
                self.folder.keep(&draft)?;
                return Ok(());
            }
            Ok(draft) => {
                let ArtifactRef { bytes, sha256 } = draft.artifact();
                match *bytes == artifact.bytes {
                    true => format!("its {bytes} bytes hash to {sha256}"),
                    false => format!("it has {bytes} of {} bytes", artifact.bytes),
                }
            }
            Err(ArtifactError::TooLarge { .. }) => format!("it has more than its {} bytes", artifact.bytes),
            Err(error) => return Err(error),
        };
        Err(ArtifactError::DamagedThere { artifact: address, what })
    }

    /// Puts a draft in the object store, and runs `beside` at the same time.
    fn keep_while(
        &self,
        draft: &Draft,
        beside: impl Future<Output = ()> + Send + 'static,
    ) -> Result<ArtifactRef, ArtifactError> {
        let artifact = draft.artifact().clone();
        let (objects, path) = (self.objects.clone(), draft.path().to_owned());
        let putting = artifact.clone();
        let put = self.wait(async move { join(objects.put_file(&putting, &path), beside).await.0 });
        put.unwrap_or_else(|| Err(self.stopped(&artifact))).map_err(remote)?;
        // Also cached here: this worker may claim the next task, which reads it.
        self.folder.keep(draft)?;
        self.hold(&artifact);
        Ok(artifact)
    }

    fn stopped(&self, artifact: &ArtifactRef) -> ObjectError {
        ObjectError::Failed {
            address: self.objects.address(artifact),
            doing: "reached",
            source: "this process stops".into(),
            passes: true,
        }
    }

    /// Notes that a file is here and in use, and makes room.
    fn hold(&self, artifact: &ArtifactRef) {
        let mut held = self.held();
        held.insert(artifact.clone(), Instant::now());
        let mut bytes: u64 = held.keys().map(|artifact| artifact.bytes).sum();
        if bytes <= self.max_bytes {
            return;
        }
        let mut oldest: Vec<(Instant, ArtifactRef)> =
            held.iter().map(|(artifact, at)| (*at, artifact.clone())).collect();
        oldest.sort_by_key(|(at, _)| *at);
        for (at, artifact) in oldest {
            if bytes <= self.max_bytes || at.elapsed() < IN_USE {
                break;
            }
            if let Ok(path) = self.folder.path(&artifact) {
                // A file that cannot be removed is not counted any more; the folder is removed with the worker.
                _ = fs::remove_file(path);
            }
            bytes -= artifact.bytes;
            held.remove(&artifact);
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ArtifactRef, Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArtifactStore for ObjectArtifacts {
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        let here = self.folder.fetch(artifact);
        if here.is_err() {
            self.download(artifact)?;
        }
        self.hold(artifact);
        self.folder.path(artifact)
    }

    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError> {
        self.folder.draft(content, max_bytes, source)
    }

    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError> {
        self.keep_while(draft, std::future::ready(()))
    }

    /// Side by side: where one is there without the other, the next attempt proves as usual.
    fn keep_unrecorded(
        &self,
        draft: &Draft,
        task: &TaskId,
        made: Vec<u8>,
    ) -> Result<ArtifactRef, ArtifactError> {
        let (objects, task) = (self.objects.clone(), task.clone());
        self.keep_while(draft, async move {
            let why = match timeout(DESCRIPTION_TIMEOUT, objects.put_made(&task, made)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => with_causes(&error).to_string(),
                Err(late) => late.to_string(),
            };
            warn!(%task, why, "if this attempt's result is not recorded, the next one proves again");
        })
    }

    fn unrecorded(&self, task: &TaskId) -> Result<Option<Vec<u8>>, ArtifactError> {
        let (objects, wanted) = (self.objects.clone(), task.clone());
        let got = self.wait(async move { objects.get_made(&wanted).await });
        got.unwrap_or(Ok(None)).map_err(remote)
    }

    fn reject_unrecorded(&self, task: &TaskId, why: &str) {
        warn!(%task, why, "what an earlier attempt made is not taken up: the task is proved again");
    }

    fn name_of(&self, artifact: &ArtifactRef) -> String {
        self.objects.address(artifact)
    }
}

fn remote(error: ObjectError) -> ArtifactError {
    match error {
        ObjectError::Missing { address } => ArtifactError::MissingThere { artifact: address },
        ObjectError::Failed { address, doing, source, passes } => {
            ArtifactError::Remote { artifact: address, doing, source, passes }
        }
    }
}
