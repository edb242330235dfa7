//! Contracts: one look at the chain, and what follows from it, by `proofyard-contract`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proofyard_aws::AwsHome;
use proofyard_aws::pools::deployed::MOST_MESSAGE_MS;
use proofyard_contract::{Journals, Kms, PROOF_BYTES, Place, Surroundings, submit};
use proofyard_core::error::Cause;
use proofyard_core::pipeline::{AccountKey, BLOCK, Contract};
use proofyard_core::port::Port;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::OutKind;
use proofyard_sinks::{Message, Outcome};
use proofyard_telling::{ToldSink, fetched};
use tokio::time::timeout;

use crate::Proposing;
use crate::journal::TablePages;
use crate::keys::keystore;

/// One look asks nodes a dozen things, one after another; the invocation is to say how it went before it is ended.
const LONGEST_LOOK: Duration = Duration::from_millis(MOST_MESSAGE_MS + 5_000);
/// What is read of a block's payload for the fields that texts name: parsed, the function holds it many times over.
const MOST_PAYLOAD_BYTES: u64 = 16 << 20;

/// What a call needs from outside: the yard's secret for keys, KMS, and no patience.
struct Around<'a> {
    variables: BTreeMap<String, String>,
    kms: &'a Kms,
    home: &'a AwsHome,
}

impl Surroundings for Around<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn now_ms(&self) -> u64 {
        self.home.yard.port.now_ms()
    }

    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn kms(&self) -> &Kms {
        self.kms
    }

    /// A function that waits for blocks is paid for: the sink's next look comes by itself.
    fn patience_ms(&self) -> u64 {
        0
    }
}

impl Proposing {
    pub(crate) async fn submit(
        &self,
        sink: ToldSink<'_>,
        contract: &Contract,
        message: &Message,
    ) -> Result<Outcome, Cause> {
        let home = sink.home;
        let folder = tempfile::tempdir()?;
        let is_file = matches!(contract.key, AccountKey::File { .. });
        let is_needed = is_file || !contract.environment().is_empty();
        let variables = self.secrets.variables(home, is_needed).await?;
        let mut contract = contract.clone();
        contract.time_limit_ms = contract.time_limit_ms.min(MOST_MESSAGE_MS);
        if let AccountKey::File { path, .. } = &mut contract.key {
            *path = keystore(&self.secrets, &variables, path, folder.path())?.display().to_string();
        }
        let mut message = message.clone();
        if let Message::Entry(entry) = &mut message
            && let OutKind::Proof { proofs, .. } = &entry.entry.kind
            && let Some(proof) = proofs.first().filter(|_| contract.names("proof"))
        {
            let artifact = &proof.artifact;
            if artifact.bytes > PROOF_BYTES {
                let bytes = artifact.bytes;
                return Ok(Outcome::Refused(format!(
                    "the proof has {bytes} bytes, and no transaction holds more than {PROOF_BYTES}"
                )));
            }
            let file = fetched(home, artifact, folder.path()).await?;
            entry.proof_files = vec![file];
        }
        if let Message::Entry(entry) = &mut message
            && let OutKind::Proof { scope, .. } = &entry.entry.kind
            && contract.names(BLOCK)
            && let Some(payload) = home.yard.last_payload(scope).await?
        {
            if payload.bytes > MOST_PAYLOAD_BYTES {
                let bytes = payload.bytes;
                return Ok(Outcome::Refused(format!(
                    "the block has {bytes} bytes, and {MOST_PAYLOAD_BYTES} are read here"
                )));
            }
            entry.block_file = Some(fetched(home, &payload, folder.path()).await?);
        }
        let pages = TablePages::of(home.yard.port.clone());
        // Two chains of a yard may have sinks of one name, and one account.
        let place = Place {
            sink: format!("{}/{}", sink.chain, sink.name),
            journals: Journals::Pages(Arc::new(pages)),
        };
        let around = Around { variables, kms: &self.kms, home };
        let submitted = timeout(LONGEST_LOOK, submit(&contract, &message, &place, &around)).await;
        // What it was in the middle of is found by the next look, as after a crash.
        Ok(submitted.unwrap_or_else(|_| Outcome::Later(Trouble::saying("the nodes take too long to answer"))))
    }
}
