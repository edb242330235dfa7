//! The webhook's secret, from Secrets Manager: read when it is first needed, and again, at most once a minute, when a
//! signature does not fit, so that one that was rotated is taken up without a deployment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use futures_util::future::BoxFuture;

use crate::trouble::{Trouble, trouble_of};

const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("secret {id} cannot be read: {reason}")]
pub struct SecretError {
    id: String,
    reason: String,
}

#[derive(Clone)]
struct Known {
    secret: Vec<u8>,
    read: Instant,
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

    /// As it was last read.
    pub fn current(&self) -> BoxFuture<'_, Result<Vec<u8>, SecretError>> {
        Box::pin(async move {
            match self.known() {
                Some(known) => Ok(known.secret),
                None => self.read().await,
            }
        })
    }

    /// What it is now, if it was read a while ago and has changed since.
    pub fn changed(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, SecretError>> {
        Box::pin(async move {
            let before = self.known();
            if before.as_ref().is_some_and(|known| known.read.elapsed() < READ_AGAIN_AFTER) {
                return Ok(None);
            }
            let now = self.read().await?;
            Ok(before.is_none_or(|before| before.secret != now).then_some(now))
        })
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<Vec<u8>, SecretError> {
        let failed = |reason| SecretError { id: self.id.clone(), reason };
        let found = self.client.get_secret_value().secret_id(&self.id).send().await.map_err(|error| {
            let (Trouble::Passing(reason) | Trouble::Unknown(reason) | Trouble::Lasting(reason)) =
                trouble_of(&error);
            failed(reason)
        })?;
        let secret = found.secret_string.ok_or_else(|| failed("it is not text".to_owned()))?.into_bytes();
        let known = Known { secret: secret.clone(), read: Instant::now() };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(secret)
    }
}
