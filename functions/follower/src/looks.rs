//! Looks at nodes, one at each tick: rounds for about as long as a tick is long, so that the next one takes over what is left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proofyard_aws::AwsHome;
use proofyard_aws::intake::IntakeError;
use proofyard_aws::intake::recording::Recording;
use proofyard_blocks::Rules;
use proofyard_core::error::{Code, Coded, Error, with_causes};
use proofyard_core::pipeline::{NodeSource, Pipeline};
use proofyard_core::port::Port;
use proofyard_core::state::{ChainName, Following};
use proofyard_intake::follower::Follower;
use proofyard_node::{Endpoints, RpcNodes};
use tracing::{info, warn};

use crate::nodes::{NodesError, NodesOfYard};

/// A function has less time than a process: a node that hangs must be found out before the function is ended.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// No tick is shorter, whatever a pipeline says of its polls.
const SHORTEST_TICK: Duration = Duration::from_secs(1);

/// Why a chain's nodes were not looked at, or what they have not taken.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Nodes(#[from] NodesError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    Yard(#[from] Error),
}

impl LookError {
    /// Whether the next tick may well succeed.
    pub fn passes(&self) -> bool {
        match self {
            Self::Nodes(_) => false,
            Self::Intake(error) => error.passes(),
            Self::Yard(error) => error.passes(),
        }
    }
}

impl Coded for LookError {
    fn code(&self) -> Code {
        match self {
            Self::Nodes(error) => error.code(),
            Self::Intake(error) => error.code(),
            Self::Yard(error) => error.code(),
        }
    }
}

/// The connections that this process has, from one look to the next.
pub struct Looks {
    of_yard: NodesOfYard,
    kept: RefCell<BTreeMap<ChainName, Kept>>,
}

/// Blocks of one round.
const MOST_BLOCKS_A_ROUND: u64 = 64;

/// A chain's nodes, as long as they are the same.
struct Kept {
    endpoints: Endpoints,
    source: NodeSource,
    nodes: RpcNodes,
}

impl Looks {
    pub fn new(of_yard: NodesOfYard) -> Self {
        Self { of_yard, kept: RefCell::default() }
    }

    /// Looks at the nodes of all chains, until then at most. The first error is one that does not pass, if there is one.
    pub async fn look(&self, home: &AwsHome, until: Instant) -> Result<(), LookError> {
        let chains = home.followed_chains().await?;
        let left = until.saturating_duration_since(Instant::now());
        let looks = chains.iter().map(|(chain, pipeline)| {
            tokio::time::timeout(left, self.look_at_chain(home, chain, pipeline, until))
        });
        let mut ended = Ok(());
        for (looked, (chain, _)) in join_all(looks).await.into_iter().zip(&chains) {
            let error = match looked {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                // What was recorded until then is, and the next tick goes on from there.
                Err(_) => {
                    warn!(%chain, "there is no time left for the chain's nodes");
                    continue;
                }
            };
            warn!(%chain, code = %error.code(), error = %with_causes(&error), "the chain's nodes were not followed this time");
            if ended.as_ref().err().is_none_or(LookError::passes) {
                ended = Err(error);
            }
        }
        ended
    }

    async fn look_at_chain(
        &self,
        home: &AwsHome,
        chain: &ChainName,
        pipeline: &Arc<Pipeline>,
        until: Instant,
    ) -> Result<(), LookError> {
        let Some(source) = &pipeline.node else { return Ok(()) };
        let tick = Duration::from_millis(source.poll_ms).max(SHORTEST_TICK);
        let until = until.min(Instant::now() + tick);
        let kept = match self.nodes_of(home, chain, source).await {
            Ok(kept) => kept,
            Err(error) => {
                tell(home, chain, &error).await?;
                return Err(error.into());
            }
        };
        let Kept { endpoints, mut nodes, .. } = kept;
        loop {
            // Reads the table anew: others may have written since the last round.
            let invocation = home.begin();
            let intake = Recording(&invocation.home);
            let rules = Rules::of(pipeline);
            let mut follower =
                Follower::go_on_with(intake, nodes, chain, rules, &in_small_rounds(source)).await?;
            let round = follower.round(None).await;
            nodes = follower.into_parts().1;
            let round = match round {
                Ok(round) => round,
                Err(error) => {
                    self.keep(chain, Kept { endpoints, source: source.clone(), nodes });
                    return Err(error.into());
                }
            };
            if round.blocks > 0 || round.reorg.is_some() {
                info!(%chain, blocks = round.blocks, reorg = ?round.reorg, "a round is over");
            }
            if !round.has_more || Instant::now() >= until {
                break;
            }
        }
        self.keep(chain, Kept { endpoints, source: source.clone(), nodes });
        Ok(())
    }

    fn keep(&self, chain: &ChainName, kept: Kept) {
        self.kept.borrow_mut().insert(chain.clone(), kept);
    }

    /// The connections of the last look, where the nodes are still the same.
    async fn nodes_of(
        &self,
        home: &AwsHome,
        chain: &ChainName,
        source: &NodeSource,
    ) -> Result<Kept, NodesError> {
        let endpoints = self.of_yard.endpoints(home, source).await?;
        let before = self.kept.borrow_mut().remove(chain);
        match before.filter(|kept| kept.endpoints == endpoints && kept.source == *source) {
            Some(kept) => Ok(kept),
            None => {
                let nodes = RpcNodes::with_timeout(&endpoints, source, REQUEST_TIMEOUT);
                let nodes = nodes.map_err(NodesError::NoClient)?;
                Ok(Kept { endpoints, source: source.clone(), nodes })
            }
        }
    }
}

/// A round records nothing before it has all its blocks: few of them, so that a slow node's are there before the tick is over,
/// and all of them fit into the function's memory.
fn in_small_rounds(source: &NodeSource) -> NodeSource {
    let batch_blocks = source.batch_blocks.min(MOST_BLOCKS_A_ROUND);
    let requests_at_once = source.requests_at_once.min(MOST_BLOCKS_A_ROUND / batch_blocks.max(1)).max(1);
    NodeSource { batch_blocks, requests_at_once, ..source.clone() }
}

/// `status` is to say why no node is asked.
async fn tell(home: &AwsHome, chain: &ChainName, error: &NodesError) -> Result<(), Error> {
    let before = home.yard.following(chain).await?.unwrap_or_default();
    let trouble = Some(with_causes(error).to_string());
    if before.trouble != trouble {
        let head_since_ms = match before.head_since_ms {
            0 => home.yard.port.now_ms(),
            since_ms => since_ms,
        };
        let following = Following { chain: chain.clone(), trouble, head_since_ms, ..before };
        home.yard.record_following(&following).await?;
    }
    Ok(())
}
