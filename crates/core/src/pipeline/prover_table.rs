//! A `[prover.NAME]` table: how a prover is started and verified, and what it is told.

use std::collections::BTreeMap;

use super::arguments;
use super::files;
use super::keys::PROVER;
use super::mistake::Mistakes;
use super::reader::{At, Entry, Fields, Read, shown};
use super::tables::Named;
use super::{PINNED_KEY, Protocol, Prover, Verify};

/// A proof that names a longer one is refused.
const MAX_KEY_BYTES: usize = super::MAX_VERIFICATION_KEY_BYTES;

pub(super) fn read_prover(entry: Entry<'_>, mistakes: &mut Mistakes) -> Named<Prover> {
    let Entry { name, at, keys } = entry;
    let mut fields = Fields::open(format!("[prover.{}]", shown(&name)), at, keys, PROVER, mistakes);
    fields.require("command", "command = [\"program\", \"argument\"]");
    let protocol = read_protocol(&mut fields);
    let value = Prover {
        command: read_command(&mut fields, protocol),
        protocol: protocol.unwrap_or(Protocol::Stream),
        verify: read_verify(&mut fields, protocol),
        verification_key: read_verification_key(&mut fields),
        arguments: arguments::read(&mut fields, protocol),
        environment: read_environment(&mut fields),
        environment_from: read_environment_from(&mut fields),
        files: files::read(&mut fields),
        writes: read_writes(&mut fields),
        contract: None,
    };
    files::expect_folder_where_there_are_files(&value, &mut fields);
    expect_key_where_it_is_told(&value, &mut fields);
    Named { name, at, value }
}

fn read_protocol(fields: &mut Fields<'_, '_>) -> Option<Protocol> {
    let files = fields.choice("protocol", &[("stream", false), ("files", true)]);
    let forms = [
        ("request", Protocol::Files),
        ("bare", Protocol::FilesBare),
        ("height", Protocol::FilesHeight),
        ("list", Protocol::FilesList),
    ];
    let payload = fields.choice("payload", &forms);
    if let (Read::Absent | Read::Is(At { value: false, .. }), Read::Is(payload)) = (&files, &payload) {
        let help = "`payload` is for protocol = \"files\"; a stream's requests have one form";
        fields.mistakes.add(payload.key_at, "`payload` has no meaning in a stream prover", help);
        return None;
    }
    match files {
        Read::Bad => None,
        Read::Is(At { value: true, .. }) => Some(payload.or(Protocol::Files)),
        _ => Some(Protocol::Stream),
    }
}

fn read_command(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Vec<String> {
    match fields.texts("command", "a list: the program, then its arguments") {
        Read::Is(command) => settled_command("command", command, protocol, fields.mistakes),
        _ => Vec::new(),
    }
}

/// A command whose placeholders are those of its protocol.
fn settled_command(
    key: &str,
    command: At<Vec<At<String>>>,
    protocol: Option<Protocol>,
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let is_stream = protocol.map(|protocol| protocol == Protocol::Stream);
    for part in ["{input}", "{output}"] {
        let named = command.value.iter().find(|argument| argument.value.contains(part));
        match (is_stream, named) {
            (Some(false), None) => {
                let help =
                    "a files prover is given its two files, as in [\"program\", \"{input}\", \"{output}\"]";
                mistakes.add(command.at, format!("`{key}` does not say where {part} goes"), help);
            }
            (Some(true), Some(argument)) => {
                let help = "protocol = \"files\" fills it in; a stream prover reads its requests from standard input";
                let message = format!("{part} has no meaning in a stream prover's command");
                mistakes.add(argument.at, message, help);
            }
            _ => {}
        }
    }
    command.value.into_iter().map(|argument| argument.value).collect()
}

fn read_verify(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Verify {
    let what =
        "a list, the verifier's program and arguments, or \"none\"; left out: the prover's own command";
    match fields.get("verify") {
        Read::Is(found) if found.value.get_ref().as_str() == Some("none") => Verify::None,
        _ => match fields.texts("verify", what) {
            Read::Is(command) => {
                Verify::Command(settled_command("verify", command, protocol, fields.mistakes))
            }
            _ => Verify::Same,
        },
    }
}

/// Bare lower-case hex, however it was written, so that keys compare as text.
fn read_verification_key(fields: &mut Fields<'_, '_>) -> Option<String> {
    let Read::Is(key) = fields.text("verification_key") else { return None };
    let bare = key.value.strip_prefix("0x").unwrap_or(&key.value);
    let is_hex = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && bare.len().is_multiple_of(2) && (2..=2 * MAX_KEY_BYTES).contains(&bare.len()) {
        return Some(bare.to_ascii_lowercase());
    }
    let message = format!("`verification_key` is \"{}\"", shown(&key.value));
    let help =
        format!("an even number of hexadecimal digits, with or without 0x, of 1 to {MAX_KEY_BYTES} bytes");
    fields.mistakes.add(key.at, message, help);
    None
}

fn read_writes(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let Read::Is(folders) = fields.texts("writes", "a list of folders: writes = [\"~/.cache/prover\"]")
    else {
        return Vec::new();
    };
    for folder in &folders.value {
        if !folder.value.starts_with('/') && !folder.value.starts_with("~/") {
            let message = format!("\"{}\" may be another folder elsewhere", shown(&folder.value));
            fields.mistakes.add(folder.at, message, "a path that begins with / or ~/");
        }
    }
    folders.value.into_iter().map(|folder| folder.value).collect()
}

/// A key that is told must be there, and one that is pinned must be held against something.
fn expect_key_where_it_is_told(prover: &Prover, fields: &mut Fields<'_, '_>) {
    let verifier = match &prover.verify {
        Verify::Command(command) => command.as_slice(),
        Verify::Same | Verify::None => &[],
    };
    let is_told = prover.command.iter().chain(verifier).any(|text| text.contains(PINNED_KEY));
    match fields.get("verification_key") {
        Read::Absent if is_told => {
            let message = format!("{PINNED_KEY} stands for `verification_key`, and none is pinned");
            fields.mistakes.add(
                fields.at,
                message,
                "verification_key = \"...\", the key in hexadecimal digits",
            );
        }
        Read::Is(key) if prover.verify == Verify::None && prover.protocol != Protocol::Stream => {
            let message = "`verification_key` pins nothing where nothing verifies";
            fields.mistakes.add(key.key_at, message, "leave it out, or name a verifier in place of \"none\"");
        }
        _ => {}
    }
}

/// Names of variables. Those by which a worker reaches AWS are its own.
pub(super) fn read_environment_from(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let what = "a list of names: environment_from = [\"API_KEY\"]";
    let Read::Is(names) = fields.texts("environment_from", what) else { return Vec::new() };
    let mut good = Vec::new();
    for At { value: name, at, .. } in names.value {
        let shown = shown(&name);
        if name.contains(['=', '\0']) {
            let message = format!("\"{shown}\" cannot name an environment variable");
            fields.mistakes.add(at, message, "a name such as API_KEY");
        } else if name.starts_with("AWS_") || name.starts_with("ECS_") {
            let message = format!("\"{shown}\" leads to the worker's own credentials");
            let help = "give a prover credentials of its own, under another name, or in a file";
            fields.mistakes.add(at, message, help);
        } else if good.contains(&name) {
            fields.mistakes.add(at, format!("\"{shown}\" is there twice"), "name each variable once");
        } else {
            good.push(name);
        }
    }
    good
}

fn read_environment(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let what = "a table: environment = { KEY = \"value\" }";
    let Some(table) = fields.table("environment", what).value() else { return BTreeMap::new() };
    let mut environment = BTreeMap::new();
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("\"{}\" cannot name an environment variable", shown(name));
            fields.mistakes.add(key.span().start, message, "a name such as RUST_LOG");
        } else if value.get_ref().as_str() == Some("") {
            environment.insert(name.to_string(), String::new());
        } else if let Some(value) = fields.text_of(name, value) {
            environment.insert(name.to_string(), value);
        }
    }
    environment
}
