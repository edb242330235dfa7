//! Beacon nodes: proofs are fetched and the keystore is opened for each block, by `proofyard-notify`.

use proofyard_core::error::Cause;
use proofyard_core::pipeline::{Beacon, SinkTarget};
use proofyard_core::state::ArtifactRef;
use proofyard_notify::{MAX_PROOF_BYTES, tell};
use proofyard_sinks::{Message, Outcome, ToNotify};
use proofyard_telling::{ToldSink, Variables, fetched};
use tokio::task::spawn_blocking;

use crate::Proposing;
use crate::keys::keystore;

impl Proposing {
    pub(crate) async fn hand_in(
        &self,
        sink: ToldSink<'_>,
        beacon: &Beacon,
        message: &Message,
    ) -> Result<Outcome, Cause> {
        let mut message = message.clone();
        let folder = tempfile::tempdir()?;
        let are = self.secrets.variables(sink.home, true).await?;
        let keystore = keystore(&self.secrets, &are, &beacon.keystore, folder.path())?;
        if let Message::Block(block) = &mut message {
            for proof in &mut block.proofs {
                // Others are not handed in, and of one that is too large nothing is read.
                if beacon.proof_types.contains_key(&proof.prover) && proof.bytes <= MAX_PROOF_BYTES {
                    let artifact = ArtifactRef { sha256: proof.sha256.clone(), bytes: proof.bytes };
                    proof.file = fetched(sink.home, &artifact, folder.path()).await?;
                }
            }
        }
        let target = Beacon { keystore: keystore.display().to_string(), ..beacon.clone() };
        let told = ToNotify { target: SinkTarget::Beacon(target), message };
        let variables = Variables::of(&self.secrets, are);
        // It waits for the nodes: what else this process does goes on.
        Ok(spawn_blocking(move || tell(&told, &variables)).await?)
    }
}
