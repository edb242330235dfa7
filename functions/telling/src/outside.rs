//! What sinks need from outside: what the function's secret holds, and proofs.

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

/// A proof's bytes in a folder of this machine, checked: what is sent is what was verified.
pub async fn fetched(home: &AwsHome, artifact: &ArtifactRef, folder: &Path) -> Result<PathBuf, Cause> {
    let path = folder.join(&artifact.sha256);
    let mut file = tokio::fs::File::create(&path).await?;
    let got = timeout(FETCH, home.objects.get_file(artifact, &mut file)).await;
    got.map_err(|_| unfetched(home, artifact, "it takes too long"))?.map_err(|error: ObjectError| error)?;
    file.flush().await?;
    match hash_of(&path)? == artifact.sha256 {
        true => Ok(path),
        false => Err(unfetched(home, artifact, "its bytes hash to something else")),
    }
}

fn hash_of(path: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

fn unfetched(home: &AwsHome, artifact: &ArtifactRef, why: &str) -> Cause {
    format!("{} cannot be read: {why}", home.objects.address(artifact)).into()
}
