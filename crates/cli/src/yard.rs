//! Which yard and chain a verb is about, and what verbs need of a yard, in whichever home it lives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use proofyard_core::Yard;
use proofyard_core::error::Code;
use proofyard_core::operation::{Answer, Operation};
use proofyard_core::state::ChainName;
use proofyard_worker::artifacts::ArtifactStore;
use serde::Serialize;

use crate::failure::Failure;

#[derive(Args)]
pub struct YardHome {
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// A yard on AWS, by its name; region and credentials are taken from where AWS's own tools take them.
    #[arg(long, value_name = "NAME", conflicts_with = "data")]
    pub aws: Option<String>,
}

#[derive(Args)]
pub struct YardArguments {
    #[command(flatten)]
    pub home: YardHome,
    /// Which chain; needed only where the yard has several.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
}

pub const DEFAULT_DATA: &str = "proofyard.data";

/// A yard as verbs reach it. Each home has one; a verb is written once, over this.
pub trait YardAccess {
    type Artifacts: ArtifactStore;

    /// Runs a handler to its end on this thread.
    fn block_on<F: Future>(&self, handler: F) -> F::Output;
    /// The yard's state, whether or not anybody works on it.
    fn look(&self) -> Result<Box<Yard>, Failure>;
    /// The yard's artifacts; what is not on this machine is fetched to `scratch`.
    fn artifacts(&self, scratch: &Path) -> Result<Arc<Self::Artifacts>, Failure>;
    /// The same, to store more. Makes the yard if there is none yet and this home can.
    fn store(&self, scratch: &Path) -> Result<Arc<Self::Artifacts>, Failure>;
    /// Has an operator's word carried out.
    fn carry_out(&self, operation: &Operation) -> Result<Answer, Failure>;
    /// Whether a process works on the yard now; None where nobody can say that.
    fn is_running(&self) -> Option<bool>;
    /// Why pools have no workers although the yard starts some.
    fn failed_starts(&self) -> Result<Vec<FailedStarts>, Failure> {
        Ok(Vec::new())
    }
    /// As people call it.
    fn name(&self) -> String;
    /// Why the yard has no chain, and what gives it one.
    fn has_no_chain(&self) -> String;
}

/// A pool whose workers end before they take any task, again and again.
#[derive(Clone, Debug, Serialize)]
pub struct FailedStarts {
    pub pool: String,
    /// Workers that ended so, and in how many rounds.
    pub workers: u64,
    pub rounds: u32,
    /// How the last of them ended.
    pub reason: String,
    /// When the next one is started.
    pub next_ms: u64,
}

impl YardArguments {
    /// The named chain, or all there are.
    pub fn chains<Y: YardAccess>(&self, access: &Y, yard: &Yard) -> Result<Vec<ChainName>, Failure> {
        let known = access.block_on(yard.chains())?;
        match self.chain.as_deref() {
            Some(named) => match known.iter().find(|chain| **chain == named) {
                Some(chain) => Ok(vec![chain.clone()]),
                None => {
                    let known = known.join(", ");
                    let message = format!("chain {named} is not in {}; there is: {known}", access.name());
                    Err(Failure::usage_as(Code::UnknownChain, message))
                }
            },
            None if known.is_empty() => Err(Failure::usage_as(Code::NoChainYet, access.has_no_chain())),
            None => Ok(known),
        }
    }

    /// The named chain, or the only one.
    pub fn one_chain<Y: YardAccess>(&self, access: &Y, yard: &Yard) -> Result<ChainName, Failure> {
        let mut chains = self.chains(access, yard)?;
        match (chains.pop(), chains.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => {
                chains.extend(last);
                let known = chains.join(", ");
                let message = format!("the yard has several chains; name one with --chain: {known}");
                Err(Failure::usage_as(Code::SeveralChains, message))
            }
        }
    }

    /// Has an operator's word about the one chain carried out.
    pub fn ask<Y: YardAccess>(
        &self,
        access: &Y,
        word: impl FnOnce(ChainName) -> Operation,
    ) -> Result<Answer, Failure> {
        let chain = self.one_chain(access, &access.look()?)?;
        access.carry_out(&word(chain))
    }
}

/// ` --data DIR`, unless it is the default one.
pub fn data_flag(data: &Path) -> String {
    if data.as_os_str() == DEFAULT_DATA { String::new() } else { format!(" --data {}", data.display()) }
}
