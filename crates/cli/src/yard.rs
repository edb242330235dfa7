//! Which yard and chain a verb is about, and how it is reached: a directory of this machine, or a name on AWS.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use proofyard_aws::artifacts::BucketArtifacts;
use proofyard_aws::home::Home;
use proofyard_core::Yard;
use proofyard_core::operation::{Answer, Operation};
use proofyard_embedded::machine::{ask, look};
use proofyard_worker::artifacts::Artifacts;
use tokio::runtime::Runtime;

use crate::either::{AnyArtifacts, AnyPort};
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
/// Kept at once of what is fetched from AWS to be looked at.
const MAX_FETCHED_BYTES: u64 = 4 << 30;

/// Watches the network for yards on AWS; made when the first of them is reached.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Runs a handler to its end on this thread.
pub fn block_on<F: Future>(handler: F) -> F::Output {
    let _inside = RUNTIME.get().map(Runtime::enter);
    pollster::block_on(handler)
}

/// The threads that watch the network.
pub fn runtime() -> Result<&'static Runtime, Failure> {
    if RUNTIME.get().is_none() {
        let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        // Nobody else makes one meanwhile: this is called before there are threads.
        let _ = RUNTIME.set(made.map_err(Failure::work)?);
    }
    RUNTIME.get().ok_or_else(|| Failure::work("no threads can be started"))
}

/// A yard on AWS.
pub fn on_aws(name: &str) -> Result<Home, Failure> {
    runtime()?;
    block_on(Home::connect(name)).map_err(Failure::usage)
}

impl YardArguments {
    /// The yard's state, whether or not anybody works on it.
    pub fn look(&self) -> Result<Yard<AnyPort>, Failure> {
        match &self.home.aws {
            None => Ok(Yard::new(AnyPort::Local(look(&self.home.data)?.port))),
            Some(name) => Ok(Yard::new(AnyPort::Aws(on_aws(name)?.yard.port))),
        }
    }

    /// As people call it.
    fn name(&self) -> String {
        match &self.home.aws {
            None => self.home.data.display().to_string(),
            Some(name) => format!("{name} on AWS"),
        }
    }

    /// The named chain, or all there are.
    pub fn chains(&self, yard: &Yard<AnyPort>) -> Result<Vec<String>, Failure> {
        let known = block_on(yard.chains())?;
        match &self.chain {
            Some(chain) if known.contains(chain) => Ok(vec![chain.clone()]),
            Some(chain) => {
                let known = known.join(", ");
                Err(Failure::Usage(format!("chain {chain} is not in {}; there is: {known}", self.name())))
            }
            None if known.is_empty() => match &self.home.aws {
                None => Err(Failure::Usage(format!("the yard in {} has no chain yet", self.name()))),
                Some(name) => Err(Failure::Usage(format!(
                    "yard {name} on AWS has no chain yet; `proofyard run PIPELINE --aws {name}` gives it one"
                ))),
            },
            None => Ok(known),
        }
    }

    /// The named chain, or the only one.
    pub fn one_chain(&self, yard: &Yard<AnyPort>) -> Result<String, Failure> {
        let mut chains = self.chains(yard)?;
        match (chains.pop(), chains.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => {
                chains.extend(last);
                let known = chains.join(", ");
                Err(Failure::Usage(format!("the yard has several chains; name one with --chain: {known}")))
            }
        }
    }

    /// Has an operator's word about the one chain carried out.
    pub fn ask(&self, word: impl FnOnce(String) -> Operation) -> Result<Answer, Failure> {
        let Some(name) = &self.home.aws else {
            let chain = self.one_chain(&self.look()?)?;
            return Ok(ask(&self.home.data, &word(chain))?);
        };
        let home = on_aws(name)?;
        let chain = self.one_chain(&Yard::new(AnyPort::Aws(home.yard.port.clone())))?;
        let answer = block_on(home.yard.operate(&word(chain)))?;
        // What follows is for whoever is there; if the wakes are lost, the sweeper finds it.
        block_on(home.deliver());
        Ok(answer)
    }
}

/// ` --data DIR`, unless it is the default one.
pub fn data_flag(data: &Path) -> String {
    if data.as_os_str() == DEFAULT_DATA { String::new() } else { format!(" --data {}", data.display()) }
}

impl YardHome {
    /// The yard's artifacts; those on AWS are fetched to `scratch`.
    pub fn artifacts(&self, scratch: &Path) -> Result<Arc<AnyArtifacts>, Failure> {
        let store = match &self.aws {
            None => AnyArtifacts::Local(Artifacts::reading(&self.data)),
            Some(name) => {
                let home = on_aws(name)?;
                let handle = runtime()?.handle().clone();
                let store = BucketArtifacts::new(home.bucket, scratch, MAX_FETCHED_BYTES, handle);
                AnyArtifacts::Aws(store.map_err(Failure::work)?)
            }
        };
        Ok(Arc::new(store))
    }
}
