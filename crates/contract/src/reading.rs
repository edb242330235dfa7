//! What is asked before a transaction, and behind it: the reads that the pipeline's texts name, and what messages bring as files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use alloy_primitives::{U256, hex};
use proofyard_core::pipeline::{Condition, ContractRead, Template};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::chain::{Call, Chain, Tried};
use crate::submitting::{Submission, TRANSACTION};
use crate::values::Values;
use crate::{Failure, Surroundings, abi};

/// What is read of a proof, and what a transaction may have: nodes keep none that is larger.
pub const PROOF_BYTES: u64 = TRANSACTION_BYTES;
pub(crate) const TRANSACTION_BYTES: u64 = 131_072;
/// What is read of what a stage with an action wrote.
pub const RESULT_BYTES: u64 = 1 << 20;
/// What is read of a block's payload.
const PAYLOAD_BYTES: u64 = 256 << 20;

impl<'a, S: Surroundings> Submission<'a, S> {
    /// What the entry or task gives.
    pub(crate) fn values(&self) -> Result<Values<'a, S>, Failure> {
        let mut values = Values::new(self.surroundings);
        self.purpose.given.iter().for_each(|(name, value)| values.put(name, value.clone()));
        values.put("account", json!(self.account.address.to_string()));
        Ok(values)
    }

    /// Whether all of `done_if` hold, as of a block.
    pub(crate) async fn is_done(&self, values: &mut Values<'a, S>, height: u64) -> Result<bool, Failure> {
        self.read_for(sides(&self.contract.done_if), values, height).await?;
        for condition in &self.contract.done_if {
            if values.unmet(condition)?.is_some() {
                return Ok(false);
            }
        }
        Ok(!self.contract.done_if.is_empty())
    }

    /// Asks what these texts name and nobody has asked yet, and what that needs first.
    pub(crate) async fn read_for(
        &self,
        texts: impl Iterator<Item = &str>,
        values: &mut Values<'_, S>,
        height: u64,
    ) -> Result<(), Failure> {
        let mut needed: Vec<(&str, &ContractRead)> = Vec::new();
        let is_behind = values.has(TRANSACTION);
        for text in texts {
            self.need(text, is_behind, &mut needed);
        }
        // What a read needs stands behind it.
        for (name, read) in needed.into_iter().rev() {
            if !values.has(name) {
                let answer = self.read(name, read, values, height).await?;
                values.put(name, answer);
            }
        }
        Ok(())
    }

    pub(crate) fn need(&self, text: &str, is_behind: bool, needed: &mut Vec<(&'a str, &'a ContractRead)>) {
        let Ok(template) = Template::parse(text) else { return };
        for reference in template.references() {
            let behind = || self.contract.after.get_key_value(&reference.name).filter(|_| is_behind);
            let read = self.contract.reads.get_key_value(&reference.name).or_else(behind);
            if let Some((name, read)) = read {
                needed.push((name, read));
                read.texts().into_iter().for_each(|text| self.need(text, is_behind, needed));
            }
        }
    }

    pub(crate) async fn read(
        &self,
        name: &str,
        read: &ContractRead,
        values: &Values<'_, S>,
        height: u64,
    ) -> Result<Json, Failure> {
        match read {
            ContractRead::Call { address, function, arguments } => {
                let to = match address {
                    None => self.address,
                    Some(text) => {
                        let address = values.filled(text)?;
                        let bad =
                            |error| Failure::later(format!("read {name}: {}: {error}", abi::brief(&address)));
                        address.parse().map_err(bad)?
                    }
                };
                let function = abi::function(function)?;
                let arguments =
                    arguments.iter().map(|text| values.filled(text)).collect::<Result<Vec<_>, _>>()?;
                let data = abi::encoded(&function, &arguments)?.into();
                let call = Call { from: self.account.address, to, data, value: U256::ZERO };
                match self.chain.view(&call, height).await? {
                    Tried::Is(data) => abi::answer(&function, &data),
                    Tried::Reverts(data) => {
                        let reason = abi::reason(&data, &self.errors);
                        Err(Failure::later(format!("read {name}: {} reverts: {reason}", function.name)))
                    }
                }
            }
            ContractRead::Rpc { rpc, method, params } => {
                let params = values.filled_json(params)?;
                match rpc.is_empty() {
                    true => self.chain.ask(method, params).await,
                    false => {
                        let chain = Chain::open(rpc, self.contract.time_limit_ms, self.surroundings)?;
                        chain.ask_any(method, params).await
                    }
                }
            }
        }
    }
}

pub(crate) fn sides(conditions: &[Condition]) -> impl Iterator<Item = &str> {
    conditions.iter().flat_map(|condition| [condition.left.as_str(), condition.right.as_str()])
}

/// In hex, as Solidity's bytes are written; other texts as they are.
pub(crate) fn prefixed(text: Option<&str>) -> Json {
    let Some(text) = text else { return Json::Null };
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => json!(format!("0x{digits}")),
        false => json!(text),
    }
}

pub(crate) fn proof_in(path: &Path) -> Result<String, Failure> {
    read_whole(path, TRANSACTION_BYTES).map(hex::encode_prefixed)
}

/// What a stage with an action wrote.
pub(crate) fn result_in(path: &Path) -> Result<Json, Failure> {
    let result = serde_json::from_slice(&read_whole(path, RESULT_BYTES)?);
    result.map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))
}

/// The node's JSON of a block, out of the payload that provers get.
pub(crate) fn block_in(path: &Path) -> Result<Json, Failure> {
    #[derive(Deserialize)]
    struct Payload {
        block: Map<String, Json>,
    }
    let payload: Result<Payload, _> = serde_json::from_slice(&read_whole(path, PAYLOAD_BYTES)?);
    let no_block = |error| Failure::Refused(format!("{} is no block\'s payload: {error}", path.display()));
    payload.map(|payload| Json::Object(payload.block)).map_err(no_block)
}

fn read_whole(path: &Path, most_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most_bytes + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::later(format!("{} cannot be read: {error}", path.display())))?;
    match bytes.len() as u64 > most_bytes {
        true => Err(Failure::Refused(format!(
            "{} has more than {most_bytes} bytes, and such a file is not read",
            path.display()
        ))),
        false => Ok(bytes),
    }
}
