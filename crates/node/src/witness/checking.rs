//! Whether an execution witness can be of a block: its headers have the block's parent.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use sha3::{Digest, Keccak256};

pub(crate) enum Unfit {
    Io(io::Error),
    Why(String),
}

/// Reads a witness through, of which only one header is in memory at a time. One without headers is not refused: clients
/// differ in what they give.
pub(crate) fn expect_parent(witness: &Path, parent: &str) -> Result<(), Unfit> {
    let file = File::open(witness).map_err(Unfit::Io)?;
    let mut found = Found { parent, headers: 0, is_there: false };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 20, file));
    (&mut found).deserialize(&mut json).map_err(|error| match error.is_io() {
        true => Unfit::Io(error.into()),
        false => Unfit::Why(format!("what it gave is no execution witness: {error}")),
    })?;
    match (found.headers, found.is_there) {
        (0, _) | (_, true) => Ok(()),
        (headers, false) => Err(Unfit::Why(format!(
            "the witness is of another block: its {headers} headers have no parent {parent} of this one"
        ))),
    }
}

struct Found<'a> {
    parent: &'a str,
    headers: usize,
    is_there: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Found<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Found<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with state, codes and headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "headers" {
                map.next_value_seed(Headers(&mut *self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Headers<'a, 'b>(&'a mut Found<'b>);

impl<'de> DeserializeSeed<'de> for Headers<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Headers<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of headers")
    }

    /// As some write an empty list.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(header) = list.next_element::<Value>()? {
            self.0.headers += 1;
            self.0.is_there |= hash_of(&header).is_some_and(|hash| hash.eq_ignore_ascii_case(self.0.parent));
        }
        Ok(())
    }
}

/// Some clients give a header's RLP, some its fields with its hash.
fn hash_of(header: &Value) -> Option<String> {
    match header {
        Value::String(rlp) => {
            let rlp = hex::decode(rlp.strip_prefix("0x")?).ok()?;
            Some(format!("0x{}", hex::encode(Keccak256::digest(rlp))))
        }
        Value::Object(fields) => fields.get("hash")?.as_str().map(str::to_owned),
        _ => None,
    }
}
