//! A process that stays and follows all chains' nodes: notified of new blocks by WebSocket, it needs no tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::home::FollowedChain;
use proofyard_aws::intake::recording::Recording;
use proofyard_blocks::Rules;
use proofyard_core::error::{Coded, with_causes};
use proofyard_core::pipeline::Pipeline;
use proofyard_core::state::ChainName;
use proofyard_intake::follower::Follower;
use proofyard_node::{RpcNodes, follow};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::looks::LookError;
use crate::nodes::{NodesError, NodesOfYard};

/// How often it is looked whether a chain has another pipeline, or there is another chain.
const LOOK_FOR_CHAINS: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Follows until `stop`: each chain in a thread of its own, begun anew where its pipeline changes.
pub fn serve(home: &AwsHome, runtime: &Handle, stop: &AtomicBool) {
    let of_yard = NodesOfYard::new(home).or_in_environment();
    let of_yard = &of_yard;
    thread::scope(|scope| {
        let mut followed: Vec<Followed> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match block_on(runtime, home.followed_chains()) {
                Ok(chains) => {
                    let is_same = |one: &Followed, (chain, pipeline): &FollowedChain| {
                        one.chain == *chain && one.pipeline == *pipeline
                    };
                    followed.retain(|one| {
                        let stays = chains.iter().any(|chain| is_same(one, chain));
                        one.is_over.fetch_or(!stays, Ordering::Relaxed);
                        stays
                    });
                    for chain in &chains {
                        if followed.iter().any(|one| is_same(one, chain)) {
                            continue;
                        }
                        let (chain, pipeline) = chain.clone();
                        let is_over = Arc::new(AtomicBool::new(false));
                        followed.push(Followed {
                            chain: chain.clone(),
                            pipeline: Arc::clone(&pipeline),
                            is_over: Arc::clone(&is_over),
                        });
                        scope.spawn(move || {
                            let is_stopped =
                                || stop.load(Ordering::Relaxed) || is_over.load(Ordering::Relaxed);
                            follow_chain(home, runtime, of_yard, &chain, &pipeline, is_stopped);
                        });
                    }
                }
                Err(error) => {
                    warn!(code = %error.code(), error = %with_causes(&error), "the chains cannot be read now")
                }
            }
            wait(LOOK_FOR_CHAINS, || stop.load(Ordering::Relaxed));
        }
    });
}

struct Followed {
    chain: ChainName,
    pipeline: Arc<Pipeline>,
    is_over: Arc<AtomicBool>,
}

fn follow_chain(
    home: &AwsHome,
    runtime: &Handle,
    of_yard: &NodesOfYard,
    chain: &ChainName,
    pipeline: &Pipeline,
    is_stopped: impl Fn() -> bool,
) {
    while !is_stopped() {
        let followed = block_on(runtime, follow_until(home, of_yard, chain, pipeline, &is_stopped));
        if let Err(error) = followed {
            warn!(%chain, code = %error.code(), error = %with_causes(&error), "the chain's nodes are not followed; it is tried again");
            wait(LOOK_FOR_CHAINS, &is_stopped);
        }
    }
}

async fn follow_until(
    home: &AwsHome,
    of_yard: &NodesOfYard,
    chain: &ChainName,
    pipeline: &Pipeline,
    is_stopped: impl Fn() -> bool,
) -> Result<(), LookError> {
    let Some(source) = &pipeline.node else { return Ok(()) };
    let endpoints = of_yard.endpoints(home, source).await?;
    let nodes = RpcNodes::new(&endpoints, source).map_err(NodesError::NoClient)?;
    let names = endpoints.names().collect::<Vec<_>>().join(", ");
    info!(%chain, nodes = names, "following");
    let rules = Rules::of(pipeline);
    let mut follower = Follower::begin(Recording(home), nodes, chain, rules, source).await?;
    Ok(follow(&mut follower, &endpoints, source, is_stopped).await?)
}

fn wait(time: Duration, is_stopped: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time && !is_stopped() {
        thread::sleep(PAUSE);
    }
}
