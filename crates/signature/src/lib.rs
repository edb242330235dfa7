//! How requests about blocks are signed: those that a yard on AWS takes, and those that a sink's webhook sends.
//!
//! A request carries
//!
//! - [`TIMESTAMP`]: seconds since the Unix epoch;
//! - [`SIGNATURE`]: `v1=` and the HMAC-SHA256, in hex, of `TIMESTAMP.CHAIN.BODY` under a secret that both sides have.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header with the time.
pub const TIMESTAMP: &str = "x-proofyard-timestamp";
/// The header with the signature.
pub const SIGNATURE: &str = "x-proofyard-signature";

/// The only version there is.
const V1: &str = "v1=";

/// What a sender puts into [`SIGNATURE`].
pub fn sign(secret: &[u8], timestamp: &str, chain: &str, body: &[u8]) -> String {
    format!("{V1}{}", hex::encode(mac(secret, timestamp, chain, body).finalize().into_bytes()))
}

/// A signature as a header has it; `None` where it is not of a version that is known here, or no hex.
pub fn parse(header: &str) -> Option<Vec<u8>> {
    hex::decode(header.strip_prefix(V1)?).ok()
}

/// Whether this is the signature under that secret. Takes as long whichever byte is wrong.
pub fn fits(signature: &[u8], secret: &[u8], timestamp: &str, chain: &str, body: &[u8]) -> bool {
    mac(secret, timestamp, chain, body).verify_slice(signature).is_ok()
}

fn mac(secret: &[u8], timestamp: &str, chain: &str, body: &[u8]) -> Hmac<Sha256> {
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

    /// Worked out apart: `printf 1000.c.body | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_the_same() {
        let signed = sign(b"secret", "1000", "c", b"body");
        assert_eq!(signed, "v1=29a7933c5109f517d6f1a7a9d0e356a109dab6ae54f7ff93dd80a0bc32f8665d");
    }

    #[test]
    fn a_signature_fits_what_was_signed_and_nothing_else() {
        let signature = parse(&sign(b"secret", "1000", "c", b"body")).unwrap();
        assert!(fits(&signature, b"secret", "1000", "c", b"body"));
        assert!(!fits(&signature, b"other", "1000", "c", b"body"));
        assert!(!fits(&signature, b"secret", "1001", "c", b"body"));
        assert!(!fits(&signature, b"secret", "1000", "d", b"body"));
        assert!(!fits(&signature, b"secret", "1000", "c", b"body "));
        assert!(!fits(&signature[..31], b"secret", "1000", "c", b"body"));
    }

    #[test]
    fn another_version_and_what_is_no_hex_are_no_signatures() {
        assert_eq!(parse("v2=00"), None);
        assert_eq!(parse("v1=zz"), None);
        assert_eq!(parse("00"), None);
    }
}
