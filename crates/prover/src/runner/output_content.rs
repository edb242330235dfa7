//! The contents of a prover's answer and its output file, checked against the protocol's limits and against each other.
//!
//! The file may be large, and is never held in memory as a whole: lists are counted and objects are searched while they are
//! read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::AsRawFd;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::Fault;
use super::output::OutputFile;
use crate::message::{
    FIELDS_BYTES, PROOF_SYSTEM_BYTES, PUBLIC_VALUES_BYTES, ProveOk, VERIFICATION_KEY_BYTES,
};

/// Checks an answer against the protocol's limits, and its list against the file.
pub(crate) fn check_ok(ok: &ProveOk, output: &OutputFile) -> Result<(), Fault> {
    check_key(ok.verification_key.as_deref())?;
    check_public_values(ok.public_values.as_deref())?;
    check_proof_system(ok.proof_system.as_deref())?;
    let fields_bytes: usize = ok.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields_bytes > FIELDS_BYTES {
        return Err(Fault::protocol_violation(format!(
            "its fields have {fields_bytes} bytes; {FIELDS_BYTES} are allowed"
        )));
    }
    if let Some(list) = ok.list {
        let counted = list_count(output)?;
        if counted != Some(list.count) {
            let counted = counted.map_or("no JSON list".into(), |count| format!("a list of {count}"));
            return Err(Fault::bad_output(format!(
                "it claims a list of {}, but wrote {counted}",
                list.count
            )));
        }
    }
    Ok(())
}

/// It is printed in tables, so it must be a short name.
pub(crate) fn check_proof_system(name: Option<&str>) -> Result<(), Fault> {
    let is_name =
        |name: &str| name.len() <= PROOF_SYSTEM_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_none_or(is_name) {
        return Ok(());
    }
    Err(Fault::protocol_violation(format!(
        "its proof_system is not a name of up to {PROOF_SYSTEM_BYTES} ASCII characters"
    )))
}

pub(crate) fn check_key(key: Option<&str>) -> Result<(), Fault> {
    check_hex("verification_key", key, VERIFICATION_KEY_BYTES)
}

pub(crate) fn check_public_values(values: Option<&str>) -> Result<(), Fault> {
    check_hex("public_values", values, PUBLIC_VALUES_BYTES)
}

fn check_hex(name: &str, value: Option<&str>, limit_bytes: usize) -> Result<(), Fault> {
    let Some(value) = value else { return Ok(()) };
    if value.len() > 2 * limit_bytes {
        let bytes = value.len() / 2;
        return Err(Fault::protocol_violation(format!(
            "its {name} has {bytes} bytes; {limit_bytes} are allowed"
        )));
    }
    let digits = value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits && value.len().is_multiple_of(2) {
        return Ok(());
    }
    Err(Fault::protocol_violation(format!("its {name} is not lower-case hexadecimal")))
}

/// How many elements the file has, if it is a JSON list. The elements are not kept.
pub(crate) fn list_count(output: &OutputFile) -> Result<Option<u32>, Fault> {
    Ok(count_list(reopen(output)?))
}

/// How many elements there are, if it is a JSON list.
pub fn count_list(content: impl Read) -> Option<u32> {
    struct Count;

    impl<'de> Visitor<'de> for Count {
        type Value = u32;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a JSON list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u32, A::Error> {
            let mut count = 0u32;
            while list.next_element::<IgnoredAny>()?.is_some() {
                count = count.saturating_add(1);
            }
            Ok(count)
        }
    }

    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(content));
    let count = reader.deserialize_seq(Count).and_then(|count| reader.end().map(|()| count));
    count.ok()
}

/// The members of these names, if the file is a JSON object, as text: strings by their value, numbers and booleans as they
/// are written. Members of other types are left out.
pub(crate) fn read_fields(output: &OutputFile, names: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(reopen(output)?));
    let members = reader.deserialize_map(Members(names)).and_then(|members| reader.end().map(|()| members));
    let members = members.unwrap_or_default();
    let fields: BTreeMap<String, String> =
        members.into_iter().filter_map(|(name, value)| Some((name, plain(&value)?))).collect();
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > FIELDS_BYTES {
        let names = names.join(", ");
        return Err(Fault::bad_output(format!(
            "its match fields ({names}) have {bytes} bytes; {FIELDS_BYTES} are allowed"
        )));
    }
    Ok(fields)
}

/// The `verification_key` that a proof names, if it is a JSON object with such a string.
pub fn named_key(content: impl Read) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(content));
    let members = reader.deserialize_map(Members(&["verification_key".to_owned()])).ok()?;
    let key: String = serde_json::from_str(members.get("verification_key")?.get()).ok()?;
    // One that is too long is no key: the empty text differs from every pinned key.
    Some(if key.len() <= 2 * VERIFICATION_KEY_BYTES + 2 { key } else { String::new() })
}

/// The named members of an object; all others are skipped.
struct Members<'a>(&'a [String]);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = BTreeMap<String, Box<RawValue>>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(&name) {
                members.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// As it is written, without parsing numbers: two that differ may round to the same.
fn plain(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(value.get().to_owned()),
    }
}

/// Opens the file again, so that the caller's stays at its start. Reading stops at the size that was checked, since a file
/// that grows while it is read would have no end.
fn reopen(output: &OutputFile) -> Result<impl Read, Fault> {
    let file = File::open(format!("/proc/self/fd/{}", output.file.as_raw_fd())).map_err(Fault::bad_output)?;
    Ok(file.take(output.bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::launch::Limits;
    use super::super::output::open_output;
    use super::*;

    /// One that another process of the prover goes on writing to.
    #[test]
    fn a_list_that_grows_is_read_as_far_as_it_was_when_it_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, "[1, 2]").unwrap();
        let output = open_output(folder.path(), &path, &Limits::default()).unwrap();
        fs::write(&path, format!("[1, 2{}", ", 3".repeat(1_000_000))).unwrap();
        let mut read = Vec::new();
        reopen(&output).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"[1, 2,");
        assert_eq!(list_count(&output).unwrap(), None);
    }

    #[test]
    fn fields_are_the_asked_members_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proof");
        let names = ["group_id", "kind"].map(str::to_owned);
        let fields = |content: &str| {
            fs::write(&path, content).unwrap();
            let output = open_output(folder.path(), &path, &Limits::default()).unwrap();
            read_fields(&output, &names).map(|fields| {
                fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
            })
        };
        assert_eq!(
            fields(r#"{"group_id": "b\u002d7", "kind": true, "data": "x"}"#).unwrap(),
            ["group_id=b-7", "kind=true"]
        );
        // Doubles would round these two to one.
        assert_eq!(
            fields(r#"{"group_id": 18446744073709551617}"#).unwrap(),
            ["group_id=18446744073709551617"]
        );
        assert_eq!(
            fields(r#"{"group_id": 18446744073709551618}"#).unwrap(),
            ["group_id=18446744073709551618"]
        );
        assert_eq!(
            fields(&format!(r#"{{"data": "{}", "kind": 1}}"#, "x".repeat(5_000))).unwrap(),
            ["kind=1"]
        );
        for none in
            [r#"{"group_id": null, "kind": [1]}"#, r#"[{"group_id": 1}]"#, r#"{"group_id": 1} x"#, "no"]
        {
            assert_eq!(fields(none).unwrap(), [""; 0], "{none}");
        }
        let long = format!(r#"{{"group_id": "{}"}}"#, "x".repeat(1_017));
        assert!(fields(&long).unwrap_err().message.contains("have 1025 bytes; 1024 are allowed"));
    }

    #[test]
    fn a_claimed_list_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let count = |content: &str| {
            fs::write(&path, content).unwrap();
            list_count(&open_output(folder.path(), &path, &Limits::default()).unwrap()).unwrap()
        };
        assert_eq!(count("[1, {\"a\": [2, 3]}, \"]\"]"), Some(3));
        assert_eq!(count("[]"), Some(0));
        for none in ["{}", "[1, 2", "[1] x", ""] {
            assert_eq!(count(none), None, "{none}");
        }
    }
}
