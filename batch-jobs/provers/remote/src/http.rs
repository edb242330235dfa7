//! HTTP calls that end early when the work is no longer wanted, and that tell whether the service may have acted on them.
//!
//! The client blocks, so each call runs on a thread of its own, while the caller's thread looks whether the work is still
//! wanted. If it is not, the connection is shut down, which ends the call, and tells a service that works while it answers.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_prover::message::CancelReason;
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::service::ServiceError;

/// How long a call may take that moves little.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
/// How long an upload or a download may take.
pub(crate) const LONG: Duration = Duration::from_secs(300);
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How often a call looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);
/// What is read of an answer that is no proof.
const ANSWER_BYTES: u64 = 1 << 20;
/// What of a service's message is told.
const WORDS: usize = 500;

/// Where the service is, and with which token.
pub(crate) struct Http {
    pub endpoint: String,
    pub token: Option<(&'static str, String)>,
    tls: TlsConfig,
    /// The certificates of authorities, where the endpoint is https.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Whether the work is still wanted, and how the yard is told that it goes on.
pub(crate) trait Watch {
    fn cancelled(&mut self) -> Option<CancelReason>;
    /// A call has been waiting for this long.
    fn waits(&mut self, _time: Duration) {}
}

/// For `setup` and `verify`, which are not cancelled but killed.
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn cancelled(&mut self) -> Option<CancelReason> {
        None
    }
}

/// A line to the service for some calls: until when, and while it is wanted.
pub(crate) struct Line<'a> {
    pub http: &'a Http,
    watch: &'a mut dyn Watch,
    pub deadline: Instant,
}

/// A call, before it is made.
pub(crate) struct Call<'a> {
    method: &'static str,
    /// A path at the endpoint, or an address that the service named.
    to: String,
    body: Option<(&'a str, Vec<u8>)>,
    limit: Duration,
    max_bytes: u64,
}

impl<'a> Call<'a> {
    pub fn get(to: impl Into<String>) -> Call<'a> {
        Call { method: "GET", to: to.into(), body: None, limit: SHORT, max_bytes: ANSWER_BYTES }
    }

    /// Asks whether something is there, without getting it.
    pub fn head(to: impl Into<String>) -> Call<'a> {
        Call { method: "HEAD", max_bytes: u64::MAX - 1, ..Call::get(to) }
    }

    pub fn post(to: impl Into<String>, kind: &'a str, body: Vec<u8>) -> Call<'a> {
        Call { method: "POST", body: Some((kind, body)), ..Call::get(to) }
    }

    pub fn put(to: impl Into<String>, body: Vec<u8>) -> Call<'a> {
        Call { method: "PUT", ..Call::post(to, "application/octet-stream", body) }
    }

    pub fn post_json(to: impl Into<String>, body: &Value) -> Call<'a> {
        Call::post(to, "application/json", body.to_string().into_bytes())
    }

    pub fn limit(self, limit: Duration) -> Call<'a> {
        Call { limit, ..self }
    }

    pub fn max_bytes(self, max_bytes: u64) -> Call<'a> {
        Call { max_bytes, ..self }
    }
}

pub(crate) struct Answer {
    pub url: String,
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ServiceError::transient(format!(
                "{} answered what this protocol does not know ({error}): {}",
                self.url,
                self.words()
            ))
        })
    }

    /// The body, as a person reads it.
    pub fn words(&self) -> String {
        words(&self.body)
    }
}

pub(crate) fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * WORDS)]);
    let one_line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut words = one_line.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(WORDS) {
        words.truncate(end);
        words.push_str("...");
    }
    words
}

/// There is no whole answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The service was not reached, so nothing has happened.
    NotSent(String),
    /// It may have acted on the call.
    Lost(String),
    /// It began to answer, but the answer has no end.
    CutOff(String),
    TooLarge(String),
    Stopped(CancelReason),
}

impl Http {
    /// The token goes into this header.
    pub fn new(endpoint: String, token: Option<(&'static str, String)>) -> Result<Http, String> {
        let authorities = if endpoint.starts_with("https://") { authorities()? } else { Vec::new() };
        let tls = if authorities.is_empty() { TlsConfig::default() } else { tls(&authorities) };
        Ok(Http { endpoint, token, tls, authorities })
    }

    pub fn line<'a>(&'a self, watch: &'a mut dyn Watch, deadline: Instant) -> Line<'a> {
        Line { http: self, watch, deadline }
    }

    /// The whole address, and whether it is the endpoint's own, which alone gets the token. A service behind a proxy may name
    /// itself by a scheme that only the proxy speaks: what it says of its own host is asked for at the endpoint.
    fn address(&self, to: &str) -> (String, bool) {
        if to.starts_with('/') {
            return (format!("{}{to}", self.endpoint), true);
        }
        let (host, path) = authority_and_path(to);
        let (own, own_path) = authority_and_path(&self.endpoint);
        if host == own && path.starts_with(own_path) {
            return (format!("{}{}", self.endpoint, &path[own_path.len()..]), true);
        }
        (to.to_string(), false)
    }
}

fn authority_and_path(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
}

/// The certificates of this machine, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(": {error}"));
        return Err(format!(
            "no certificates of authorities are found on this machine, which https needs{why}"
        ));
    }
    Ok(found.certs)
}

fn tls(authorities: &[CertificateDer<'static>]) -> TlsConfig {
    let roots = authorities.iter().map(|one| Certificate::from_der(one).to_owned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder().root_certs(RootCerts::from(roots));
    config.unversioned_rustls_crypto_provider(provider).build()
}

impl Line<'_> {
    /// Makes a call, and waits until it is answered, its limit or the deadline is over, or the work is no longer wanted.
    pub fn call(&mut self, call: Call<'_>) -> Result<Answer, NoAnswer> {
        let (url, is_own) = self.http.address(&call.to);
        let limit = self.limit(call.limit, &url)?;
        let mut request =
            Request::builder().method(call.method).uri(&url).header("user-agent", "proofyard-remote");
        if let Some((name, token)) = self.http.token.as_ref().filter(|_| is_own) {
            request = request.header(*name, token);
        }
        if let Some((kind, _)) = &call.body {
            request = request.header("content-type", *kind);
        }
        let body = call.body.map(|(_, body)| body);
        let is_get = body.is_none();
        let request = request
            .body(body.unwrap_or_default())
            .map_err(|error| NoAnswer::NotSent(format!("{url}: {error}")))?;
        // An agent for each call: a connection that is not reused cannot have been closed meanwhile.
        let config = Agent::config_builder()
            .tls_config(self.http.tls.clone())
            .http_status_as_error(false)
            // A redirect of the endpoint's would take the token elsewhere.
            .max_redirects(if is_own { 0 } else { 3 })
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(limit));
        let agent = Agent::new_with_config(config.build());
        let (calling, max_bytes) = (agent.clone(), call.max_bytes);
        let run = move || {
            let answer = if is_get {
                let (parts, _) = request.into_parts();
                calling.run(Request::from_parts(parts, ()))
            } else {
                calling.run(request)
            };
            answer.map_err(|error| no_answer(&url, &error)).and_then(|answer| read(url, answer, max_bytes))
        };
        self.wait(run, || agent.shutdown())
    }

    /// How long a call may take now. It is not made where the work is not wanted, or there is no time left.
    pub fn limit(&mut self, limit: Duration, what: &str) -> Result<Duration, NoAnswer> {
        if let Some(reason) = self.watch.cancelled() {
            return Err(NoAnswer::Stopped(reason));
        }
        let limit = limit.min(self.deadline.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            return Err(NoAnswer::NotSent(format!("there was no time left to ask {what}")));
        }
        Ok(limit)
    }

    /// Makes a call on a thread of its own, and stops it when the work is no longer wanted.
    pub fn wait<T: Send + 'static>(
        &mut self,
        call: impl FnOnce() -> Result<T, NoAnswer> + Send + 'static,
        stop: impl FnOnce(),
    ) -> Result<T, NoAnswer> {
        let (sender, answers) = mpsc::channel();
        let spawned = thread::Builder::new().name("call".into()).spawn(move || {
            // Nobody listens where the call was stopped.
            let _ = sender.send(call());
        });
        spawned.map_err(|error| NoAnswer::NotSent(format!("no thread for a call: {error}")))?;
        let began = Instant::now();
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(NoAnswer::Lost("a call has panicked".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(reason) = self.watch.cancelled() {
                stop();
                return Err(NoAnswer::Stopped(reason));
            }
            self.watch.waits(began.elapsed());
        }
    }
}

fn read(url: String, mut answer: Response<Body>, max_bytes: u64) -> Result<Answer, NoAnswer> {
    let header = |name: &str| answer.headers().get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let (status, length) = (answer.status().as_u16(), header("content-length"));
    let retry_after = header("retry-after").map(Duration::from_secs);
    if answer.status().is_success() && length.is_some_and(|length| length > max_bytes) {
        let length = length.unwrap_or_default();
        return Err(NoAnswer::TooLarge(format!("{url} answers {length} bytes, and {max_bytes} are allowed")));
    }
    let mut body = Vec::new();
    let read = answer.body_mut().with_config().reader().take(max_bytes + 1).read_to_end(&mut body);
    if body.len() as u64 > max_bytes {
        return Err(NoAnswer::TooLarge(format!(
            "{url} answers more than the {max_bytes} bytes that are allowed"
        )));
    }
    if let Err(error) = read {
        let of = length.map_or(String::new(), |length| format!(" of {length}"));
        return Err(NoAnswer::CutOff(format!(
            "the answer of {url} ends after {}{of} bytes: {error}",
            body.len()
        )));
    }
    Ok(Answer { url, status, retry_after, body })
}

fn no_answer(url: &str, error: &ureq::Error) -> NoAnswer {
    use std::io::ErrorKind;
    use ureq::{Error, Timeout};
    let message = format!("{url}: {error}");
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Tls(_)
        | Error::Rustls(_)
        | Error::Pem(_)
        | Error::BadUri(_)
        | Error::Http(_)
        | Error::InvalidProxyUrl
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => NoAnswer::NotSent(message),
        Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => NoAnswer::NotSent(message),
        // rustls reports a refused certificate as invalid data, while the connection is being made.
        Error::Io(io) if io.kind() == ErrorKind::InvalidData => NoAnswer::NotSent(message),
        _ => NoAnswer::Lost(message),
    }
}
