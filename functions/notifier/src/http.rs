//! Sinks that are told over HTTP.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofyard_aws::AwsHome;
use proofyard_aws::clients::secrets::Secret;
use proofyard_aws::objects::ObjectError;
use proofyard_core::error::{Cause, with_causes};
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::port::Port;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::ArtifactRef;
use proofyard_notify::{Surroundings, tell};
use proofyard_sinks::{BlockProof, Message, Outcome, ToNotify};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// What is fetched of a proof at most: `proofyard-notify` sends no more.
const PROOF_BYTES: u64 = 32 << 20;
const FETCH: Duration = Duration::from_secs(10);

pub struct Http {
    secret: Secret,
    id: String,
}

/// What the yard's secret for sinks holds.
struct Variables {
    id: String,
    are: BTreeMap<String, String>,
}

impl Surroundings for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.are.get(name).cloned()
    }

    fn variables_are_in(&self) -> String {
        format!("the secret {}", self.id)
    }

    fn now_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl Http {
    pub fn of(home: &AwsHome) -> Self {
        let id = home.names.sinks_secret();
        Self { secret: home.secret(id.clone()), id }
    }

    pub async fn tell(&self, home: &AwsHome, target: &SinkTarget, message: &Message) -> Outcome {
        match self.try_tell(home, target, message).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Later(Trouble::saying(with_causes(error.as_ref()).to_string())),
        }
    }

    async fn try_tell(
        &self,
        home: &AwsHome,
        target: &SinkTarget,
        message: &Message,
    ) -> Result<Outcome, Cause> {
        let variables = Variables { id: self.id.clone(), are: self.variables(home, target).await? };
        let mut message = message.clone();
        let folder = tempfile::tempdir()?;
        if let (SinkTarget::Ethproofs(_), Message::Block(block)) = (target, &mut message)
            && let Some(proof) = &mut block.proof
        {
            if proof.bytes > PROOF_BYTES {
                let reason =
                    format!("the proof has {} bytes, and {PROOF_BYTES} are sent at most", proof.bytes);
                return Ok(Outcome::Refused(reason));
            }
            proof.file = fetched(home, proof, &folder).await?;
        }
        let told = ToNotify { target: target.clone(), message };
        // It waits for the other side: what else this process does goes on.
        Ok(spawn_blocking(move || tell(&told, &variables)).await?)
    }

    /// Nothing is read where the pipeline names nothing.
    async fn variables(
        &self,
        home: &AwsHome,
        target: &SinkTarget,
    ) -> Result<BTreeMap<String, String>, Cause> {
        if target.environment().is_empty() {
            return Ok(BTreeMap::new());
        }
        let variables = self.secret.variables(home.yard.port.now_ms()).await?;
        variables.ok_or_else(|| {
            let id = &self.id;
            format!("secret {id} holds no JSON object of texts; write it as {{\"HOOK_SECRET\": \"...\"}}")
                .into()
        })
    }
}

/// A proof's bytes on this machine, checked: what is sent is what was verified.
async fn fetched(home: &AwsHome, proof: &BlockProof, folder: &TempDir) -> Result<PathBuf, Cause> {
    let artifact = ArtifactRef { sha256: proof.sha256.clone(), bytes: proof.bytes };
    let path = folder.path().join("proof");
    let mut file = tokio::fs::File::create(&path).await?;
    let got = timeout(FETCH, home.objects.get_file(&artifact, &mut file)).await;
    got.map_err(|_| unfetched(home, &artifact, "it takes too long"))?.map_err(|error: ObjectError| error)?;
    file.flush().await?;
    match hash_of(&path)? == artifact.sha256 {
        true => Ok(path),
        false => Err(unfetched(home, &artifact, "its bytes hash to something else")),
    }
}

fn hash_of(path: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

fn unfetched(home: &AwsHome, artifact: &ArtifactRef, why: &str) -> Cause {
    format!("the proof {} cannot be read: {why}", home.objects.address(artifact)).into()
}
