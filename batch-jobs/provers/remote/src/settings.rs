//! The prover's `arguments` in the pipeline: read once, at `setup`, with all mistakes told together.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofyard_prover::Failure;
use serde_json::{Map, Value};

/// What holds for every protocol.
pub(crate) struct Settings {
    /// Without a slash at its end.
    pub endpoint: String,
    pub token: Option<String>,
    /// Where files are that the arguments name.
    pub files: PathBuf,
    pub input: InputForm,
    pub poll: Duration,
    /// How long a service may answer that perhaps it does not know a job, until that is believed.
    pub unknown_after: Duration,
    pub max_proof_bytes: u64,
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    pub trusted_setup: Option<bool>,
}

/// What a task's inputs are to the service.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum InputForm {
    /// The one input's bytes as they are.
    File,
    /// A JSON list of all inputs' bytes, each in hex after `0x`.
    List,
}

const DEFAULT_POLL_MS: u64 = 1000;
const DEFAULT_UNKNOWN_AFTER_S: u64 = 120;
const DEFAULT_MAX_PROOF_BYTES: u64 = 64 << 20;

impl Settings {
    pub fn read(arguments: &mut Arguments<'_>, files: &Path) -> Settings {
        let endpoint = arguments.endpoint("endpoint").unwrap_or_default();
        let token = arguments.token("token_from");
        let input = match arguments.one_of("input", &["file", "list"]) {
            Some("list") => InputForm::List,
            _ => InputForm::File,
        };
        let poll = Duration::from_millis(arguments.number("poll_ms").unwrap_or(DEFAULT_POLL_MS).max(10));
        let unknown_after = arguments.number("unknown_after_s").unwrap_or(DEFAULT_UNKNOWN_AFTER_S);
        let unknown_after = Duration::from_secs(unknown_after);
        let max_proof_bytes = arguments.number("max_proof_bytes").unwrap_or(DEFAULT_MAX_PROOF_BYTES);
        let proof_system = arguments.text("proof_system");
        let security_bits = arguments.number("security_bits").and_then(|bits| u32::try_from(bits).ok());
        let trusted_setup = arguments.truth("trusted_setup");
        Settings {
            endpoint,
            token,
            files: files.to_path_buf(),
            input,
            poll,
            unknown_after,
            max_proof_bytes,
            proof_system,
            security_bits,
            trusted_setup,
        }
    }
}

/// Takes arguments by name; what nobody has taken is unknown.
pub(crate) struct Arguments<'a> {
    given: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<String>,
}

impl<'a> Arguments<'a> {
    pub fn new(given: &'a Map<String, Value>) -> Arguments<'a> {
        Arguments { given, known: BTreeSet::new(), mistakes: Vec::new() }
    }

    pub fn mistake(&mut self, what: impl Display) {
        self.mistakes.push(what.to_string());
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.given.get(name)
    }

    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.mistake(format_args!("`{name}` must be a text"));
                None
            }
        }
    }

    /// A text that must be there. Where it is not, that is a mistake, and the empty text is returned.
    pub fn required(&mut self, name: &'static str, what: &str) -> String {
        if !self.given.contains_key(name) {
            self.mistake(format_args!("`{name}` is missing: {what}"));
        }
        self.text(name).unwrap_or_default()
    }

    pub fn number(&mut self, name: &'static str) -> Option<u64> {
        let number = self.take(name)?.as_u64();
        if number.is_none() {
            self.mistake(format_args!("`{name}` must be a whole number from 0"));
        }
        number
    }

    pub fn truth(&mut self, name: &'static str) -> Option<bool> {
        let truth = self.take(name)?.as_bool();
        if truth.is_none() {
            self.mistake(format_args!("`{name}` must be true or false"));
        }
        truth
    }

    /// None where it is not given, or is none of these.
    pub fn one_of(&mut self, name: &'static str, values: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name)?;
        let value = values.iter().copied().find(|value| *value == text);
        if value.is_none() {
            self.mistake(format_args!("`{name}` is {text:?}, but must be one of {}", values.join(", ")));
        }
        value
    }

    pub fn endpoint(&mut self, name: &'static str) -> Option<String> {
        let text = if name == "endpoint" {
            self.required(name, "the service's address, such as \"https://prover.example:3000\"")
        } else {
            self.text(name)?
        };
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if !text.is_empty() && rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', '@', ' ']))
        {
            self.mistake(format_args!(
                "`{name}` must be an address that begins with http:// or https://, without a user, a query or a fragment"
            ));
        }
        Some(text.trim_end_matches('/').to_string())
    }

    /// The secret that an environment variable holds. It stands nowhere else, so that no pipeline and no log has it.
    fn token(&mut self, name: &'static str) -> Option<String> {
        if self.given.contains_key("token") {
            self.known.insert("token");
            self.mistake(
                "a token does not belong in the pipeline: name the variable that holds it, `token_from`",
            );
        }
        let token = self.secret(name)?;
        let is_one = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_one {
            self.mistake(format_args!("the variable that `{name}` names holds no token"));
        }
        Some(token).filter(|_| is_one)
    }

    /// What the environment variable holds that this argument names.
    pub fn secret(&mut self, name: &'static str) -> Option<String> {
        let variable = self.text(name)?;
        match std::env::var(&variable) {
            Ok(secret) if !secret.is_empty() => Some(secret),
            Ok(_) => {
                self.mistake(format_args!("the variable {variable} holds nothing"));
                None
            }
            Err(_) => {
                self.mistake(format_args!(
                    "the variable {variable}, which `{name}` names, is not set here; the prover's `environment_from` hands it on"
                ));
                None
            }
        }
    }

    /// Fails if there were mistakes, or arguments that nobody knows.
    pub fn finish(mut self) -> Result<(), Failure> {
        let unknown: Vec<&str> =
            self.given.keys().map(String::as_str).filter(|name| !self.known.contains(name)).collect();
        for name in unknown {
            let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
            self.mistakes.push(format!("`{name}` is unknown; known are {known}"));
        }
        if self.mistakes.is_empty() {
            return Ok(());
        }
        Err(Failure::permanent(format!("in the prover's arguments: {}", self.mistakes.join("; "))))
    }
}
