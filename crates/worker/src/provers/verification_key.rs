//! Which verification key counts: the one that the pipeline pins, or else the one that the prover names.

use std::fs;
use std::path::Path;

use proofyard_core::pipeline::{Protocol, Prover};
use proofyard_prover::runner::{ErrorKind, Launch, ProverError, named_key};

use super::job::Job;

/// The key that a verifier must accept a proof under: the pinned one, whatever the prover named.
pub(super) fn accepted_key(prover: &Prover, named: Option<&str>) -> Option<String> {
    prover.verification_key.as_deref().or(named).map(str::to_owned)
}

/// Refuses a prover with another key than the pinned one, before it proves for hours what no verifier would accept. Another
/// worker may have the right program and keys, so this is not a permanent failure of the task.
pub(super) fn expect_pinned_key(job: Job<'_>, key: &str, launch: &Launch) -> Result<(), ProverError> {
    let Some(pinned) = job.prover.other_key(Some(key)) else { return Ok(()) };
    let message = format!(
        "prover {} was set up here with verification key {key}, and the pipeline pins {pinned}: this worker has another \
         program, or other keys",
        job.prover_name
    );
    Err(ProverError {
        kind: ErrorKind::Transient,
        message,
        command: launch.command.join(" "),
        log: Vec::new(),
    })
}

/// The key of a files prover's proof, where the pipeline pins one: the one that the file names, or else the pinned one,
/// under which its verifier must accept it.
pub(super) fn key_of_file(prover: &Prover, proof: &Path) -> Option<String> {
    let pinned = prover.verification_key.as_ref().filter(|_| prover.protocol != Protocol::Stream)?;
    let named = fs::File::open(proof).ok().and_then(named_key);
    Some(named.map_or_else(|| pinned.clone(), |named| bare_hex(&named)))
}

/// Without a prefix and in lower case, so that values compare as text.
pub(super) fn bare_hex(value: &str) -> String {
    value.strip_prefix("0x").unwrap_or(value).to_ascii_lowercase()
}
