//! Contracts: one look at the chain for a sink's entry, and what follows from it, by `proofyard-contract`; what a call needs from
//! outside, also where it is a task's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proofyard_aws::AwsHome;
use proofyard_aws::pools::deployed::MOST_MESSAGE_MS;
use proofyard_contract::{Journals, Kms, PROOF_BYTES, Place, RESULT_BYTES, Surroundings, submit};
use proofyard_core::error::Cause;
use proofyard_core::pipeline::{AccountKey, BLOCK, Contract};
use proofyard_core::port::Port;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::{ArtifactRef, OutKind};
use proofyard_sinks::{EntryMessage, Message, Outcome};
use proofyard_telling::{FetchError, ToldSink, fetched};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::Proposing;
use crate::journal::TablePages;
use crate::keys::keystore;

/// One look asks nodes a dozen things, one after another; the invocation is to say how it went before it is ended.
pub(crate) const LONGEST_LOOK: Duration = Duration::from_millis(MOST_MESSAGE_MS + 5_000);
/// What is read of a block's payload for the fields that texts name: parsed, the function holds it many times over.
const MOST_PAYLOAD_BYTES: u64 = 16 << 20;

/// What a call needs from outside: the yard's secret for keys, KMS, and no patience.
pub(crate) struct Around<'a> {
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

    /// A function that waits for blocks is paid for: the next look comes by itself.
    fn max_wait_ms(&self) -> u64 {
        0
    }
}

/// A call that is to be looked at once.
pub(crate) struct Call<'a> {
    /// With a key that is a file here, and no more time than there is.
    pub contract: Contract,
    pub around: Around<'a>,
    /// Files that it needs, for as long as it is looked at.
    folder: TempDir,
}

/// Why a file that a call needs is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the {what} has {bytes} bytes, and no more than {most} are read here")]
    TooLarge { what: &'static str, bytes: u64, most: u64 },
    #[error(transparent)]
    Unfetched(#[from] FetchError),
}

impl Call<'_> {
    /// The proof, where texts name it.
    pub async fn proof(&self, proof: Option<&ArtifactRef>) -> Result<Option<PathBuf>, Unread> {
        match proof.filter(|_| self.contract.names("proof")) {
            Some(proof) => self.file("proof", proof, PROOF_BYTES).await.map(Some),
            None => Ok(None),
        }
    }

    pub async fn payload(&self, payload: &ArtifactRef) -> Result<PathBuf, Unread> {
        self.file("block", payload, MOST_PAYLOAD_BYTES).await
    }

    pub async fn result(&self, result: &ArtifactRef) -> Result<PathBuf, Unread> {
        self.file("result of a stage", result, RESULT_BYTES).await
    }

    async fn file(&self, what: &'static str, artifact: &ArtifactRef, most: u64) -> Result<PathBuf, Unread> {
        let bytes = artifact.bytes;
        if bytes > most {
            return Err(Unread::TooLarge { what, bytes, most });
        }
        Ok(fetched(self.around.home, artifact, self.folder()).await?)
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Proposing {
    pub(crate) async fn call<'a>(
        &'a self,
        home: &'a AwsHome,
        contract: &Contract,
    ) -> Result<Call<'a>, Cause> {
        let folder = tempfile::tempdir()?;
        let is_file = matches!(contract.key, AccountKey::File { .. });
        let is_needed = is_file || !contract.environment().is_empty();
        let variables = self.secrets.variables(home, is_needed).await?;
        let mut contract = contract.clone();
        contract.time_limit_ms = contract.time_limit_ms.min(MOST_MESSAGE_MS);
        if let AccountKey::File { path, .. } = &mut contract.key {
            *path = keystore(&self.secrets, &variables, path, folder.path())?.display().to_string();
        }
        Ok(Call { contract, around: Around { variables, kms: &self.kms, home }, folder })
    }

    pub(crate) async fn submit(
        &self,
        sink: ToldSink<'_>,
        contract: &Contract,
        message: &Message,
    ) -> Result<Outcome, Cause> {
        let call = self.call(sink.home, contract).await?;
        let mut message = message.clone();
        if let Message::Entry(entry) = &mut message {
            match fetch(&call, entry).await? {
                Ok(()) => {}
                Err(refused @ Unread::TooLarge { .. }) => return Ok(Outcome::Refused(refused.to_string())),
                Err(Unread::Unfetched(error)) => return Err(error.into()),
            }
        }
        // Two chains of a yard may have sinks of one name, and one account.
        let place = Place { sink: format!("{}/{}", sink.chain, sink.name), journals: journals(sink.home) };
        let submitted = timeout(LONGEST_LOOK, submit(&call.contract, &message, &place, &call.around)).await;
        // What it was in the middle of is found by the next look, as after a crash.
        Ok(submitted.unwrap_or_else(|_| Outcome::Later(Trouble::saying(TOO_SLOW))))
    }
}

/// Of a look that has taken all its time.
pub(crate) const TOO_SLOW: &str = "the nodes take too long to answer";

/// Read by a port of its own: they are read anew for each look, and all else that is known stays known.
pub(crate) fn journals(home: &AwsHome) -> Journals {
    let own = home.begin();
    Journals::Pages(Arc::new(TablePages::of(own.home.yard.port.clone())))
}

/// Puts here what an entry's texts name.
async fn fetch(call: &Call<'_>, entry: &mut EntryMessage) -> Result<Result<(), Unread>, Cause> {
    let OutKind::Proof { proofs, scope, .. } = &entry.entry.kind else { return Ok(Ok(())) };
    let yard = &call.around.home.yard;
    let payload = if call.contract.names(BLOCK) { yard.last_payload(scope).await? } else { None };
    let mut results = BTreeMap::new();
    for stage in call.contract.results() {
        if let Some(result) = yard.output_of(scope, &stage).await? {
            results.insert(stage, result);
        }
    }
    let files = async {
        let proof = call.proof(proofs.first().map(|proof| &proof.artifact)).await?;
        if let Some(payload) = payload {
            entry.block_file = Some(call.payload(&payload).await?);
        }
        for (stage, result) in results {
            entry.result_files.insert(stage, call.result(&result).await?);
        }
        entry.proof_files = proof.into_iter().collect();
        Ok(())
    };
    Ok(files.await)
}
