//! How a request from outside is authenticated. It carries
//!
//! - `x-proofyard-timestamp`: seconds since the Unix epoch, at most five minutes from now;
//! - `x-proofyard-signature`: `v1=` and the HMAC-SHA256, in hex, of `TIMESTAMP.CHAIN.BODY` under the yard's secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A request that is older, or from the future, is refused: it may be a replay.
pub const REPLAY_WINDOW_S: u64 = 300;

/// A request from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub chain: String,
    pub timestamp: Option<String>,
    pub signature: Option<String>,
    pub body: Vec<u8>,
}

/// Accepts a request that was signed under one of the secrets, and now; else says why not.
pub fn authenticate(request: &Request, secrets: &[Vec<u8>], now_s: u64) -> Result<(), &'static str> {
    let refused = Err;
    // Anyone could sign under an empty secret.
    let mut secrets = secrets.iter().filter(|secret| !secret.is_empty()).peekable();
    if secrets.peek().is_none() {
        return refused(
            "this yard has no webhook secret, so nothing is taken; give it one in Secrets Manager",
        );
    }
    let Some(timestamp) = &request.timestamp else {
        return refused("header x-proofyard-timestamp is missing; give seconds since the Unix epoch");
    };
    let Ok(sent_s) = timestamp.parse::<u64>() else {
        return refused("header x-proofyard-timestamp is no number; give seconds since the Unix epoch");
    };
    if sent_s.abs_diff(now_s) > REPLAY_WINDOW_S {
        return refused(
            "the request is older than five minutes, or from the future; check the clock, and sign it again",
        );
    }
    let signature = request.signature.as_deref().and_then(|signature| signature.strip_prefix("v1="));
    let Some(signature) = signature.and_then(|signature| hex::decode(signature).ok()) else {
        return refused("header x-proofyard-signature is missing, or not v1= and hex");
    };
    let fits = |secret: &Vec<u8>| {
        signing(secret, timestamp, &request.chain, &request.body).verify_slice(&signature).is_ok()
    };
    if secrets.any(fits) {
        return Ok(());
    }
    refused("the signature is not that of TIMESTAMP.CHAIN.BODY under this yard's secret")
}

/// What a sender puts into `x-proofyard-signature`.
pub fn signature(secret: &[u8], timestamp: &str, chain: &str, body: &[u8]) -> String {
    format!("v1={}", hex::encode(signing(secret, timestamp, chain, body).finalize().into_bytes()))
}

fn signing(secret: &[u8], timestamp: &str, chain: &str, body: &[u8]) -> Hmac<Sha256> {
    // A key of any length is a key: longer ones are hashed, shorter ones are filled up.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default()));
    for part in [timestamp.as_bytes(), b".", chain.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &[u8], at_s: u64) -> Request {
        let timestamp = at_s.to_string();
        let signature = signature(b"secret", &timestamp, "c", body);
        Request {
            chain: "c".into(),
            timestamp: Some(timestamp),
            signature: Some(signature),
            body: body.to_vec(),
        }
    }

    /// As `proofyard-notify` signs.
    #[test]
    fn a_signature_is_what_sinks_send() {
        let signed = signature(b"secret", "1000", "c", b"body");
        assert_eq!(signed, "v1=29a7933c5109f517d6f1a7a9d0e356a109dab6ae54f7ff93dd80a0bc32f8665d");
    }

    #[test]
    fn only_who_has_the_secret_and_sent_it_now_is_heard() {
        let request = signed(b"body", 1_000);
        for now_s in [700, 1_000, 1_300] {
            authenticate(&request, &[b"secret".to_vec()], now_s).unwrap();
            authenticate(&request, &[b"newer".to_vec(), b"secret".to_vec()], now_s).unwrap();
        }
        let says = |request: &Request, secret: &[u8], now_s, text: &str| {
            let refused = authenticate(request, &[secret.to_vec()], now_s).unwrap_err();
            assert!(refused.contains(text), "{refused}");
        };
        says(&request, b"secret", 699, "older than five minutes");
        says(&request, b"secret", 1_301, "older than five minutes");
        says(&request, b"another", 1_000, "the signature is not");
        says(&request, b"", 1_000, "no webhook secret");
        says(
            &Request { body: b"other".to_vec(), ..request.clone() },
            b"secret",
            1_000,
            "the signature is not",
        );
        says(&Request { chain: "d".into(), ..request.clone() }, b"secret", 1_000, "the signature is not");
        says(&Request { timestamp: None, ..request.clone() }, b"secret", 1_000, "timestamp is missing");
        says(&Request { timestamp: Some("now".into()), ..request.clone() }, b"secret", 1_000, "is no number");
        says(
            &Request { timestamp: Some("1001".into()), ..request.clone() },
            b"secret",
            1_000,
            "the signature",
        );
        says(&Request { signature: None, ..request.clone() }, b"secret", 1_000, "signature is missing");
        says(
            &Request { signature: Some("v1=zz".into()), ..request },
            b"secret",
            1_000,
            "signature is missing",
        );
    }

    /// From RFC 4231, test case 2, as a check that this is HMAC-SHA256 and nothing else.
    #[test]
    fn the_signature_is_hmac_sha256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
