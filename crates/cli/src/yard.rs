//! Which yard and chain a verb is about, and how it is reached.

use std::path::PathBuf;

use clap::Args;
use proofyard_core::Yard;
use proofyard_embedded::machine::{Answer, Operation, ask, look};
use proofyard_embedded::{LocalPort, block_on};

use crate::failure::Failure;

#[derive(Args)]
pub struct YardArguments {
    /// Where the yard keeps its state.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// Which chain; needed only where the yard has several.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
}

pub const DEFAULT_DATA: &str = "proofyard.data";

impl YardArguments {
    /// The yard's state, whether or not a process works on it.
    pub fn look(&self) -> Result<Yard<LocalPort>, Failure> {
        Ok(look(&self.data)?)
    }

    /// The named chain, or all there are.
    pub fn chains(&self, yard: &Yard<LocalPort>) -> Result<Vec<String>, Failure> {
        let known = block_on(yard.chains())?;
        match &self.chain {
            Some(chain) if known.contains(chain) => Ok(vec![chain.clone()]),
            Some(chain) => {
                let known = known.join(", ");
                Err(Failure::Usage(format!(
                    "chain {chain} is not in {}; there is: {known}",
                    self.data.display()
                )))
            }
            None if known.is_empty() => {
                Err(Failure::Usage(format!("the yard in {} has no chain yet", self.data.display())))
            }
            None => Ok(known),
        }
    }

    /// The named chain, or the only one.
    pub fn one_chain(&self, yard: &Yard<LocalPort>) -> Result<String, Failure> {
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
        let chain = self.one_chain(&self.look()?)?;
        Ok(ask(&self.data, &word(chain))?)
    }
}

/// ` --data DIR`, unless it is the default one.
pub fn data_flag(data: &std::path::Path) -> String {
    if data.as_os_str() == DEFAULT_DATA { String::new() } else { format!(" --data {}", data.display()) }
}
