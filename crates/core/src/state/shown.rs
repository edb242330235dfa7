//! How hashes and public values are shown, in halts and wherever people read them: shortened.

use sha2::{Digest, Sha256};

/// The start of a hash or of public values: enough to tell two apart.
pub(crate) fn short(hex: &str) -> String {
    const SHOWN: usize = 16;
    match hex.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &hex[..at]),
        None => hex.to_owned(),
    }
}

/// A value so that two which differ look different, however much of their start they share: public values begin with the
/// chain and the height.
pub(crate) fn shown_value(value: &str) -> String {
    const WHOLE: usize = 32;
    const DIGEST_BYTES: usize = 6;
    match value.len() {
        0..=WHOLE => value.to_owned(),
        _ => {
            let digest = hex::encode(&Sha256::digest(value.as_bytes())[..DIGEST_BYTES]);
            format!("{} (digest {digest})", short(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_look_different() {
        assert_eq!((shown_value("01"), shown_value(&"ab".repeat(16))), ("01".to_owned(), "ab".repeat(16)));
        let long = |end: &str| shown_value(&format!("{}{end}", "00".repeat(40)));
        assert!(long("aa").starts_with("0000000000000000… (digest "), "{}", long("aa"));
        assert_ne!(long("aa"), long("ab"));
        assert_eq!(short("0123456789abcdef0"), "0123456789abcdef…");
    }
}
