//! One call: which it is, what goes to the execution client, what comes back.
//!
//! | call | goes on as | is remembered |
//! | --- | --- | --- |
//! | `engine_newPayloadV5` | `engine_newPayloadWithWitnessV5`; the witness is cut out of the answer | where it is VALID, as a block, with its witness |
//! | `engine_forkchoiceUpdatedV…` | it came | where it is VALID, as what is head, safe and finalized |
//! | `proofyard_witness` | nothing: it is answered here | - |
//! | any other | it came | - |
//!
//! Whatever the answer to the first is but a result, the same is asked for without a witness, and the consensus client gets the
//! answer to that: so it always sees what it would see without this proxy.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use proofyard_core::state::EndpointState;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::cut::{CutError, Cutter};
use crate::keep::{Keeper, Keeping};
use crate::request::method_of;
use crate::shared::{Forkchoice, Shared};
use crate::upstream::{CallError, Upstream, passed_on};
use crate::witness::Witnesses;

const NEW_PAYLOAD: &[u8] = b"engine_newPayloadV5";
const WITH_WITNESS: &[u8] = b"engine_newPayloadWithWitnessV5";
const FORKCHOICE: &[u8] = b"engine_forkchoiceUpdatedV";
const FROM_PROXY: &[u8] = b"proofyard_witness";

/// "Method not found", and "method not enabled": the execution client gives no witnesses, and did nothing of the call.
const NOT_KNOWN: [i64; 2] = [-32_601, -32_604];
/// For how long it is not asked again, unless it goes away meanwhile.
const NOT_KNOWN_FOR: Duration = Duration::from_secs(300);
/// After so many witnesses in a row that did not come, none are asked for, for so long: each costs a slot of time.
const MOST_FAILURES: u32 = 3;
const REST: Duration = Duration::from_secs(60);

/// Bytes of an answer that is looked at: some hundred are usual.
const LOOKED_AT_BYTES: usize = 16 << 20;
/// Of a witness that is handed to a prover, at once.
const PIECE_BYTES: usize = 256 << 10;

pub(crate) type Body = BoxBody<Bytes, BodyError>;
type BodyError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<Body>;

pub(crate) struct Proxy {
    pub upstream: Upstream,
    pub keeper: Keeper,
    pub shared: Arc<Shared>,
    pub body_bytes: usize,
    /// How long a witness may take; `None` where none are asked for.
    pub wait: Option<Duration>,
    pub asking: Mutex<Asking>,
    pub witnesses: Arc<Mutex<Option<Witnesses>>>,
}

/// Whether witnesses are asked for now.
#[derive(Default)]
pub(crate) struct Asking {
    failures: u32,
    not_before: Option<Instant>,
    is_not_known: bool,
}

/// Why a payload's witness did not come.
enum NoWitness {
    NotKnown,
    Other(String),
    /// The call cannot arrive at all.
    Unreachable(CallError),
}

/// What the execution client answered to a call that asked for a witness.
enum Asked {
    /// Its answer to the consensus client, and whether it says VALID.
    Answered(Answer, bool),
    None(NoWitness),
}

#[derive(Deserialize)]
struct Outcome {
    result: Option<Status>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    status: Option<String>,
    payload_status: Option<Box<Status>>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Proxy {
    pub(crate) async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, self.body_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let why = format!("the call has more than `body_bytes`, {}", self.body_bytes);
                return Ok(refused(StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            Err(error) => return Ok(refused(StatusCode::BAD_REQUEST, error.to_string())),
        };
        let Some(method) = method_of(&body) else { return Ok(self.pass(&head, body).await) };
        if &body[method.clone()] == FROM_PROXY {
            return Ok(self.witness(&body).await);
        }
        if &body[method.clone()] == NEW_PAYLOAD {
            // Goes on to its end also where the client leaves: the execution client has the payload by then.
            let name = method.start..method.end;
            let proxy = Arc::clone(&self);
            let task = tokio::spawn(async move { proxy.new_payload(&head, body, name).await });
            return Ok(task
                .await
                .unwrap_or_else(|error| refused(StatusCode::BAD_GATEWAY, error.to_string())));
        }
        if body[method].starts_with(FORKCHOICE) {
            return Ok(self.forkchoice(&head, body).await);
        }
        Ok(self.pass(&head, body).await)
    }

    /// As it came, and back as it comes.
    async fn pass(&self, head: &request::Parts, body: Bytes) -> Answer {
        match self.upstream.call(head, body).await {
            Ok(answer) => {
                // Who shows no token is somebody else.
                if head.headers.contains_key(AUTHORIZATION) {
                    self.answered(answer.status());
                }
                let (parts, body) = answer.into_parts();
                of_parts(parts.status, passed_on(&parts.headers), body.map_err(Into::into).boxed())
            }
            Err(error) => self.no_answer(&error),
        }
    }

    /// The same, read as a whole.
    async fn pass_read(
        &self,
        head: &request::Parts,
        body: Bytes,
    ) -> Result<(Answer, Option<Outcome>), CallError> {
        let answer = self.upstream.call_plainly(head, body).await?;
        self.answered(answer.status());
        let (parts, body) = answer.into_parts();
        let body = self.upstream.body(body, LOOKED_AT_BYTES).await?;
        let outcome = if parts.status == StatusCode::OK { serde_json::from_slice(&body).ok() } else { None };
        Ok((of_parts(parts.status, passed_on(&parts.headers), whole(body)), outcome))
    }

    async fn forkchoice(&self, head: &request::Parts, body: Bytes) -> Answer {
        let (answer, outcome) = match self.pass_read(head, body.clone()).await {
            Ok(answered) => answered,
            Err(error) => return self.no_answer(&error),
        };
        let status = outcome.and_then(|outcome| outcome.result).and_then(|result| result.payload_status);
        if status.is_some_and(|status| status.status.as_deref() == Some("VALID"))
            && let Some(forkchoice) = forkchoice_of(&body)
        {
            self.shared.head_is(forkchoice);
        }
        answer
    }

    async fn new_payload(
        &self,
        head: &request::Parts,
        body: Bytes,
        method: std::ops::Range<usize>,
    ) -> Answer {
        let mut keeping = self.keeper.call(&body);
        if let Some(wait) = self.wait {
            if let Some(why) = self.asking().not_now() {
                self.shared.without_witness(why);
            } else {
                let changed = [&body[..method.start], WITH_WITNESS, &body[method.end..]].concat();
                let asked =
                    timeout(wait, self.ask(head, changed.into(), &mut keeping)).await.unwrap_or_else(|_| {
                        let why =
                            format!("the execution client has not given it after {} ms", wait.as_millis());
                        Asked::None(NoWitness::Other(why))
                    });
                match asked {
                    Asked::Answered(answer, is_valid) => {
                        let status = answer.status();
                        if !refuses_the_token(status) {
                            self.asking().came();
                        }
                        self.answered(status);
                        if is_valid {
                            keeping.valid().await;
                        }
                        return answer;
                    }
                    Asked::None(NoWitness::Unreachable(error)) => return self.no_answer(&error),
                    Asked::None(why) => {
                        keeping.no_witness();
                        let said = self.asking().did_not_come(why);
                        self.shared.without_witness(&said);
                    }
                }
            }
        }
        match self.pass_read(head, body).await {
            Ok((answer, outcome)) => {
                let status = outcome.and_then(|outcome| outcome.result).and_then(|result| result.status);
                if status.as_deref() == Some("VALID") {
                    keeping.valid().await;
                }
                answer
            }
            Err(error) => self.no_answer(&error),
        }
    }

    /// Asks for a payload with its witness, which is kept as it comes.
    async fn ask(&self, head: &request::Parts, body: Bytes, keeping: &mut Keeping) -> Asked {
        let other = |why: String| Asked::None(NoWitness::Other(why));
        let answer = match self.upstream.call_plainly(head, body).await {
            Ok(answer) => answer,
            Err(error @ CallError::Unreachable(_)) => return Asked::None(NoWitness::Unreachable(error)),
            Err(error) => return other(error.to_string()),
        };
        let (parts, mut body) = answer.into_parts();
        let mut headers = passed_on(&parts.headers);
        if refuses_the_token(parts.status) {
            return Asked::Answered(of_parts(parts.status, headers, body.map_err(Into::into).boxed()), false);
        }
        let mut cutter = Cutter::new();
        let (mut pieces, mut has_come) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            let piece = match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => piece,
                Ok(Err(_)) => continue,
                Err(error) => return other(format!("its answer broke off: {error}")),
            };
            if let Err(error) = cutter.push(&piece, |witness| pieces.push(witness)) {
                return other(error.to_string());
            }
            has_come |= !pieces.is_empty();
            for piece in pieces.drain(..) {
                keeping.witness(piece).await;
            }
        }
        let kept = match cutter.finish() {
            Ok(kept) => Bytes::from(kept),
            Err(error @ (CutError::CutOff | CutError::NoObject | CutError::TooLarge)) => {
                return other(error.to_string());
            }
        };
        let Ok(outcome) = serde_json::from_slice::<Outcome>(&kept) else {
            return other("its answer is no JSON-RPC".to_owned());
        };
        match (outcome.error, outcome.result) {
            (Some(error), _) if NOT_KNOWN.contains(&error.code) => Asked::None(NoWitness::NotKnown),
            (Some(RpcError { code, message }), _) => {
                let message: String = message.chars().take(160).collect();
                other(format!("it refused with {code}: {message}"))
            }
            (None, Some(result)) if parts.status == StatusCode::OK => {
                let length = kept.len();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                let is_valid = result.status.as_deref() == Some("VALID");
                if is_valid && !has_come {
                    self.shared.without_witness("the execution client's answer had none");
                }
                Asked::Answered(of_parts(parts.status, headers, whole(kept)), is_valid)
            }
            _ => other(format!("it answered with HTTP status {}", parts.status.as_u16())),
        }
    }

    fn asking(&self) -> std::sync::MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, status: StatusCode) {
        let (state, error) = match refuses_the_token(status) {
            true => {
                let status = status.as_u16();
                let why = format!("it refuses the client's token ({status}): both need the same JWT secret");
                (EndpointState::Wrong, Some(why))
            }
            false => {
                (EndpointState::Followed, self.asking().is_not_known.then(|| NOT_KNOWN_WORDS.to_owned()))
            }
        };
        self.shared.upstream_is(state, error);
    }

    fn no_answer(&self, error: &CallError) -> Answer {
        // Another may stand in its place next time.
        *self.asking() = Asking::default();
        self.shared.upstream_is(EndpointState::Down, Some(error.to_string()));
        let status = match error {
            CallError::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        refused(status, format!("the execution client at {}: {error}", self.upstream.name()))
    }

    /// What came with a payload, for the prover of the stage `witness`.
    async fn witness(&self, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        struct Asked<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
            params: Vec<String>,
        }
        let Ok(Asked { id, params }) = serde_json::from_slice::<Asked<'_>>(body) else {
            return refused(StatusCode::BAD_REQUEST, "its params are the hash of a block".to_owned());
        };
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let hash = params.into_iter().next().unwrap_or_default();
        let of_hash = hash.clone();
        let found =
            tokio::task::spawn_blocking(move || witnesses.map(|witnesses| witnesses.of(&of_hash))).await;
        let why = match found {
            Ok(Some(Ok(Some((file, bytes))))) => {
                let before = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
                let length = before.len() as u64 + bytes + 1;
                let before = std::io::Cursor::new(before.into_bytes());
                let whole = before.chain(tokio::fs::File::from_std(file)).chain(std::io::Cursor::new(b"}"));
                let mut headers = json_headers();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                return of_parts(StatusCode::OK, headers, streamed(whole));
            }
            Ok(Some(Ok(None))) => {
                let told = self.shared.told().why_without;
                let why = told.map_or(String::new(), |why| format!("; the last that did not: {why}"));
                let short: String = hash.chars().take(10).collect();
                format!("no witness of block {short}… came here{why}")
            }
            Ok(Some(Err(error))) => format!("the witness of block {hash} cannot be read: {error}"),
            Ok(None) => return refused(StatusCode::SERVICE_UNAVAILABLE, "it has just begun".to_owned()),
            Err(error) => error.to_string(),
        };
        let answer: Value =
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32_000, "message": why } });
        of_parts(StatusCode::OK, json_headers(), whole(answer.to_string().into()))
    }
}

const NOT_KNOWN_WORDS: &str =
    "it knows no engine_newPayloadWithWitnessV5: payloads come without their witnesses";

impl Asking {
    fn not_now(&mut self) -> Option<&'static str> {
        if self.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Some(match self.is_not_known {
                true => NOT_KNOWN_WORDS,
                false => "it was not asked for: the ones before did not come",
            });
        }
        self.not_before = None;
        None
    }

    fn came(&mut self) {
        *self = Self::default();
    }

    fn did_not_come(&mut self, why: NoWitness) -> String {
        self.is_not_known = matches!(why, NoWitness::NotKnown);
        match why {
            NoWitness::NotKnown => {
                self.not_before = Some(Instant::now() + NOT_KNOWN_FOR);
                NOT_KNOWN_WORDS.to_owned()
            }
            NoWitness::Other(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= MOST_FAILURES {
                    self.not_before = Some(Instant::now() + REST);
                }
                why
            }
            NoWitness::Unreachable(error) => error.to_string(),
        }
    }
}

fn forkchoice_of(body: &[u8]) -> Option<Forkchoice> {
    #[derive(Deserialize)]
    struct Call<'a> {
        #[serde(borrow)]
        params: Vec<&'a RawValue>,
    }
    let call: Call<'_> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(call.params.first()?.get()).ok()
}

fn of_parts(status: StatusCode, headers: HeaderMap, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// The token of the consensus client's call, which this proxy does not look into.
fn refuses_the_token(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// An answer of the proxy's own.
fn refused(status: StatusCode, why: String) -> Answer {
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))]);
    of_parts(status, headers, whole(format!("proofyard: {why}\n").into()))
}

fn streamed(input: impl AsyncRead + Send + Sync + Unpin + 'static) -> Body {
    let pieces = stream::unfold(Some(input), |input| async {
        let mut input = input?;
        let mut piece = vec![0; PIECE_BYTES];
        match input.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Frame::data(Bytes::from(piece))), Some(input)))
            }
            Err(error) => Some((Err(BodyError::from(error)), None)),
        }
    });
    BodyExt::boxed(StreamBody::new(pieces))
}
