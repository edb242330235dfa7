//! The artifacts in one S3 bucket: `artifacts/ab/abcdef...` holds the content whose SHA-256 that is, written once.
//!
//! `made/...` says, under the SHA-256 of a task's id, what an attempt at it made, from before the result is recorded; it
//! may be forgotten once the task has its result.
//!
//! S3 checks the hash of what arrives. What is there already is left alone, unless it has another size: then someone's
//! hand, or a broken copy, is mended by putting the content again. Large content goes in parts, of which nothing stays
//! unless all of them arrive.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures_util::future::BoxFuture;
use proofyard_core::state::{ArtifactRef, TaskId};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::sdk::time_limits;
use crate::trouble::{Trouble, trouble_of};

/// Larger content goes in parts of this size; S3 takes 10,000 parts, which is 640 GB.
const PART_BYTES: u64 = 64 << 20;
/// What is read of what an attempt left to be known.
const MAX_MADE_BYTES: u64 = 64 << 10;
/// A proof may be gigabytes, and a disk far away.
const ATTEMPT: Duration = Duration::from_secs(300);
const CALL: Duration = Duration::from_secs(900);

#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    #[error("{address} is not there")]
    Missing { address: String },
    #[error("{address} cannot be {doing}: {reason}")]
    Failed { address: String, doing: &'static str, reason: String, passes: bool },
}

#[derive(Clone)]
pub struct Bucket {
    client: Client,
    name: String,
    part_bytes: u64,
}

impl Bucket {
    pub fn new(config: &aws_config::SdkConfig, name: String) -> Self {
        // Local stores answer at one address for all buckets.
        let local = config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(config)
            .timeout_config(time_limits(ATTEMPT, CALL))
            .force_path_style(local)
            .build();
        Self { client: Client::from_conf(config), name, part_bytes: PART_BYTES }
    }

    /// With smaller parts, for tests; S3 takes no less than 5 MiB.
    pub fn with_parts_of(self, part_bytes: u64) -> Self {
        Self { part_bytes, ..self }
    }

    fn key(artifact: &ArtifactRef) -> String {
        format!("artifacts/{}/{}", artifact.sha256.get(..2).unwrap_or("__"), artifact.sha256)
    }

    /// `s3://bucket/artifacts/...`
    pub fn address(&self, artifact: &ArtifactRef) -> String {
        self.address_of(&Self::key(artifact))
    }

    fn address_of(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// Durable when it returns. The file's content must be the artifact's.
    pub fn put_file<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            if artifact.bytes > self.part_bytes {
                return self.put_in_parts(artifact, path).await;
            }
            let content = tokio::fs::read(path).await.map_err(|error| unread(path, &error))?;
            self.put_bytes(artifact, content).await
        })
    }

    /// The same, of content in memory.
    pub fn put_bytes<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        content: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            let key = Self::key(artifact);
            match self.put_new(&key, content.clone(), Some(artifact)).await? {
                true => Ok(()),
                false if self.bytes_of(&key).await? == Some(artifact.bytes) => Ok(()),
                false => self.replace(&key, content, Some(checksum(artifact))).await,
            }
        })
    }

    /// Whether an object is there and is exactly this.
    pub fn holds<'a>(&'a self, key: &'a str, content: &'a [u8]) -> BoxFuture<'a, Result<bool, BucketError>> {
        Box::pin(async move {
            use tokio::io::AsyncReadExt;
            let mut found = Vec::new();
            let stored = self.get(key).await?.into_async_read();
            // One byte more tells a longer one.
            let read = stored.take(content.len() as u64 + 1).read_to_end(&mut found).await;
            read.map_err(|error| self.cut_off(key, &error))?;
            Ok(found == content)
        })
    }

    /// Writes what has no name yet; says whether it did.
    pub fn put_new<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
        artifact: Option<&'a ArtifactRef>,
    ) -> BoxFuture<'a, Result<bool, BucketError>> {
        Box::pin(async move {
            let put = self
                .client
                .put_object()
                .bucket(&self.name)
                .key(key)
                .if_none_match("*")
                .set_checksum_sha256(artifact.map(checksum))
                .body(ByteStream::from(content));
            match put.send().await {
                Ok(_) => Ok(true),
                // The second: another one is writing it right now.
                Err(error)
                    if matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict")) =>
                {
                    Ok(false)
                }
                Err(error) => Err(self.failed(key, "written", &error)),
            }
        })
    }

    async fn replace(
        &self,
        key: &str,
        content: Vec<u8>,
        checksum: Option<String>,
    ) -> Result<(), BucketError> {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let put = put.set_checksum_sha256(checksum).body(ByteStream::from(content));
        put.send().await.map(|_| ()).map_err(|error| self.failed(key, "written", &error))
    }

    fn made_key(task: &TaskId) -> String {
        format!("made/{}.json", hex::encode(Sha256::digest(task.to_string())))
    }

    /// In place of what an earlier attempt left there.
    pub fn put_made<'a>(&'a self, task: &'a TaskId, made: Vec<u8>) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move { self.replace(&Self::made_key(task), made, None).await })
    }

    /// Its beginning, if it is longer than anything that an attempt leaves.
    pub fn get_made<'a>(&'a self, task: &'a TaskId) -> BoxFuture<'a, Result<Option<Vec<u8>>, BucketError>> {
        Box::pin(async move {
            use tokio::io::AsyncReadExt;
            let key = Self::made_key(task);
            let content = match self.get(&key).await {
                Ok(content) => content,
                Err(BucketError::Missing { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut made = Vec::new();
            let read = content.into_async_read().take(MAX_MADE_BYTES).read_to_end(&mut made).await;
            read.map_err(|error| self.cut_off(&key, &error))?;
            Ok(Some(made))
        })
    }

    /// Each part is hashed, but S3 does not hash them together the way an artifact is named: whoever reads it checks
    /// that. The last step makes the object, unless another one made it meanwhile.
    async fn put_in_parts(&self, artifact: &ArtifactRef, path: &Path) -> Result<(), BucketError> {
        let key = Self::key(artifact);
        let there = self.bytes_of(&key).await?;
        if there == Some(artifact.bytes) {
            return Ok(());
        }
        let create = self.client.create_multipart_upload().bucket(&self.name).key(&key);
        let begun = create.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
        let begun = begun.map_err(|error| self.failed(&key, "written", &error))?;
        let upload = begun.upload_id.unwrap_or_default();
        let put = async {
            let parts = self.put_parts(artifact, &key, &upload, path).await?;
            let end = self.client.complete_multipart_upload().bucket(&self.name).key(&key);
            let once = there.is_none().then(|| "*".to_owned());
            let end = end.upload_id(&upload).set_if_none_match(once).multipart_upload(parts);
            end.send().await.map_err(|error| self.failed(&key, "written", &error))
        };
        let Err(failed) = put.await else { return Ok(()) };
        // What was begun and not ended would cost until the bucket's lifecycle ends it.
        let abort = self.client.abort_multipart_upload().bucket(&self.name).key(&key).upload_id(&upload);
        if let Err(error) = abort.send().await {
            warn!(trouble = %self.failed(&key, "given up", &error), "parts are left behind for a while");
        }
        // Another one was faster, or only the answer was lost.
        if self.bytes_of(&key).await? == Some(artifact.bytes) { Ok(()) } else { Err(failed) }
    }

    async fn put_parts(
        &self,
        artifact: &ArtifactRef,
        key: &str,
        upload: &str,
        path: &Path,
    ) -> Result<CompletedMultipartUpload, BucketError> {
        let mut parts = CompletedMultipartUpload::builder();
        for (number, offset) in (1..).zip((0..artifact.bytes).step_by(self.part_bytes as usize)) {
            let length = Length::Exact(self.part_bytes.min(artifact.bytes - offset));
            let body = ByteStream::read_from().path(path).offset(offset).length(length).build().await;
            let body = body.map_err(|error| unread(path, &error))?;
            let put = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload);
            let put = put.part_number(number).checksum_algorithm(ChecksumAlgorithm::Sha256).body(body);
            let put = put.send().await.map_err(|error| self.failed(key, "written", &error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
            parts = parts.parts(part.set_checksum_sha256(put.checksum_sha256).build());
        }
        Ok(parts.build())
    }

    /// Its size, if it is there.
    async fn bytes_of(&self, key: &str) -> Result<Option<u64>, BucketError> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(found) => Ok(found.content_length.and_then(|bytes| u64::try_from(bytes).ok())),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
            Err(error) => Err(self.failed(key, "looked at", &error)),
        }
    }

    /// Writes the content to `to`, a file that is empty. Nothing is checked here but that all of it came.
    pub fn get_file<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
        to: &'a mut (dyn tokio::io::AsyncWrite + Unpin + Send),
    ) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            let key = Self::key(artifact);
            let content = self.get(&key).await?;
            let copied = tokio::io::copy(&mut content.into_async_read(), to).await;
            copied.map(|_| ()).map_err(|error| self.cut_off(&key, &error))
        })
    }

    async fn get(&self, key: &str) -> Result<ByteStream, BucketError> {
        let got = self.client.get_object().bucket(&self.name).key(key).send().await;
        got.map(|got| got.body).map_err(|error| match error.as_service_error() {
            Some(service) if service.is_no_such_key() => {
                BucketError::Missing { address: self.address_of(key) }
            }
            _ => self.failed(key, "read", &error),
        })
    }

    fn cut_off(&self, key: &str, error: &std::io::Error) -> BucketError {
        BucketError::Failed {
            address: self.address_of(key),
            doing: "read",
            reason: error.to_string(),
            passes: true,
        }
    }

    fn failed<E, R>(&self, key: &str, doing: &'static str, error: &SdkError<E, R>) -> BucketError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let (reason, passes) = match trouble_of(error) {
            Trouble::Passing(reason) | Trouble::Unknown(reason) => (reason, true),
            Trouble::Lasting(reason) => (reason, false),
        };
        BucketError::Failed { address: self.address_of(key), doing, reason, passes }
    }
}

fn unread(path: &Path, error: &dyn std::fmt::Display) -> BucketError {
    BucketError::Failed {
        address: path.display().to_string(),
        doing: "read",
        reason: error.to_string(),
        passes: false,
    }
}

/// As S3 writes it: base64.
fn checksum(artifact: &ArtifactRef) -> String {
    let bytes = hex::decode(&artifact.sha256).unwrap_or_default();
    aws_smithy_types::base64::encode(bytes)
}
