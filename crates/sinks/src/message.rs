//! What destinations are told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proofyard_core::pipeline::{BlockWord, SinkTarget};
use proofyard_core::sinks::BlockNews;
use proofyard_core::state::{ArtifactRef, BlockHash, ChainName, OutEntry};
use serde::{Deserialize, Serialize};

/// One message. `key` is the same each time that it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message")]
pub enum Message {
    Entry(EntryMessage),
    Block(BlockMessage),
}

/// An entry of an out log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryMessage {
    /// CHAIN/LOG/SEQUENCE.
    pub key: String,
    #[serde(flatten)]
    pub entry: OutEntry,
    /// Where the entry's proofs lie on this machine, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof_files: Vec<PathBuf>,
    /// Where lies what stages with an action wrote that a contract's arguments name, by stage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub result_files: BTreeMap<String, PathBuf>,
    /// Where lies the payload of the entry's last block, for a contract whose texts name fields of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_file: Option<PathBuf>,
}

/// How far a block is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockMessage {
    /// SCOPE/EPOCH/WORD: the block in its generation, since which change of branch, and what is said of it.
    pub key: String,
    pub chain: ChainName,
    pub height: u64,
    pub hash: BlockHash,
    pub word: BlockWord,
    /// The block's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<BlockProof>,
    /// That proof and, where a quorum commits, those of the other members that agreed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<ProverProof>,
}

/// The proof that commits a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockProof {
    /// Where it lies on this machine.
    pub file: PathBuf,
    pub sha256: String,
    pub bytes: u64,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    pub cycles: Option<u64>,
    pub proving_ms: u64,
}

/// A proof that commits a block, by itself or with others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProverProof {
    /// Its name in the pipeline.
    pub prover: String,
    pub stage: String,
    /// Where it lies on this machine.
    pub file: PathBuf,
    pub sha256: String,
    pub bytes: u64,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
}

/// What `proofyard-notify` is told: a message, and whom it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToNotify {
    pub target: SinkTarget,
    pub message: Message,
}

impl Message {
    pub fn of_entry(
        entry: OutEntry,
        proof_files: Vec<PathBuf>,
        result_files: BTreeMap<String, PathBuf>,
        block_file: Option<PathBuf>,
    ) -> Self {
        let key = format!("{}/{}/{}", entry.chain, entry.log, entry.sequence);
        Self::Entry(EntryMessage { key, entry, proof_files, result_files, block_file })
    }

    /// `file` says where an artifact lies.
    pub fn of_block(news: &BlockNews, file: impl Fn(&ArtifactRef) -> PathBuf) -> Self {
        let proofs = news.proof.iter().flat_map(|proof| &proof.all).map(|(prover, proof)| ProverProof {
            prover: prover.clone(),
            stage: proof.stage.clone(),
            file: file(&proof.artifact),
            sha256: proof.artifact.sha256.clone(),
            bytes: proof.artifact.bytes,
            public_values: proof.public_values.clone(),
            verification_key: proof.verification_key.clone(),
            proof_system: proof.proof_system.clone(),
        });
        let proof = news.proof.as_ref().map(|news| BlockProof {
            file: file(&news.proof.artifact),
            sha256: news.proof.artifact.sha256.clone(),
            bytes: news.proof.artifact.bytes,
            public_values: news.proof.public_values.clone(),
            verification_key: news.proof.verification_key.clone(),
            proof_system: news.proof.proof_system.clone(),
            cycles: news.cycles,
            proving_ms: news.proving_ms,
        });
        Self::Block(BlockMessage {
            key: format!("{}/{}/{}", news.scope, news.epoch, news.word.name()),
            chain: news.chain.clone(),
            height: news.height,
            hash: news.hash.clone(),
            word: news.word,
            timestamp_s: news.timestamp_s,
            proof,
            proofs: proofs.collect(),
        })
    }

    pub fn key(&self) -> &str {
        match self {
            Self::Entry(entry) => &entry.key,
            Self::Block(block) => &block.key,
        }
    }
}
