//! Where blocks come in: [`webhook`], signed requests ([`signature`]); [`blocks_file`], a file posted by an operator;
//! [`recording`], what a follower brings of its nodes.
//!
//! Each stores a block's payload first. The first two then put the event that names it on the chain's queue, and write
//! nothing of the yard's state but how far a blocks file was posted; a follower's blocks are recorded at once.

pub mod authentication;
pub mod blocks_file;
pub mod recording;
pub mod webhook;

use futures_util::future::LocalBoxFuture;
use proofyard_blocks::{RecordedBlock, TakingError};
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::state::{ArtifactRef, Block, ChainName};
use sha2::{Digest, Sha256};

use crate::home::AwsHome;
use crate::objects::ObjectError;
use crate::queues::message::Message;
use crate::queues::{Outgoing, QueueError, group_id};

/// Why blocks were not taken.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Taking(#[from] TakingError),
    #[error(transparent)]
    Payload(#[from] ObjectError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Yard(#[from] Error),
}

impl Coded for IntakeError {
    fn code(&self) -> Code {
        match self {
            Self::Taking(error) => error.code(),
            Self::Payload(error) => error.code(),
            Self::Queue(error) => error.code(),
            Self::Yard(error) => error.code(),
        }
    }
}

impl IntakeError {
    /// Whether the same may succeed later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Queue(_) => true,
            Self::Payload(ObjectError::Failed { passes, .. }) => *passes,
            Self::Payload(ObjectError::Missing { .. }) => false,
            Self::Yard(error) | Self::Taking(TakingError::Yard(error)) => error.passes(),
            Self::Taking(_) => false,
        }
    }
}

impl AwsHome {
    /// Puts a fact on the queue of its chain, where it is kept until it is recorded.
    pub fn post<'a>(
        &'a self,
        chain: &'a ChainName,
        deduplication: String,
        message: &'a Message,
    ) -> LocalBoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let queue = self.names.blocks_queue();
            let body = serde_json::to_string(message)
                .map_err(|error| QueueError { queue: queue.clone(), source: error.into() })?;
            let outgoing = Outgoing {
                body,
                group: Some(group_id(chain.as_str())),
                deduplication: Some(deduplication),
                ..Outgoing::default()
            };
            self.queues.send(&queue, &[outgoing]).await
        })
    }

    /// Stores a block's payload, and answers the event that names it.
    pub(crate) async fn keep_payload(&self, block: &RecordedBlock) -> Result<Block, ObjectError> {
        Ok(block.event(self.keep(&block.payload).await?))
    }

    async fn keep(&self, payload: &[u8]) -> Result<ArtifactRef, ObjectError> {
        let artifact =
            ArtifactRef { sha256: hex::encode(Sha256::digest(payload)), bytes: payload.len() as u64 };
        self.objects.put_bytes(&artifact, payload.to_vec()).await?;
        Ok(artifact)
    }
}
