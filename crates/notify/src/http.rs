//! One call, and what its answer means.
//!
//! A URL may hold a key: only its host is ever shown.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use proofyard_core::sinks::Trouble;
use ureq::http::header::{DATE, HeaderName, RETRY_AFTER, USER_AGENT};
use ureq::http::{HeaderMap, HeaderValue, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody};

use crate::Failure;

const CONNECT: Duration = Duration::from_secs(10);
/// What is read of an answer.
const ANSWER_BYTES: u64 = 64 << 10;
/// What is shorter is no secret.
const SECRET_CHARACTERS: usize = 8;
/// What of an answer is shown.
const SHOWN_CHARACTERS: usize = 300;

pub(crate) const JSON: &str = "application/json";
pub(crate) const OCTETS: &str = "application/octet-stream";

/// What is asked of a URL.
pub(crate) struct Get<'a> {
    pub url: &'a str,
    pub time_limit_ms: u64,
    /// More than this of an answer is not read.
    pub most_bytes: u64,
}

/// A body that goes to a URL.
pub(crate) struct Post<'a> {
    pub url: &'a str,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub time_limit_ms: u64,
}

/// An answer as it came.
pub(crate) struct Reply {
    pub host: String,
    pub status: u16,
    /// What `Retry-After` asks for.
    pub wait_ms: Option<u64>,
    pub body: Vec<u8>,
}

/// An answer as it may be shown.
pub(crate) struct Answer {
    pub host: String,
    pub status: u16,
    /// What `Retry-After` asks for.
    pub wait_ms: Option<u64>,
    pub text: String,
}

impl Get<'_> {
    pub fn send(self) -> Result<Reply, Failure> {
        let request = Request::get(self.url).header("accept", JSON);
        let request = request.body(()).map_err(|error| unclear(self.url, &error))?;
        exchange(self.url, request, self.time_limit_ms, self.most_bytes)
    }
}

impl Post<'_> {
    pub fn send(self) -> Result<Answer, Failure> {
        let secrets = self.headers.iter().flat_map(|(_, value)| value.split_whitespace());
        let secrets: Vec<String> = secrets.map(str::to_owned).collect();
        let url = self.url;
        Ok(self.reply()?.shown(url, secrets.iter().map(String::as_str)))
    }

    pub fn reply(self) -> Result<Reply, Failure> {
        let mut request = Request::post(self.url).header("content-type", self.content_type);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(self.body).map_err(|error| unclear(self.url, &error))?;
        exchange(self.url, request, self.time_limit_ms, ANSWER_BYTES)
    }
}

fn exchange(
    url: &str,
    mut request: Request<impl AsSendBody>,
    time_limit_ms: u64,
    most_bytes: u64,
) -> Result<Reply, Failure> {
    let host = host_of(url);
    let program = HeaderValue::from_static(concat!("proofyard/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, program);
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // A redirect would take a token, or a signature, elsewhere.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(Duration::from_millis(time_limit_ms)));
    if url.starts_with("https://") {
        config = config.tls_config(tls()?);
    }
    let agent = Agent::new_with_config(config.build());
    let mut answer = agent.run(request).map_err(|error| unclear(url, &error))?;
    let wait_ms = retry_after_ms(answer.headers());
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    let read = answer.body_mut().with_config().reader().take(most_bytes).read_to_end(&mut body);
    if let Err(error) = read {
        // Whether it was taken is not known: it is told again, under the same key.
        return Err(Failure::later(format!("{host}: its answer ({status}) was cut off: {error}")));
    }
    Ok(Reply { host, status, wait_ms, body })
}

/// `Retry-After`, in seconds or as a date, which counts from the answer's own.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let header = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = header(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let answered = httpdate::parse_http_date(header(DATE)?).ok()?;
    u64::try_from(until.duration_since(answered).unwrap_or_default().as_millis()).ok()
}

fn unclear(url: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::later(format!("{}: {}", host_of(url), without(url, &error.to_string())))
}

impl Reply {
    /// Without what may be a key in it.
    pub fn shown<'s>(self, url: &'s str, secrets: impl Iterator<Item = &'s str>) -> Answer {
        let Self { host, status, wait_ms, body } = self;
        Answer { host, status, wait_ms, text: shown(&String::from_utf8_lossy(&body), url, secrets) }
    }
}

impl Answer {
    /// What it means where nothing else is agreed on: 2xx is done; what may pass is tried again; the rest is refused.
    pub fn outcome(self) -> Result<(), Failure> {
        let Answer { host, status, wait_ms, text } = self;
        let reason =
            if text.is_empty() { format!("{host}: {status}") } else { format!("{host}: {status}: {text}") };
        match status {
            200..=299 => Ok(()),
            // Who asks is wrong, not what: an operator mends it, and the same message is taken then.
            300..=399 | 401 | 403 | 404 | 407 | 408 | 425 | 429 | 500..=599 => {
                Err(Failure::Later(Trouble::asking(reason, wait_ms)))
            }
            _ => Err(Failure::Refused(reason)),
        }
    }
}

fn tls() -> Result<TlsConfig, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(": {error}"));
        return Err(Failure::later(format!(
            "this machine has no certificates of authorities, which https needs{why}"
        )));
    }
    let roots = found.certs.iter().map(|one| Certificate::from_der(one).to_owned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder().root_certs(RootCerts::from(roots));
    Ok(config.unversioned_rustls_crypto_provider(provider).build())
}

pub(crate) fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default().to_owned()
}

/// An error's text without the URL that it may name.
fn without(url: &str, text: &str) -> String {
    text.replace(url, &host_of(url))
}

/// An answer as it may be shown: servers repeat what they were asked, path and token included.
pub(crate) fn shown<'s>(text: &str, url: &'s str, secrets: impl Iterator<Item = &'s str>) -> String {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.find('/').map_or("", |slash| &path[slash..]);
    let parts =
        path.split(['/', '?', '&', '=', '#']).chain(secrets).filter(|part| part.len() >= SECRET_CHARACTERS);
    let mut text = text.to_owned();
    for part in [path].into_iter().filter(|path| path.len() > 1).chain(parts) {
        text = text.replace(part, "...");
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN_CHARACTERS).collect()
}
