//! Reports to a server with the API of Ethproofs: a block is queued, proving, then proved, for one cluster.
//!
//! The server keeps one proof for each block and cluster. `queued` and `proving` may come again until it is proved; then it
//! answers 409, which is as good as done. A block that it has not heard of must be queued first, and a late `queued` would set
//! a proving one back: the order of words is the yard's, which never sends an older one behind a newer.

use std::fs::File;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proofyard_core::pipeline::{BlockWord, Ethproofs};
use proofyard_sinks::{BlockMessage, BlockProof, Message};
use serde_json::{Value, json};

use crate::http::{JSON, Post};
use crate::{Failure, Surroundings, url, variable};

/// What is sent of a proof at most: the server's own limit is far below.
const PROOF_BYTES: u64 = 32 << 20;

pub(crate) fn tell(
    target: &Ethproofs,
    message: &Message,
    surroundings: &impl Surroundings,
) -> Result<(), Failure> {
    let Message::Block(block) = message else {
        return Err(Failure::Refused("blocks are reported, and this is an entry of a log".to_owned()));
    };
    let (path, body) = match block.word {
        BlockWord::Arrived => ("queued", report(target, block)),
        BlockWord::Started => ("proving", report(target, block)),
        BlockWord::Accepted | BlockWord::Committed => ("proved", proved(target, block)?),
        BlockWord::Missed | BlockWord::Retracted => return Ok(()),
    };
    let base = url(&target.url, surroundings)?;
    let token = variable(&target.token_from, surroundings)?;
    let post = Post {
        url: &format!("{}/proofs/{path}", base.trim_end_matches('/')),
        content_type: JSON,
        headers: vec![("authorization", format!("Bearer {token}"))],
        body: body.to_string().into_bytes(),
        time_limit_ms: target.time_limit_ms,
    };
    let answer = post.send()?;
    // It is proved there already.
    if answer.status == 409 {
        return Ok(());
    }
    answer.outcome()
}

fn report(target: &Ethproofs, block: &BlockMessage) -> Value {
    json!({ "block_number": block.height, "cluster_id": target.cluster_id })
}

fn proved(target: &Ethproofs, block: &BlockMessage) -> Result<Value, Failure> {
    let proof = block.proof.as_ref();
    let proof = proof.ok_or_else(|| Failure::Refused("it has no proof to report".to_owned()))?;
    let mut body = report(target, block);
    body["proving_time"] = json!(proof.proving_ms.max(1));
    body["proof"] = json!(STANDARD.encode(read(proof)?));
    if let Some(cycles) = proof.cycles.filter(|cycles| *cycles > 0) {
        body["proving_cycles"] = json!(cycles);
    }
    if let Some(key) = &proof.verification_key {
        body["verifier_id"] = json!(key);
    }
    Ok(body)
}

fn read(proof: &BlockProof) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(&proof.file).and_then(|file| file.take(PROOF_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::later(format!("{} cannot be read: {error}", proof.file.display())))?;
    if bytes.len() as u64 > PROOF_BYTES {
        return Err(Failure::Refused(format!(
            "the proof has {} bytes, and {PROOF_BYTES} are sent at most",
            proof.bytes
        )));
    }
    Ok(bytes)
}
