//! Sinks that are told over HTTP.

use proofyard_aws::AwsHome;
use proofyard_core::error::{Cause, with_causes};
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::ArtifactRef;
use proofyard_notify::tell;
use proofyard_sinks::{Message, Outcome, ToNotify};
use proofyard_telling::{Secrets, Variables, fetched};
use tokio::task::spawn_blocking;

/// What is fetched of a proof at most: `proofyard-notify` sends no more.
const PROOF_BYTES: u64 = 32 << 20;

pub struct Http {
    secrets: Secrets,
}

impl Http {
    pub fn of(home: &AwsHome) -> Self {
        Self { secrets: Secrets::of(home, home.names.sinks_secret()) }
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
        let are = self.secrets.variables(home, !target.environment().is_empty()).await?;
        let variables = Variables::of(&self.secrets, are);
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
            let artifact = ArtifactRef { sha256: proof.sha256.clone(), bytes: proof.bytes };
            proof.file = fetched(home, &artifact, folder.path()).await?;
        }
        let told = ToNotify { target: target.clone(), message };
        // It waits for the other side: what else this process does goes on.
        Ok(spawn_blocking(move || tell(&told, &variables)).await?)
    }
}
