//! S3 as the object store: one bucket.
//!
//! S3 checks the hash of what arrives. Parts of an upload that is not completed are aborted, so that nothing stays of it.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures_util::future::BoxFuture;
use proofyard_core::error::with_causes;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tracing::warn;

use super::{ObjectError, ObjectStore};
use crate::clients::call_fault::CallFault;
use crate::clients::sdk::time_limits;

/// Larger content goes in parts of this size; S3 takes 10,000 parts, which is 640 GB.
const PART_BYTES: u64 = 64 << 20;
/// A proof may be gigabytes, and a disk far away.
const ATTEMPT: Duration = Duration::from_secs(300);
const CALL: Duration = Duration::from_secs(900);

#[derive(Clone)]
pub struct S3Bucket {
    client: Client,
    name: String,
    part_bytes: u64,
}

impl S3Bucket {
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

    async fn put_parts(
        &self,
        key: &str,
        upload: &str,
        file: &Path,
        bytes: u64,
    ) -> Result<CompletedMultipartUpload, ObjectError> {
        let mut parts = CompletedMultipartUpload::builder();
        for (number, offset) in (1..).zip((0..bytes).step_by(self.part_bytes as usize)) {
            let length = Length::Exact(self.part_bytes.min(bytes - offset));
            let body = ByteStream::read_from().path(file).offset(offset).length(length).build().await;
            let body = body.map_err(|error| ObjectError::Failed {
                address: file.display().to_string(),
                doing: "read",
                source: error.into(),
                passes: false,
            })?;
            let put = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload);
            let put = put.part_number(number).checksum_algorithm(ChecksumAlgorithm::Sha256).body(body);
            let put = put.send().await.map_err(|error| self.failed(key, "written", error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
            parts = parts.parts(part.set_checksum_sha256(put.checksum_sha256).build());
        }
        Ok(parts.build())
    }

    fn failed<E, R>(&self, key: &str, doing: &'static str, error: SdkError<E, R>) -> ObjectError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let fault = CallFault::of(error);
        let passes = fault.passes();
        ObjectError::Failed { address: self.address(key), doing, source: fault.into(), passes }
    }
}

impl ObjectStore for S3Bucket {
    fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    fn max_put_bytes(&self) -> u64 {
        self.part_bytes
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, ObjectError>> {
        Box::pin(async move {
            match self.client.head_object().bucket(&self.name).key(key).send().await {
                Ok(found) => Ok(found.content_length.and_then(|bytes| u64::try_from(bytes).ok())),
                Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
                Err(error) => Err(self.failed(key, "looked at", error)),
            }
        })
    }

    fn read<'a>(
        &'a self,
        key: &'a str,
        max_bytes: u64,
        to: &'a mut (dyn AsyncWrite + Unpin + Send),
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            let got = self.client.get_object().bucket(&self.name).key(key).send().await;
            let got = got.map_err(|error| match error.as_service_error() {
                Some(service) if service.is_no_such_key() => {
                    ObjectError::Missing { address: self.address(key) }
                }
                _ => self.failed(key, "read", error),
            })?;
            let copied = tokio::io::copy(&mut got.body.into_async_read().take(max_bytes), to).await;
            // The connection ended before the content did.
            copied.map(|_| ()).map_err(|error| ObjectError::Failed {
                address: self.address(key),
                doing: "read",
                source: error.into(),
                passes: true,
            })
        })
    }

    fn create<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
        sha256: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool, ObjectError>> {
        Box::pin(async move {
            let put = self
                .client
                .put_object()
                .bucket(&self.name)
                .key(key)
                .if_none_match("*")
                .set_checksum_sha256(sha256.map(checksum))
                .body(ByteStream::from(content));
            match put.send().await {
                Ok(_) => Ok(true),
                // The second: another one is writing it right now.
                Err(error)
                    if matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict")) =>
                {
                    Ok(false)
                }
                Err(error) => Err(self.failed(key, "written", error)),
            }
        })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        content: Vec<u8>,
        sha256: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            let put = self.client.put_object().bucket(&self.name).key(key);
            let put = put.set_checksum_sha256(sha256.map(checksum)).body(ByteStream::from(content));
            put.send().await.map(|_| ()).map_err(|error| self.failed(key, "written", error))
        })
    }

    fn put_in_parts<'a>(
        &'a self,
        key: &'a str,
        file: &'a Path,
        bytes: u64,
        only_new: bool,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            let create = self.client.create_multipart_upload().bucket(&self.name).key(key);
            let begun = create.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
            let begun = begun.map_err(|error| self.failed(key, "written", error))?;
            let upload = begun.upload_id.unwrap_or_default();
            let put = async {
                let parts = self.put_parts(key, &upload, file, bytes).await?;
                let end = self.client.complete_multipart_upload().bucket(&self.name).key(key);
                let once = only_new.then(|| "*".to_owned());
                let end = end.upload_id(&upload).set_if_none_match(once).multipart_upload(parts);
                end.send().await.map_err(|error| self.failed(key, "written", error))
            };
            let Err(failed) = put.await else { return Ok(()) };
            // What was begun and not ended would cost until the bucket's lifecycle ends it.
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(&upload);
            if let Err(error) = abort.send().await {
                let error = self.failed(key, "given up", error);
                warn!(error = %with_causes(&error), "parts are left behind for a while");
            }
            Err(failed)
        })
    }
}

/// As S3 writes a SHA-256: base64.
fn checksum(sha256: &str) -> String {
    aws_smithy_types::base64::encode(hex::decode(sha256).unwrap_or_default())
}
