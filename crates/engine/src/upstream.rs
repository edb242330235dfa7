//! The execution client: calls go on to it with the headers that they came with.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::request;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(15);
/// What is about one connection, and not about the call.
const OF_A_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection: nothing of the call arrived there.
    #[error("it is not reached: {0}")]
    Unreachable(String),
    #[error("it hung up: {0}")]
    HungUp(String),
    #[error("it does not answer in time ({} ms)", .0.as_millis())]
    Silent(Duration),
}

pub(crate) struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Scheme, host and port; and what stands before each path.
    authority: String,
    base: String,
    timeout: Duration,
}

impl Upstream {
    /// `execution` begins with `http://`.
    pub(crate) fn new(execution: &str, timeout: Duration) -> Option<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let uri: Uri = execution.parse().ok()?;
        let authority = format!("http://{}", uri.authority()?);
        let base = uri.path().trim_end_matches('/').to_owned();
        Some(Self { client, authority, base, timeout })
    }

    /// As status shows it.
    pub(crate) fn name(&self) -> &str {
        &self.authority
    }

    /// The call as it came, with this body. Answers once the answer begins.
    pub(crate) async fn call(
        &self,
        head: &request::Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, CallError> {
        self.send(head, body, false).await
    }

    /// The same with an answer that is not packed, so that it can be read.
    pub(crate) async fn call_plainly(
        &self,
        head: &request::Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, CallError> {
        self.send(head, body, true).await
    }

    async fn send(
        &self,
        head: &request::Parts,
        body: Bytes,
        is_plain: bool,
    ) -> Result<Response<Incoming>, CallError> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut call = Request::new(Full::new(body));
        *call.method_mut() = head.method.clone();
        *call.uri_mut() = format!("{}{}{path}", self.authority, self.base)
            .parse()
            .map_err(|_| CallError::Unreachable("the path of the call is none".to_owned()))?;
        *call.headers_mut() = passed_on(&head.headers);
        // The client's own host is this proxy; the length may be another now.
        call.headers_mut().remove(HOST);
        call.headers_mut().remove(CONTENT_LENGTH);
        if is_plain {
            call.headers_mut().remove(ACCEPT_ENCODING);
        }
        match timeout(self.timeout, self.client.request(call)).await {
            Err(_) => Err(CallError::Silent(self.timeout)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() => Err(CallError::Unreachable(causes(&error))),
            Ok(Err(error)) => Err(CallError::HungUp(causes(&error))),
        }
    }

    /// A whole answer of at most so many bytes.
    pub(crate) async fn body(&self, body: Incoming, most: usize) -> Result<Bytes, CallError> {
        let limited = http_body_util::Limited::new(body, most);
        match timeout(self.timeout, limited.collect()).await {
            Err(_) => Err(CallError::Silent(self.timeout)),
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) => Err(CallError::HungUp(error.to_string())),
        }
    }
}

/// Headers without those of a connection.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in OF_A_CONNECTION {
        passed.remove(name);
    }
    passed
}

/// The innermost cause says what was wrong.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
