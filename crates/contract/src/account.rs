//! Who signs: a secp256k1 key from the environment or a file, that never gets into a text, or one in AWS KMS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, Signature};
use k256::ecdsa::{SigningKey, VerifyingKey};
use proofyard_core::error::Cause;
use proofyard_core::pipeline::AccountKey;
use serde_json::{Map, Value};

use crate::kms::{Kms, KmsError};
use crate::{Failure, Surroundings};

pub(crate) struct Account<'a> {
    key: Key<'a>,
    pub address: Address,
}

enum Key<'a> {
    Here(SigningKey),
    InKms { kms: &'a Kms, arn: &'a str, public: VerifyingKey },
}

/// Nothing of what was found is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the environment here has no {0}")]
    NoVariable(String),
    #[error("{place} holds no key: 64 hex digits, or a keystore in a file")]
    NoKey { place: String },
    #[error("{} cannot be read", path.display())]
    NoFile { path: PathBuf, source: std::io::Error },
    #[error("{} may be read by others: chmod 600 {0}", path.display())]
    OpenToOthers { path: PathBuf },
    #[error("{} is a keystore: name the variable with its password, password_from = \"...\"", path.display())]
    NoPassword { path: PathBuf },
    #[error("{} does not open", path.display())]
    Locked { path: PathBuf, source: Cause },
    #[error("{arn} cannot be used")]
    Kms { arn: String, source: KmsError },
}

impl<'a> Account<'a> {
    pub async fn open(key: &'a AccountKey, surroundings: &'a impl Surroundings) -> Result<Self, KeyError> {
        let AccountKey::Kms(arn) = key else { return Self::here(key, surroundings) };
        let kms = surroundings.kms();
        let public = kms.public_key(arn).await;
        let public = public.map_err(|source| KeyError::Kms { arn: arn.clone(), source })?;
        Ok(Self { address: Address::from_public_key(&public), key: Key::InKms { kms, arn, public } })
    }

    /// Nobody is asked, so that it is none in KMS.
    pub fn here(key: &AccountKey, surroundings: &impl Surroundings) -> Result<Self, KeyError> {
        let variable = |name: &String| {
            let value = surroundings.variable(name).filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| KeyError::NoVariable(name.clone()))
        };
        let key = match key {
            AccountKey::From(name) => of_hex(&variable(name)?, name)?,
            AccountKey::File { path, password_from } => {
                let password = password_from.as_ref().map(variable).transpose()?;
                of_file(Path::new(path), password)?
            }
            AccountKey::Kms(arn) => return Err(KeyError::NoKey { place: arn.clone() }),
        };
        Ok(Self { address: Address::from_private_key(&key), key: Key::Here(key) })
    }

    pub async fn sign(&self, hash: &B256) -> Result<Signature, Failure> {
        let signed = match &self.key {
            Key::Here(key) => {
                let signed = key.sign_prehash_recoverable(hash.as_slice());
                signed.map(Signature::from).map_err(|error| error.to_string())
            }
            Key::InKms { kms, arn, public } => {
                kms.sign(arn, public, hash).await.map_err(|error| format!("{arn}: {error}"))
            }
        };
        signed.map_err(|error| Failure::later(format!("the key does not sign: {error}")))
    }
}

fn of_hex(text: &str, place: &str) -> Result<SigningKey, KeyError> {
    let text = text.trim();
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok();
    let key = bytes.and_then(|bytes| SigningKey::from_slice(&bytes).ok());
    key.ok_or_else(|| KeyError::NoKey { place: place.to_owned() })
}

fn of_file(path: &Path, password: Option<String>) -> Result<SigningKey, KeyError> {
    let no_file = |source| KeyError::NoFile { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(no_file)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::OpenToOthers { path: path.to_owned() });
    }
    let text = fs::read_to_string(path).map_err(no_file)?;
    let Ok(store) = serde_json::from_str::<Map<String, Value>>(&text) else {
        return of_hex(&text, &path.display().to_string());
    };
    let store = store.get("crypto").map(|crypto| crypto["kdfparams"].clone()).unwrap_or_default();
    // What opens it takes these as they come.
    let is_sound = store["dklen"].as_u64().is_some_and(|bytes| (32..=64).contains(&bytes))
        && store["n"].as_u64().is_none_or(|n| n <= 1 << 20)
        && store["c"].as_u64().is_none_or(|c| c <= 1 << 22);
    if !is_sound {
        let source = "its `kdfparams` are none that wallets write".into();
        return Err(KeyError::Locked { path: path.to_owned(), source });
    }
    let password = password.ok_or_else(|| KeyError::NoPassword { path: path.to_owned() })?;
    let opened = eth_keystore::decrypt_key(path, password.trim_end());
    let bytes = opened.map_err(|error| KeyError::Locked { path: path.to_owned(), source: error.into() })?;
    SigningKey::from_slice(&bytes).map_err(|_| KeyError::NoKey { place: path.display().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_hex_has_the_address_that_wallets_show() {
        // The first account of anvil and hardhat.
        let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let key = of_hex(key, "KEY").unwrap();
        let address = Address::from_private_key(&key).to_string();
        assert_eq!(address, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        let error = of_hex("0xdeadbeefsecret", "KEY").unwrap_err().to_string();
        assert!(error.contains("KEY") && !error.contains("deadbeef"), "{error}");
    }
}
