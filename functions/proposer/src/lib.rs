//! What holds keys on AWS, in a role of its own: telling sinks, and doing tasks of stages with an action, by `proofyard-telling`.
//!
//! A contract's transaction is not waited for: each time the chain is looked at, what is to be sent is sent, and the sink or the
//! task says when to look again. What was signed is in the yard's table before a node hears of it ([`journal`]).
//!
//! - [`contract`]: transactions, by `proofyard-contract`; [`acting`]: those that are tasks;
//! - [`beacon`]: proofs for beacon nodes, by `proofyard-notify`;
//! - [`keys`]: keystores, which the yard's secret for keys holds as texts.

mod acting;
mod beacon;
mod contract;
mod journal;
mod keys;

use futures_util::future::LocalBoxFuture;
use proofyard_aws::AwsHome;
use proofyard_aws::clients::names::Names;
use proofyard_contract::Kms;
use proofyard_core::error::{Cause, with_causes};
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::sinks::Trouble;
use proofyard_sinks::{Message, Outcome};
use proofyard_telling::{Acting, Secrets, ToldSink, Way};

pub use crate::acting::LEASE_MS;

/// What this process keeps from one message to the next.
pub struct Proposing {
    secrets: Secrets,
    kms: Kms,
}

impl Proposing {
    pub fn of(home: &AwsHome) -> Self {
        Self { secrets: Secrets::of(home, home.names.keys_secret()), kms: Kms::over(home.config().clone()) }
    }

    async fn try_tell(&self, sink: ToldSink<'_>, message: &Message) -> Result<Outcome, Cause> {
        match sink.target {
            SinkTarget::Contract(contract) => self.submit(sink, contract, message).await,
            SinkTarget::Beacon(beacon) => self.hand_in(sink, beacon, message).await,
            _ => Ok(Outcome::Refused("sinks of this kind are not told from here".to_owned())),
        }
    }
}

impl Way for Proposing {
    fn tells(&self, target: &SinkTarget) -> bool {
        target.holds_key()
    }

    fn queue(&self, names: &Names) -> String {
        names.propose_queue()
    }

    fn acting(&self) -> Option<&dyn Acting> {
        Some(self)
    }

    fn tell<'a>(&'a self, sink: ToldSink<'a>, message: &'a Message) -> LocalBoxFuture<'a, Outcome> {
        Box::pin(async move {
            let told = self.try_tell(sink, message).await;
            told.unwrap_or_else(|error| {
                Outcome::Later(Trouble::saying(with_causes(error.as_ref()).to_string()))
            })
        })
    }
}
