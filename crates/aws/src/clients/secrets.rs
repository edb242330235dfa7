//! The webhook's secret, from Secrets Manager. It is read again once it is a minute old, so that a rotated secret counts, and
//! a revoked one no longer does, without a deployment. The previous secret counts for a quarter of an hour after a rotation,
//! in which senders change to the new one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use futures_util::future::BoxFuture;
use proofyard_core::error::{Cause, Code, Coded, with_causes};
use tracing::warn;

use super::call_fault::CallFault;

const READ_AGAIN_AFTER_MS: u64 = 60_000;
/// How long the last secret counts while it cannot be read again.
const UNREAD_COUNTS_MS: u64 = 600_000;
/// How long the previous secret counts after a rotation.
pub const PREVIOUS_COUNTS_MS: u64 = 900_000;
/// The name of the previous version in Secrets Manager.
const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Debug, thiserror::Error)]
#[error("secret {id} cannot be read")]
pub struct SecretError {
    id: String,
    source: Cause,
}

impl Coded for SecretError {
    fn code(&self) -> Code {
        Code::SecretUnreadable
    }
}

#[derive(Clone)]
struct Known {
    current: Vec<u8>,
    /// The previous secret, and until when it counts.
    previous: Option<(Vec<u8>, u64)>,
    read_ms: u64,
}

impl Known {
    fn that_count(self, now_ms: u64) -> Vec<Vec<u8>> {
        let previous = self.previous.filter(|(_, until_ms)| now_ms < *until_ms).map(|(secret, _)| secret);
        std::iter::once(self.current).chain(previous).collect()
    }
}

/// One secret, by its name.
pub struct Secret {
    client: Client,
    id: String,
    known: Mutex<Option<Known>>,
}

impl Secret {
    pub fn new(config: &aws_config::SdkConfig, id: String) -> Self {
        Self { client: Client::new(config), id, known: Mutex::default() }
    }

    /// The secrets that count now: the current one, and for a while after a rotation the previous one.
    pub fn that_count(&self, now_ms: u64) -> BoxFuture<'_, Result<Vec<Vec<u8>>, SecretError>> {
        Box::pin(async move {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let age_ms = known.as_ref().map(|known| now_ms.abs_diff(known.read_ms));
            match (known, age_ms) {
                (Some(known), Some(age_ms)) if age_ms < READ_AGAIN_AFTER_MS => Ok(known.that_count(now_ms)),
                (known, age_ms) => match self.read(now_ms).await {
                    Ok(read) => {
                        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
                        Ok(read.that_count(now_ms))
                    }
                    Err(error) => {
                        match known.filter(|_| age_ms.is_some_and(|age_ms| age_ms < UNREAD_COUNTS_MS)) {
                            Some(known) => {
                                warn!(error = %with_causes(&error), "the secret that was read last counts for now");
                                Ok(known.that_count(now_ms))
                            }
                            None => Err(error),
                        }
                    }
                },
            }
        })
    }

    /// What a secret holds that is a JSON object of texts; `None` if it is none, and what it is is not shown.
    pub fn variables(
        &self,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Option<BTreeMap<String, String>>, SecretError>> {
        Box::pin(async move {
            // The first is the current one; the other side does not take the previous one for longer.
            let current = self.that_count(now_ms).await?.into_iter().next().unwrap_or_default();
            Ok(serde_json::from_slice(&current).ok())
        })
    }

    async fn read(&self, now_ms: u64) -> Result<Known, SecretError> {
        let found = self.client.get_secret_value().secret_id(&self.id).send().await;
        let found = found.map_err(|error| self.failed(CallFault::of(error)))?;
        // A version is made when its value is put there.
        let rotated_ms = found.created_date().and_then(|date| u64::try_from(date.to_millis().ok()?).ok());
        let previous_until_ms = rotated_ms.unwrap_or_default().saturating_add(PREVIOUS_COUNTS_MS);
        let previous = if now_ms < previous_until_ms { self.read_previous().await? } else { None };
        let previous = previous.map(|secret| (secret, previous_until_ms));
        Ok(Known { current: self.text_of(found)?, previous, read_ms: now_ms })
    }

    async fn read_previous(&self) -> Result<Option<Vec<u8>>, SecretError> {
        match self.client.get_secret_value().secret_id(&self.id).version_stage(PREVIOUS).send().await {
            Ok(found) => Ok(Some(self.text_of(found)?).filter(|secret| !secret.is_empty())),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(CallFault::of(error))),
        }
    }

    fn text_of(&self, found: GetSecretValueOutput) -> Result<Vec<u8>, SecretError> {
        let text = found.secret_string.ok_or_else(|| self.failed("it is not text"))?;
        Ok(text.into_bytes())
    }

    fn failed(&self, source: impl Into<Cause>) -> SecretError {
        SecretError { id: self.id.clone(), source: source.into() }
    }
}
