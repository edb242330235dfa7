//! A validator's key as EIP-2335 keeps it: encrypted by a key that scrypt or PBKDF2 makes of a password.
//!
//! What the file says is believed no further than it costs little: scrypt's memory and both functions' work are bounded.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use blst::min_pk::SecretKey;
use ctr::Ctr128BE;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

const FILE_BYTES: u64 = 64 << 10;
/// EIP-2335's own choice takes 256 MiB.
const SCRYPT_BYTES: u64 = 512 << 20;
const SCRYPT_PARALLEL: u32 = 16;
const PBKDF2_ROUNDS: u32 = 10_000_000;
/// The first half decrypts, the second half goes into the checksum.
const DERIVED_BYTES: usize = 32;
/// The domain of Ethereum's signatures, in its proof of possession scheme.
const SIGNATURES: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// A validator's key.
pub(super) struct Key {
    secret: SecretKey,
    pub public: [u8; 48],
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeystoreFault {
    #[error("it cannot be read")]
    Unreadable(#[from] std::io::Error),
    #[error("it is longer than a keystore is")]
    TooLong,
    #[error("it is no keystore as EIP-2335 has it: {0}")]
    Foreign(String),
    #[error("it asks for more work than is done for a keystore: {0}")]
    TooCostly(String),
    #[error("the password does not open it")]
    WrongPassword,
    #[error("it says that its key is {said}, and holds another one")]
    OtherKey { said: String },
}

impl Key {
    /// By EIP-2335 the password is normalised, and has no control characters.
    pub fn open(path: &Path, password: &str) -> Result<Self, KeystoreFault> {
        let mut text = Vec::new();
        File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(KeystoreFault::TooLong);
        }
        let keystore: Keystore = serde_json::from_slice(&text).map_err(foreign)?;
        if keystore.version != 4 {
            return Err(foreign(format!("its version is {}", keystore.version)));
        }
        let Crypto { kdf, checksum, cipher } = keystore.crypto;
        let password: String = password.nfkd().filter(|letter| !letter.is_control()).collect();
        let derived = derive(&kdf, password.as_bytes())?;
        let encrypted = bytes("cipher.message", &cipher.message)?;
        if checksum.function != "sha256" {
            return Err(foreign(format!("its checksum is {}", checksum.function)));
        }
        let found = Sha256::new().chain_update(&derived[16..]).chain_update(&encrypted).finalize();
        if bytes("checksum.message", &checksum.message)? != found[..] {
            return Err(KeystoreFault::WrongPassword);
        }
        if cipher.function != "aes-128-ctr" {
            return Err(foreign(format!("its cipher is {}", cipher.function)));
        }
        let mut secret = encrypted;
        let iv = bytes("cipher.params.iv", &cipher.params.iv)?;
        let aes = Ctr128BE::<Aes128>::new_from_slices(&derived[..16], &iv);
        aes.map_err(foreign)?.apply_keystream(&mut secret);
        let secret =
            SecretKey::from_bytes(&secret).map_err(|_| foreign("what it holds is no key of BLS12-381"))?;
        let public = secret.sk_to_pk().to_bytes();
        match keystore.pubkey {
            Some(said) if bytes("pubkey", &said)? != public => Err(KeystoreFault::OtherKey { said }),
            _ => Ok(Self { secret, public }),
        }
    }

    pub fn sign(&self, signing_root: &[u8; 32]) -> [u8; 96] {
        self.secret.sign(signing_root, SIGNATURES, &[]).to_bytes()
    }
}

#[derive(Deserialize)]
struct Keystore {
    crypto: Crypto,
    #[serde(default)]
    pubkey: Option<String>,
    version: u64,
}

#[derive(Deserialize)]
struct Crypto {
    kdf: Kdf,
    checksum: Checksum,
    cipher: Cipher,
}

#[derive(Deserialize)]
#[serde(tag = "function", content = "params", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: usize, n: u64, r: u32, p: u32, salt: String },
    Pbkdf2 { dklen: usize, c: u32, prf: String, salt: String },
}

#[derive(Deserialize)]
struct Checksum {
    function: String,
    message: String,
}

#[derive(Deserialize)]
struct Cipher {
    function: String,
    params: CipherParams,
    message: String,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

fn derive(kdf: &Kdf, password: &[u8]) -> Result<[u8; DERIVED_BYTES], KeystoreFault> {
    let mut derived = [0; DERIVED_BYTES];
    let (Kdf::Scrypt { dklen, salt, .. } | Kdf::Pbkdf2 { dklen, salt, .. }) = kdf;
    if *dklen != DERIVED_BYTES {
        return Err(foreign(format!("its dklen is {dklen}")));
    }
    let salt = bytes("kdf.params.salt", salt)?;
    match kdf {
        Kdf::Scrypt { n, r, p, .. } => {
            let memory = n.saturating_mul(128).saturating_mul(u64::from(*r));
            if memory > SCRYPT_BYTES || *p > SCRYPT_PARALLEL {
                return Err(KeystoreFault::TooCostly(format!("scrypt with n {n}, r {r}, p {p}")));
            }
            let log_n = n.checked_ilog2().filter(|log_n| 1_u64 << log_n == *n);
            let log_n = log_n.and_then(|log_n| u8::try_from(log_n).ok());
            let log_n = log_n.ok_or_else(|| foreign(format!("its n is {n}, which is no power of 2")))?;
            let params = scrypt::Params::new(log_n, *r, *p).map_err(foreign)?;
            scrypt::scrypt(password, &salt, &params, &mut derived).map_err(foreign)?;
        }
        Kdf::Pbkdf2 { c, prf, .. } => {
            if prf != "hmac-sha256" {
                return Err(foreign(format!("its prf is {prf}")));
            }
            if *c > PBKDF2_ROUNDS {
                return Err(KeystoreFault::TooCostly(format!("PBKDF2 with c {c}")));
            }
            pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, *c, &mut derived);
        }
    }
    Ok(derived)
}

fn bytes(place: &str, text: &str) -> Result<Vec<u8>, KeystoreFault> {
    hex::decode(text.trim_start_matches("0x")).map_err(|error| foreign(format!("{place}: {error}")))
}

fn foreign(why: impl Display) -> KeystoreFault {
    KeystoreFault::Foreign(why.to_string())
}
