//! `files` of a prover: what the yard's store holds for it under its hash, such as proving keys, and every worker has
//! ready before the prover starts.

use std::collections::BTreeSet;

use super::keys::FILE;
use super::reader::{At, Fields, Read, Value, shown};
use super::{FILES_FOLDER, PinnedFile, Prover, Verify};
use crate::state::{ArtifactRef, is_sha256};

const MAX_FILES: usize = 64;
const MAX_NAME_BYTES: usize = 255;
const MAX_FILE_BYTES: u64 = 1 << 50;

const EXAMPLE: &str = "files = [{ name = \"proving.key\", sha256 = \"...\", bytes = 1024 }], as `proofyard keep` prints \
                       them";

fn what() -> String {
    format!("tables: {EXAMPLE}")
}

/// Without those where a mistake was found.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Vec<PinnedFile> {
    let Read::Is(At { value, at, .. }) = fields.get("files") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        fields.wrong_type("files", value, &what());
        return Vec::new();
    };
    if list.len() > MAX_FILES {
        let message = format!("{} files for one prover", list.len());
        fields.mistakes.add(at, message, format!("at most {MAX_FILES}; pack them into an archive"));
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    list.iter().filter_map(|entry| read_file(entry, &mut names, fields)).collect()
}

fn read_file(
    entry: &Value<'_>,
    names: &mut BTreeSet<String>,
    fields: &mut Fields<'_, '_>,
) -> Option<PinnedFile> {
    let Some(table) = entry.get_ref().as_table() else {
        fields.wrong_type("files", entry, &what());
        return None;
    };
    let place = format!("`files` of {}", fields.place);
    let mut keys = Fields::open(place, entry.span().start, table, FILE, fields.mistakes);
    keys.require("name", "name = \"proving.key\", what the prover finds it under");
    keys.require("sha256", "sha256 = \"...\", the hash of what is in it");
    keys.require("bytes", "bytes = 1024, how large it is");
    let (name, sha256) = (keys.text("name").value(), keys.text("sha256").value());
    let bytes = keys.number("bytes", 0..=MAX_FILE_BYTES).value();
    let name = name.filter(|name| {
        let is_plain = !name.contains(['/', '\0']) && name != "." && name != "..";
        let why = match () {
            () if !is_plain || name.len() > MAX_NAME_BYTES => "cannot name a file",
            () if !names.insert(name.clone()) => "names two files",
            () => return true,
        };
        let message = format!("\"{}\" {why}", shown(name));
        keys.mistakes.add(entry.span().start, message, "a plain file name, without a folder, once");
        false
    });
    let sha256 = sha256.filter(|sha256| {
        let is_hash = is_sha256(sha256);
        if !is_hash {
            let message = format!("`sha256` is \"{}\"", shown(sha256));
            keys.mistakes.add(entry.span().start, message, "64 hexadecimal digits in lower case");
        }
        is_hash
    });
    Some(PinnedFile { name: name?, content: ArtifactRef { sha256: sha256?, bytes: bytes? } })
}

/// A prover that has files must be told where, and one that has none cannot be.
pub(super) fn expect_folder_where_there_are_files(prover: &Prover, fields: &mut Fields<'_, '_>) {
    let verifier = match &prover.verify {
        Verify::Command(command) => command.as_slice(),
        Verify::Same | Verify::None => &[],
    };
    let mut told = prover.command.iter().chain(verifier).chain(prover.environment.values());
    let is_told = told.any(|text| text.contains(FILES_FOLDER));
    match fields.get("files") {
        Read::Is(files) if !is_told && !prover.command.is_empty() => {
            let help = format!("write {FILES_FOLDER} where the prover is told the folder that they are in");
            fields.mistakes.add(files.key_at, "nothing says where the `files` go", help);
        }
        Read::Absent if is_told => {
            let message = format!("{FILES_FOLDER} stands for the folder of `files`, and there are none");
            fields.mistakes.add(fields.at, message, EXAMPLE);
        }
        _ => {}
    }
}
