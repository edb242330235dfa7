//! Which requests from outside are heard: those signed as `proofyard-signature` has it, under the yard's secret, at most five
//! minutes from now.

use proofyard_signature::fits;

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
    let Some(signature) = request.signature.as_deref().and_then(proofyard_signature::parse) else {
        return refused("header x-proofyard-signature is missing, or not v1= and hex");
    };
    if secrets.any(|secret| fits(&signature, secret, timestamp, &request.chain, &request.body)) {
        return Ok(());
    }
    refused("the signature is not that of TIMESTAMP.CHAIN.BODY under this yard's secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &[u8], at_s: u64) -> Request {
        let timestamp = at_s.to_string();
        let signature = proofyard_signature::sign(b"secret", &timestamp, "c", body);
        Request {
            chain: "c".into(),
            timestamp: Some(timestamp),
            signature: Some(signature),
            body: body.to_vec(),
        }
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
}
