//! Keys in AWS KMS: they sign there, and nobody has them.
//!
//! A key is of the kind ECC_SECG_P256K1 and signs hashes. What KMS answers is in DER, and either of the two signatures that one
//! has: Ethereum takes the one with the lower `s`, and wants to be told which of the possible public keys it is of.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, Signature};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use k256::ecdsa::{self, RecoveryId, VerifyingKey};
use tokio::sync::OnceCell;

const CONNECT: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_secs(4);
const CALL: Duration = Duration::from_secs(10);

/// How a public key of secp256k1 begins as KMS says it (SubjectPublicKeyInfo); its point, uncompressed, follows.
const SPKI_OF_SECP256K1: [u8; 23] = [
    0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x0a, 0x03, 0x42, 0x00,
];

/// AWS KMS, as this process reaches it, and the public keys that it has said: a key's never changes.
#[derive(Default)]
pub struct Kms {
    config: OnceCell<SdkConfig>,
    known: Mutex<BTreeMap<String, VerifyingKey>>,
}

/// Why a key of KMS does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    #[error("{0}")]
    Unanswered(String),
    #[error(
        "its public key is none of secp256k1: make it with the key spec ECC_SECG_P256K1, to sign and verify"
    )]
    OtherKind,
    #[error("KMS answered with a signature that is not of it")]
    NoSignature,
}

impl Kms {
    /// What clients are made from is given.
    pub fn over(config: SdkConfig) -> Self {
        Self { config: OnceCell::from(config), known: Mutex::default() }
    }

    /// The address of a key's account.
    pub async fn address(&self, key: &str) -> Result<String, KmsError> {
        Ok(Address::from_public_key(&self.public_key(key).await?).to_string())
    }

    pub(crate) async fn public_key(&self, key: &str) -> Result<VerifyingKey, KmsError> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(*known);
        }
        let answer = self.client(key).await.get_public_key().key_id(key).send().await.map_err(unanswered)?;
        let spki = answer.public_key.ok_or(KmsError::OtherKind)?.into_inner();
        let point = spki.strip_prefix(&SPKI_OF_SECP256K1).ok_or(KmsError::OtherKind)?;
        let public = VerifyingKey::from_sec1_bytes(point).map_err(|_| KmsError::OtherKind)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), public);
        Ok(public)
    }

    pub(crate) async fn sign(
        &self,
        key: &str,
        public: &VerifyingKey,
        hash: &B256,
    ) -> Result<Signature, KmsError> {
        let sign = self.client(key).await.sign().key_id(key).message(Blob::new(hash.as_slice()));
        let sign =
            sign.message_type(MessageType::Digest).signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let answer = sign.send().await.map_err(unanswered)?;
        of_ethereum(answer.signature.ok_or(KmsError::NoSignature)?.as_ref(), public, hash)
    }

    /// An ARN says the region.
    async fn client(&self, key: &str) -> Client {
        let config = self.config.get_or_init(of_environment).await;
        match key.split(':').nth(3) {
            Some(region) => Client::new(&config.to_builder().region(Region::new(region.to_owned())).build()),
            None => Client::new(config),
        }
    }
}

/// Credentials come from where every AWS SDK takes them.
async fn of_environment() -> SdkConfig {
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let limits = TimeoutConfig::builder().connect_timeout(CONNECT);
    let limits = limits.operation_attempt_timeout(ATTEMPT).operation_timeout(CALL).build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        // Keys say theirs.
        .region(Region::new("us-east-1"))
        .timeout_config(limits)
        .retry_config(RetryConfig::standard())
        .load()
        .await
}

fn unanswered<E, R>(error: SdkError<E, R>) -> KmsError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    KmsError::Unanswered(match error.as_service_error() {
        Some(said) => {
            let (code, message) =
                (said.code().unwrap_or("no code"), said.message().unwrap_or("no more is said"));
            format!("{code}: {message}")
        }
        None => DisplayErrorContext(error).to_string(),
    })
}

fn of_ethereum(der: &[u8], public: &VerifyingKey, hash: &B256) -> Result<Signature, KmsError> {
    let signature = ecdsa::Signature::from_der(der).map_err(|_| KmsError::NoSignature)?;
    let signature = signature.normalize_s().unwrap_or(signature);
    let parity = RecoveryId::trial_recovery_from_prehash(public, hash.as_slice(), &signature);
    Ok(Signature::from((signature, parity.map_err(|_| KmsError::NoSignature)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::hazmat::PrehashSigner;

    /// KMS answers one of both, by chance.
    #[test]
    fn either_signature_of_a_hash_becomes_the_one_that_recovers_to_the_keys_address() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let address = Address::from_private_key(&key);
        let mut heights = 0;
        for text in 0_u8..16 {
            let hash = keccak256([text]);
            let low: ecdsa::Signature = key.sign_prehash(hash.as_slice()).unwrap();
            let low = low.normalize_s().unwrap_or(low);
            let high = ecdsa::Signature::from_scalars(*low.r(), -*low.s()).unwrap();
            let said = [low, high]
                .map(|one| of_ethereum(one.to_der().as_bytes(), key.verifying_key(), &hash).unwrap());
            assert_eq!(said[0], said[1]);
            assert_eq!(said[0].recover_address_from_prehash(&hash).unwrap(), address);
            assert!(said[0].normalize_s().is_none(), "it is the lower one");
            heights += u32::from(said[0].v());
        }
        assert!((1..16).contains(&heights), "both parities come");
    }

    #[test]
    fn what_is_of_another_key_or_no_der_is_no_signature() {
        let (one, other) =
            (SigningKey::from_slice(&[7; 32]).unwrap(), SigningKey::from_slice(&[8; 32]).unwrap());
        let hash = keccak256("text");
        let signature: ecdsa::Signature = one.sign_prehash(hash.as_slice()).unwrap();
        let der = signature.to_der();
        let no_signature = Err(KmsError::NoSignature);
        assert_eq!(of_ethereum(der.as_bytes(), other.verifying_key(), &hash), no_signature);
        assert_eq!(of_ethereum(&der.as_bytes()[1..], one.verifying_key(), &hash), no_signature);
    }
}
