//! Unary gRPC calls, over HTTP/2 as it is: one message there, one back, a status in the trailers.
//!
//! A connection for each call, as with [`http`](crate::http): then none can have been closed meanwhile, and it is known whether the
//! service may have acted on a call.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use h2::{Reason, RecvStream, client};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use ureq::http::{HeaderMap, Request, Uri};

use crate::http::{CONNECT, Http, Line, NoAnswer, words};
use crate::service::ServiceError;

/// What is received before the service has to wait.
const WINDOW_BYTES: u32 = 4 << 20;

/// Status codes: <https://grpc.io/docs/guides/status-codes/>.
pub(crate) mod code {
    pub const CANCELLED: u32 = 1;
    pub const UNKNOWN: u32 = 2;
    pub const DEADLINE_EXCEEDED: u32 = 4;
    pub const NOT_FOUND: u32 = 5;
    pub const PERMISSION_DENIED: u32 = 7;
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    pub const ABORTED: u32 = 10;
    pub const INTERNAL: u32 = 13;
    pub const UNAVAILABLE: u32 = 14;
    pub const UNAUTHENTICATED: u32 = 16;
}

/// A call that was not answered with a message.
#[derive(Debug)]
pub(crate) enum Wrong {
    NoAnswer(NoAnswer),
    /// The service's status, and its words.
    Status(u32, String),
}

impl Line<'_> {
    /// Makes a call, and waits as [`Line::call`] does.
    pub fn grpc(
        &mut self,
        method: &str,
        message: Vec<u8>,
        limit: Duration,
        max_bytes: u64,
    ) -> Result<Vec<u8>, Wrong> {
        let url = format!("{}{method}", self.http.endpoint);
        let limit = self.limit(limit, &url).map_err(Wrong::NoAnswer)?;
        let call = Call::new(self.http, url, message, max_bytes).map_err(Wrong::NoAnswer)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| NoAnswer::NotSent(format!("no runtime: {error}")))?;
            runtime.block_on(async {
                let lost = || NoAnswer::Lost(format!("{} did not answer within {limit:?}", call.url));
                tokio::select! {
                    ended = timeout(limit, call.make()) => ended.unwrap_or_else(|_| Err(lost())),
                    _ = stopped => Err(lost()),
                }
            })
        };
        let stop = move || {
            let _ = stop.send(());
        };
        let answer = self.wait(run, stop).map_err(Wrong::NoAnswer)?;
        answer.map_err(|(code, words)| Wrong::Status(code, words))
    }
}

/// One call, with all that it needs.
struct Call {
    url: String,
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
    token: Option<(&'static str, String)>,
    message: Vec<u8>,
    max_bytes: u64,
}

/// A message, or a status.
type Answer = Result<Vec<u8>, (u32, String)>;

impl Call {
    fn new(http: &Http, url: String, message: Vec<u8>, max_bytes: u64) -> Result<Call, NoAnswer> {
        let uri: Uri = url.parse().map_err(|error| NoAnswer::NotSent(format!("{url}: {error}")))?;
        let tls = match http.authorities.is_empty() {
            true => None,
            false => Some(Arc::new(tls(http).map_err(|error| NoAnswer::NotSent(format!("{url}: {error}")))?)),
        };
        Ok(Call { url, uri, tls, token: http.token.clone(), message, max_bytes })
    }

    async fn make(&self) -> Result<Answer, NoAnswer> {
        let not_sent = |error: String| NoAnswer::NotSent(format!("{}: {error}", self.url));
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let connected = timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await;
        let tcp = connected.map_err(|_| not_sent("no connection in time".into()))?;
        let tcp = tcp.map_err(|error| not_sent(error.to_string()))?;
        // What is received is acknowledged in small pieces, for which a large message must not wait.
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.exchange(tcp).await };
        let name = ServerName::try_from(host).map_err(|error| not_sent(error.to_string()))?;
        let secured = timeout(CONNECT, TlsConnector::from(Arc::clone(tls)).connect(name, tcp)).await;
        let secured = secured.map_err(|_| not_sent("no connection in time".into()))?;
        self.exchange(secured.map_err(|error| not_sent(error.to_string()))?).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Answer, NoAnswer> {
        let not_sent = |error: &dyn std::fmt::Display| NoAnswer::NotSent(format!("{}: {error}", self.url));
        let lost = |error: h2::Error| match error.reason() {
            // The service says that it has not begun.
            Some(Reason::REFUSED_STREAM) => not_sent(&error),
            _ => NoAnswer::Lost(format!("{}: {error}", self.url)),
        };
        let mut builder = client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (client, connection) =
            builder.handshake::<_, Cursor<Vec<u8>>>(stream).await.map_err(|error| not_sent(&error))?;
        // It ends with the runtime.
        tokio::spawn(connection);
        let mut request = Request::post(self.uri.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "proofyard-remote");
        if let Some((name, token)) = &self.token {
            request = request.header(*name, token);
        }
        let request = request.body(()).map_err(|error| not_sent(&error))?;
        let mut client = client.ready().await.map_err(|error| not_sent(&error))?;
        let (response, mut sending) =
            client.send_request(request, false).map_err(|error| not_sent(&error))?;
        sending.send_data(Cursor::new(framed(&self.message)), true).map_err(lost)?;
        let response = response.await.map_err(lost)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Ok(Err((code_of(status), format!("{} answered {status}", self.url))));
        }
        // A status without a message comes with the headers.
        if let Some(status) = grpc_status(response.headers()).filter(|(code, _)| *code != 0) {
            return Ok(Err(status));
        }
        self.receive(response.into_body()).await
    }

    async fn receive(&self, mut body: RecvStream) -> Result<Answer, NoAnswer> {
        let mut received = Vec::new();
        let cut_off = |received: &[u8], error: &dyn std::fmt::Display| {
            NoAnswer::CutOff(format!(
                "the answer of {} ends after {} bytes: {error}",
                self.url,
                received.len()
            ))
        };
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| cut_off(&received, &error))?;
            received.extend_from_slice(&data);
            if received.len() as u64 > self.max_bytes.saturating_add(5) {
                let (url, max_bytes) = (&self.url, self.max_bytes);
                return Err(NoAnswer::TooLarge(format!(
                    "{url} answers more than the {max_bytes} bytes that are allowed"
                )));
            }
            let _ = body.flow_control().release_capacity(data.len());
        }
        let trailers = body.trailers().await.map_err(|error| cut_off(&received, &error))?;
        match trailers.as_ref().and_then(grpc_status) {
            None => Err(cut_off(&received, &"it has no status")),
            Some((0, _)) => {
                unframed(&received).map(Ok).ok_or_else(|| cut_off(&received, &"it is no whole message"))
            }
            Some(status) => Ok(Err(status)),
        }
    }
}

fn tls(http: &Http) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(http.authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A message with its length before it, not compressed.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn unframed(received: &[u8]) -> Option<Vec<u8>> {
    let (head, message) = received.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    (head[0] == 0 && message.len() == length as usize).then(|| message.to_vec())
}

fn grpc_status(headers: &HeaderMap) -> Option<(u32, String)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?.parse().ok()?;
    Some((code, words(&percent_decoded(text("grpc-message").unwrap_or_default()))))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'%').then(|| after.get(..2)).flatten();
        match escaped.and_then(|digits| hex::decode(digits).ok()) {
            Some(one) => {
                decoded.extend(one);
                rest = &after[2..];
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

/// What a failed call means that creates no job, or has created none.
pub(crate) fn meaning(wrong: Wrong) -> ServiceError {
    match wrong {
        Wrong::NoAnswer(none) => none.into(),
        Wrong::Status(status, why) => {
            let message = format!("the service says: {why}");
            match status {
                code::NOT_FOUND => ServiceError::Unknown(message),
                code::CANCELLED
                | code::UNKNOWN
                | code::DEADLINE_EXCEEDED
                | code::PERMISSION_DENIED
                | code::RESOURCE_EXHAUSTED
                | code::ABORTED
                | code::INTERNAL
                | code::UNAVAILABLE
                | code::UNAUTHENTICATED => ServiceError::unavailable(message),
                _ => ServiceError::permanent(message),
            }
        }
    }
}

/// What a proxy's HTTP status is in gRPC.
fn code_of(status: u16) -> u32 {
    match status {
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => 12,
        429 => code::RESOURCE_EXHAUSTED,
        504 => code::DEADLINE_EXCEEDED,
        500.. => code::UNAVAILABLE,
        _ => code::INTERNAL,
    }
}
