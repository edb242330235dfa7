//! A webhook: the message, or a body of the pipeline's, by POST.
//!
//! `x-proofyard-key` is the same each time that a message comes. Where there is a secret, the request is signed as
//! `proofyard-signature` has it, like those that a yard on AWS takes.

use proofyard_core::pipeline::{VARIABLE, Webhook};
use proofyard_core::state::OutKind;
use proofyard_signature::{SIGNATURE, TIMESTAMP, sign};
use proofyard_sinks::Message;
use serde_json::{Map, Value};

use crate::http::{JSON, Post};
use crate::{Failure, Surroundings, url, variable};

pub(crate) fn tell(
    target: &Webhook,
    message: &Message,
    surroundings: &impl Surroundings,
) -> Result<(), Failure> {
    let address = url(&target.url, surroundings)?;
    let written = match &target.body {
        Some(body) => serde_json::to_vec(&filled(body, message, surroundings)?),
        None => serde_json::to_vec(message),
    };
    let body = written.map_err(|error| Failure::Refused(error.to_string()))?;
    let mut headers = vec![("x-proofyard-key", message.key().to_owned())];
    if let Some(name) = &target.secret_from {
        let secret = variable(name, surroundings)?;
        let timestamp = surroundings.now_s().to_string();
        let signature = sign(secret.as_bytes(), &timestamp, chain_of(message), &body);
        headers.extend([(TIMESTAMP, timestamp), (SIGNATURE, signature)]);
    }
    let post = Post { url: &address, content_type: JSON, headers, body, time_limit_ms: target.time_limit_ms };
    post.send()?.outcome()
}

fn chain_of(message: &Message) -> &str {
    match message {
        Message::Entry(message) => message.entry.chain.as_str(),
        Message::Block(message) => message.chain.as_str(),
    }
}

/// The pipeline's body, with what stands in braces put in.
fn filled(
    body: &Map<String, Value>,
    message: &Message,
    surroundings: &impl Surroundings,
) -> Result<Value, Failure> {
    let known = parts(message);
    let put_in = |name: &str| match name.strip_prefix(VARIABLE) {
        Some(name) => variable(name, surroundings),
        None => {
            Ok(known.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, part)| part.clone()))
        }
    };
    fill(&Value::Object(body.clone()), &put_in)
}

fn fill(value: &Value, put_in: &impl Fn(&str) -> Result<String, Failure>) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => Value::String(fill_text(text, put_in)?),
        Value::Array(list) => {
            Value::Array(list.iter().map(|value| fill(value, put_in)).collect::<Result<_, _>>()?)
        }
        Value::Object(table) => {
            let filled = table.iter().map(|(name, value)| Ok((name.clone(), fill(value, put_in)?)));
            Value::Object(filled.collect::<Result<_, Failure>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn fill_text(text: &str, put_in: &impl Fn(&str) -> Result<String, Failure>) -> Result<String, Failure> {
    let mut pieces = text.split('{');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('}') {
            Some((name, rest)) => filled.extend([&put_in(name)?, rest]),
            None => filled.extend(["{", piece]),
        }
    }
    Ok(filled)
}

/// What a body's braces may hold, as texts.
fn parts(message: &Message) -> Vec<(&'static str, String)> {
    match message {
        Message::Entry(message) => {
            let entry = &message.entry;
            let (kind, from, to, hash) = match &entry.kind {
                OutKind::Proof { from, to, hash, .. } => ("proof", from, to, hash.as_str()),
                OutKind::Retract { from, to } => ("retract", from, to, ""),
            };
            vec![
                ("key", message.key.clone()),
                ("chain", entry.chain.to_string()),
                ("log", entry.log.clone()),
                ("sequence", entry.sequence.to_string()),
                ("kind", kind.to_owned()),
                ("from", from.to_string()),
                ("to", to.to_string()),
                ("hash", hash.to_owned()),
            ]
        }
        Message::Block(message) => vec![
            ("key", message.key.clone()),
            ("chain", message.chain.to_string()),
            ("word", message.word.name().to_owned()),
            ("height", message.height.to_string()),
            ("hash", message.hash.to_string()),
        ],
    }
}
