//! Whether a pipeline's sinks and pools are deployed, pools each with GPUs for its slots. A pool that is not deployed has no queue and no
//! workers: its tasks would wait forever, without an error.

use std::collections::BTreeSet;

use proofyard_core::error::{Code, Coded};
use proofyard_core::pipeline::{Pipeline, SinkTarget};

use super::jobs::{JobError, Jobs};
use crate::clients::names::{ACTS_TAG, Names};
use crate::queues::{QueueError, Queues};

/// How long one message to a sink may take: more than this and a reserve the notifier's timeout leaves no room for.
pub const MOST_MESSAGE_MS: u64 = 30_000;

/// Why a pipeline cannot be put in force in a yard.
#[derive(Debug, thiserror::Error)]
pub enum NotDeployed {
    #[error(
        "[pool.{pool}] is not deployed in yard {yard}: AWS Batch has no job definition {job_definition}; add it to the \
         environment's pools in infra/spec/environments.json and deploy, or have workers of your own, `proofyard worker \
         --aws {yard} --pool {pool}`, and say so with `--own-workers {pool}`"
    )]
    Pool { pool: String, yard: String, job_definition: String },
    #[error(
        "[pool.{pool}] has {slots} slots of {gpus_per_slot} GPUs, {asked} in all, and a worker of it has {deployed} in yard \
         {yard}; ask for less, or deploy a pool whose `gpus` in infra/spec/yard.json are enough"
    )]
    Gpus { pool: String, yard: String, slots: u32, gpus_per_slot: u32, asked: u64, deployed: u32 },
    #[error(
        "[sink.{sink}] is a program, which yards on one machine run; on AWS a sink has `file`, whose entries are objects that any \
         program can read, `webhook`, `ethproofs`, `sqs`, `sns`, `eventbridge`, `contract` or `beacon`"
    )]
    Sink { sink: String },
    #[error(
        "[sink.{sink}] is told by the function `notifier`, which yard {yard} does not have; deploy the stacks of this version"
    )]
    NoNotifier { sink: String, yard: String },
    #[error(
        "[sink.{sink}] holds a key, and is told by the function `proposer`, which yard {yard} does not have; say \
         `\"proposer\": {{}}` for it in infra/spec/environments.json, and deploy"
    )]
    NoProposer { sink: String, yard: String },
    #[error(
        "[stage.{stage}] calls a contract, which the function `proposer` does where it may, and yard {yard} has none that may; say \
         `\"proposer\": {{ \"acts\": true }}` for it in infra/spec/environments.json, and deploy"
    )]
    NoProposerForAction { stage: String, yard: String },
    #[error(
        "[stage.{stage}] calls a contract, and yard {yard} has a pool of its name: its workers would be woken for calls that \
         they do not make, and the proposer, which makes them, only at the next tick; name the stage otherwise"
    )]
    PoolOfAction { stage: String, yard: String },
    #[error(
        "[sink.{sink}] may take {time_limit_ms} ms for a message, and the function that tells it has {MOST_MESSAGE_MS}; set \
         `time_limit_ms = {MOST_MESSAGE_MS}`, or less"
    )]
    SinkTime { sink: String, time_limit_ms: u64 },
    #[error(
        "AWS Batch does not say what is deployed; where pools need not be looked at, name them with `--own-workers POOL`"
    )]
    Batch(#[from] JobError),
    #[error(transparent)]
    Queues(#[from] QueueError),
}

impl Coded for NotDeployed {
    fn code(&self) -> Code {
        match self {
            Self::Pool { .. } => Code::PoolNotDeployed,
            Self::Gpus { .. } => Code::TooFewGpus,
            Self::Sink { .. }
            | Self::NoNotifier { .. }
            | Self::NoProposer { .. }
            | Self::NoProposerForAction { .. }
            | Self::PoolOfAction { .. }
            | Self::SinkTime { .. } => Code::SinkNotDeployed,
            Self::Batch(error) => error.code(),
            Self::Queues(error) => error.code(),
        }
    }
}

/// Rejects a pipeline whose sinks or pools are not deployed, but for those of `own_workers`, whose workers the operator runs.
pub(crate) async fn check_deployed(
    names: &Names,
    (jobs, queues): (&Jobs, &Queues),
    pipeline: &Pipeline,
    own_workers: &BTreeSet<String>,
) -> Result<(), NotDeployed> {
    let yard = || names.yard().to_owned();
    let actions: Vec<&String> = pipeline.pools.keys().filter(|pool| pipeline.is_action(pool)).collect();
    let acts = !actions.is_empty() && queues.is_tagged(&names.propose_queue(), ACTS_TAG).await?;
    for stage in actions {
        let (stage, yard) = (stage.clone(), yard());
        if !acts {
            return Err(NotDeployed::NoProposerForAction { stage, yard });
        }
        if queues.exists(&names.wake_queue(&stage)).await? {
            return Err(NotDeployed::PoolOfAction { stage, yard });
        }
    }
    let holds_key = pipeline.sinks.values().any(|sink| sink.target.holds_key());
    let has_proposer = holds_key && queues.exists(&names.propose_queue()).await?;
    for (name, sink) in &pipeline.sinks {
        let (sink, time_limit_ms) = (&sink.target, sink.target.time_limit_ms());
        match sink {
            SinkTarget::Command { .. } => {
                return Err(NotDeployed::Sink { sink: name.clone() });
            }
            // It is looked at again and again, each time for no longer than a function has.
            SinkTarget::Contract(_) => {}
            _ if time_limit_ms > MOST_MESSAGE_MS => {
                return Err(NotDeployed::SinkTime { sink: name.clone(), time_limit_ms });
            }
            SinkTarget::File { .. } | SinkTarget::Beacon(_) => {}
            SinkTarget::Webhook(_) | SinkTarget::Ethproofs(_) | SinkTarget::Aws(_) => {
                if !queues.exists(&names.notify_queue()).await? {
                    return Err(NotDeployed::NoNotifier { sink: name.clone(), yard: yard() });
                }
            }
        }
        if sink.holds_key() && !has_proposer {
            return Err(NotDeployed::NoProposer { sink: name.clone(), yard: yard() });
        }
    }
    let of_workers = pipeline.pools.iter().filter(|(name, _)| !pipeline.is_action(name));
    for (name, pool) in of_workers.filter(|(name, _)| !own_workers.contains(*name)) {
        let (pool_name, job_definition) = (name.clone(), names.job_definition(name));
        let Some(shape) = jobs.deployed(&job_definition).await? else {
            return Err(NotDeployed::Pool { pool: pool_name, yard: yard(), job_definition });
        };
        let asked = u64::from(pool.slots) * u64::from(pool.gpus_per_slot);
        if asked > u64::from(shape.gpus) {
            return Err(NotDeployed::Gpus {
                pool: pool_name,
                yard: yard(),
                slots: pool.slots,
                gpus_per_slot: pool.gpus_per_slot,
                asked,
                deployed: shape.gpus,
            });
        }
    }
    Ok(())
}
