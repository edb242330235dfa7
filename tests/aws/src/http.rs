//! An HTTP client that counts calls, and breaks those that a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is made.
    Made,
    /// It does not arrive, and an answer with this status and body comes.
    Answered(u16, String),
    /// It is made once as many as this barrier waits for are here.
    Together(Arc<tokio::sync::Barrier>),
    /// It is made, and its answer is lost.
    AnswerLost,
    /// It does not arrive.
    NotSent,
}

impl Fate {
    pub fn throttled() -> Self {
        Self::error("ThrottlingException", "slow down")
    }

    /// As services that speak JSON tell an error.
    pub fn error(code: &str, message: &str) -> Self {
        Self::Answered(400, format!(r#"{{"__type": "com.amazonaws#{code}", "message": "{message}"}}"#))
    }
}

/// Decides by the operation's name, as `GetItem` or `SendMessageBatch`, and the body.
pub type Decide = dyn Fn(&str, &str) -> Fate + Send + Sync;

/// Clones are the same client.
#[derive(Clone)]
pub struct Breakable {
    real: SharedHttpClient,
    decide: Arc<Mutex<Arc<Decide>>>,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    /// From calls that are made to their answers.
    time: Arc<Mutex<Duration>>,
    /// Where AWS Batch is, if it is elsewhere than all the rest.
    batch: Arc<Mutex<Option<String>>>,
}

impl std::fmt::Debug for Breakable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Breakable")
    }
}

impl Default for Breakable {
    fn default() -> Self {
        Self {
            real: Builder::new().build_http(),
            decide: Arc::new(Mutex::new(Arc::new(|_, _| Fate::Made))),
            counts: Arc::default(),
            time: Arc::default(),
            batch: Arc::default(),
        }
    }
}

impl Breakable {
    /// From now on.
    pub fn breaks(&self, decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Arc::new(decide);
    }

    /// Calls to AWS Batch go to this endpoint.
    pub fn batch_is_at(&self, endpoint: &str) {
        *self.batch.lock().unwrap() = Some(endpoint.to_owned());
    }

    /// Breaks nothing any more.
    pub fn works(&self) {
        self.breaks(|_, _| Fate::Made);
    }

    /// Calls since the last time, by operation.
    pub fn take_counts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    /// What calls took since the last time, from when they were made until their answers began; those that were made at
    /// once count each.
    pub fn take_time(&self) -> Duration {
        std::mem::take(&mut self.time.lock().unwrap())
    }
}

const BATCH: &str = "/v1/";

fn path(request: &HttpRequest) -> &str {
    let after_scheme = request.uri().split_once("://").map_or(request.uri(), |(_, rest)| rest);
    after_scheme.find('/').map_or("", |begin| &after_scheme[begin..])
}

/// DynamoDB and SQS name the operation in a header, AWS Batch in the path (`submitjob`); S3 has only method and place.
fn operation(request: &HttpRequest) -> String {
    if let Some(target) = request.headers().get("x-amz-target") {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    if let Some(operation) = path(request).strip_prefix(BATCH) {
        return operation.to_owned();
    }
    let query = request.uri().split_once('?').map_or("", |(_, query)| query);
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match (request.method(), has("uploadId")) {
        ("POST", false) if has("uploads") => "CreateMultipartUpload".to_owned(),
        ("PUT", true) => "UploadPart".to_owned(),
        ("POST", true) => "CompleteMultipartUpload".to_owned(),
        ("DELETE", true) => "AbortMultipartUpload".to_owned(),
        (method, _) => format!("{method} object"),
    }
}

impl HttpClient for Breakable {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let real = self.real.http_connector(settings, components);
        SharedHttpConnector::new(Breaking { real, of: self.clone() })
    }
}

#[derive(Debug)]
struct Breaking {
    real: SharedHttpConnector,
    of: Breakable,
}

impl HttpConnector for Breaking {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let operation = operation(&request);
        if let Some(batch) = &*self.of.batch.lock().unwrap()
            && path(&request).starts_with(BATCH)
        {
            let elsewhere = format!("{batch}{}", path(&request));
            request.set_uri(elsewhere).unwrap();
        }
        let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        *self.of.counts.lock().unwrap().entry(operation.clone()).or_default() += 1;
        let decide = Arc::clone(&self.of.decide.lock().unwrap());
        let lost = || ConnectorError::timeout("a test lost it".into());
        match decide(&operation, &body) {
            Fate::Made => {
                let (made, time, began) =
                    (self.real.call(request), Arc::clone(&self.of.time), Instant::now());
                HttpConnectorFuture::new(async move {
                    let answered = made.await;
                    *time.lock().unwrap() += began.elapsed();
                    answered
                })
            }
            Fate::Together(barrier) => {
                let real = self.real.clone();
                HttpConnectorFuture::new(async move {
                    barrier.wait().await;
                    real.call(request).await
                })
            }
            Fate::NotSent => HttpConnectorFuture::ready(Err(ConnectorError::io("a test broke it".into()))),
            Fate::Answered(status, body) => {
                let status = status.try_into().unwrap();
                HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
            }
            Fate::AnswerLost => {
                let made = self.real.call(request);
                HttpConnectorFuture::new(async move {
                    let _ = made.await;
                    Err(lost())
                })
            }
        }
    }
}
