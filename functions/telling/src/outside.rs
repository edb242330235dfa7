//! What sinks and actions need from outside: what the function's secret holds, and artifacts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofyard_aws::AwsHome;
use proofyard_aws::clients::secrets::Secret;
use proofyard_aws::objects::ObjectError;
use proofyard_core::error::Cause;
use proofyard_core::port::Port;
use proofyard_core::state::ArtifactRef;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const FETCH: Duration = Duration::from_secs(10);

/// The function's secret: a JSON object of texts.
pub struct Secrets {
    secret: Secret,
    id: String,
}

impl Secrets {
    pub fn of(home: &AwsHome, id: String) -> Self {
        Self { secret: home.secret(id.clone()), id }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it holds; nothing is read where nothing of it is needed.
    pub async fn variables(
        &self,
        home: &AwsHome,
        is_needed: bool,
    ) -> Result<BTreeMap<String, String>, Cause> {
        if !is_needed {
            return Ok(BTreeMap::new());
        }
        let variables = self.secret.variables(home.yard.port.now_ms()).await?;
        variables.ok_or_else(|| {
            let id = &self.id;
            format!("secret {id} holds no JSON object of texts; write it as {{\"NAME\": \"...\"}}").into()
        })
    }
}

/// Why the bytes of an artifact are not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("{address} cannot be read: it takes too long")]
    Slow { address: String },
    #[error("{address} cannot be read: its bytes hash to something else")]
    Damaged { address: String },
    #[error("a file of this machine cannot be written")]
    File(#[from] io::Error),
}

impl FetchError {
    /// Nobody else could read it either.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Object(ObjectError::Missing { .. }))
    }
}

/// An artifact's bytes in a folder of this machine, checked: what is sent is what was verified.
pub async fn fetched(home: &AwsHome, artifact: &ArtifactRef, folder: &Path) -> Result<PathBuf, FetchError> {
    let path = folder.join(&artifact.sha256);
    let mut file = tokio::fs::File::create(&path).await?;
    let address = || home.objects.address(artifact);
    let got = timeout(FETCH, home.objects.get_file(artifact, &mut file)).await;
    got.map_err(|_| FetchError::Slow { address: address() })??;
    file.flush().await?;
    match hash_of(&path)? == artifact.sha256 {
        true => Ok(path),
        false => Err(FetchError::Damaged { address: address() }),
    }
}

/// Puts what was made here among the artifacts.
pub async fn stored(home: &AwsHome, made: &[u8]) -> Result<ArtifactRef, ObjectError> {
    let artifact = ArtifactRef { sha256: hex::encode(Sha256::digest(made)), bytes: made.len() as u64 };
    home.objects.put_bytes(&artifact, made.to_vec()).await?;
    Ok(artifact)
}

fn hash_of(path: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}
