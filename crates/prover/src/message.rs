//! The messages of the `stream` protocol: one JSON object on each line.
//!
//! The runner writes a [`Request`] and reads [`Response`]s: any number of lines with progress or a checkpoint, then one line
//! with `ok` or `error`. Meanwhile it may write a [`Notice`], which is not answered. Every object may have fields that its reader does not know; they are ignored, so that either side can be
//! newer. Binary values are lower-case hexadecimal without a prefix; paths are absolute.

use std::collections::BTreeMap;
use std::io;
use std::path::{PathBuf, absolute};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most bytes that a `ProveOk`'s `fields` may have, names and values together.
pub const FIELDS_BYTES: usize = 1024;

/// The most bytes that public values may have: an entry of the out log holds those of up to 16 proofs, and DynamoDB
/// takes 400 KB an item. A program that has more to say commits to its hash.
pub const PUBLIC_VALUES_BYTES: usize = 8 << 10;

/// The most bytes that a verification key may have. A longer one is named by its hash.
pub const VERIFICATION_KEY_BYTES: usize = 4 << 10;

/// The longest name of a proof system; ASCII without blanks.
pub const PROOF_SYSTEM_BYTES: usize = 64;

/// The most bytes that a checkpoint may have. It is stored with the task's state.
pub const CHECKPOINT_BYTES: usize = 4 << 10;

/// A line to a prover that it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the runner; every response to this request repeats it.
    pub id: String,
    /// The verb, and what goes with it.
    #[serde(flatten)]
    pub call: Call,
}

/// A line to a prover that it does not answer: it is about the request in work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The id of the request that it is about.
    pub id: String,
    /// The verb, and what goes with it.
    #[serde(flatten)]
    pub news: News,
}

/// What a prover hears about the request in work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum News {
    /// The earliest checkpoint of this request that was not confirmed yet is kept.
    Checkpointed,
    /// Its work is no longer wanted here. Only a prover whose [`SetupOk::cancel`] says so hears of it.
    Cancel {
        /// Why.
        reason: CancelReason,
    },
}

/// Why work is no longer wanted here, which decides what becomes of what the prover has started elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelReason {
    /// The lease was lost, and another worker may work on the task and have resumed it. A remote job is left alone.
    Lost,
    /// Nobody needs the result: the block left the chain, a quorum was reached, or the task is over. A remote job is
    /// cancelled.
    Unwanted,
    /// The worker ends, and the task is tried again elsewhere. A remote job goes on, for the next attempt to take up. So
    /// it is for a reason that this version does not know.
    #[serde(other)]
    Stopping,
}

impl std::fmt::Display for CancelReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            CancelReason::Lost => "lost",
            CancelReason::Unwanted => "unwanted",
            CancelReason::Stopping => "stopping",
        })
    }
}

/// What a prover is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Call {
    /// Load keys and programs.
    Setup(SetupRequest),
    /// Prove one task.
    Prove(ProveRequest),
    /// Check a proof.
    Verify(VerifyRequest),
}

/// Load keys and programs. Sent once for each process, before anything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetupRequest {
    /// The GPUs of this slot, as the host numbers them. `CUDA_VISIBLE_DEVICES` names the same ones, so CUDA itself
    /// numbers them from 0.
    #[serde(default)]
    pub gpus: Vec<u32>,
    /// What the pipeline file says for this prover.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// Prove one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProveRequest {
    /// The task's id: the same for each attempt.
    pub task: String,
    /// Which attempt at the task this is, from 1.
    pub attempt: u32,
    /// In the order in which the stage gathers them: one, or all members of the group or cut.
    pub inputs: Vec<Input>,
    /// An existing, empty folder for this attempt alone. All output goes here.
    pub output_dir: PathBuf,
    /// As in [`SetupRequest`].
    #[serde(default)]
    pub gpus: Vec<u32>,
    /// In milliseconds from when the request is sent; afterwards the prover is killed.
    pub deadline_ms: u64,
    /// The last checkpoint that was kept of an earlier attempt at this task, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
}

/// Check a proof, and read its public values out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// The proof's file. It must not be changed.
    pub proof: PathBuf,
    /// The key that the pipeline pins, else the one that the prover named. Where none is pinned a verifier must know
    /// which keys it accepts: a true proof of another program is no proof of this one.
    pub verification_key: Option<String>,
    /// The same inputs that `prove` had. A proof that is not about them must be refused.
    pub inputs: Vec<Input>,
    /// An existing folder for anything temporary.
    pub output_dir: PathBuf,
}

impl ProveRequest {
    /// With absolute paths, so that they hold wherever the prover runs.
    pub(crate) fn with_absolute_paths(&self) -> io::Result<ProveRequest> {
        let (inputs, output_dir) = (absolute_inputs(&self.inputs)?, absolute(&self.output_dir)?);
        Ok(ProveRequest { inputs, output_dir, ..self.clone() })
    }
}

impl VerifyRequest {
    /// As [`ProveRequest::with_absolute_paths`].
    pub(crate) fn with_absolute_paths(&self) -> io::Result<VerifyRequest> {
        let (inputs, output_dir) = (absolute_inputs(&self.inputs)?, absolute(&self.output_dir)?);
        Ok(VerifyRequest { proof: absolute(&self.proof)?, inputs, output_dir, ..self.clone() })
    }
}

fn absolute_inputs(inputs: &[Input]) -> io::Result<Vec<Input>> {
    inputs.iter().map(|input| Ok(Input { path: absolute(&input.path)?, ..input.clone() })).collect()
}

/// One thing that a task works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What the file is.
    pub kind: InputKind,
    /// The file that holds it. It must not be changed.
    pub path: PathBuf,
    /// Which element is meant: of a block, the segment; of a list that an upstream task wrote, the element. None
    /// means the whole file.
    #[serde(default)]
    pub index: Option<u32>,
    /// The stage that wrote it; none for a block.
    #[serde(default)]
    pub stage: Option<String>,
    /// The index of the task that wrote it within its stage and scope; 0 for a block.
    #[serde(default)]
    pub task_index: u32,
    /// Of a proof: what its verifier read from it.
    #[serde(default)]
    pub public_values: Option<String>,
    /// Of a proof: the key under which its verifier accepted it, in hex.
    #[serde(default)]
    pub verification_key: Option<String>,
}

/// What an input's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// A line of a blocks file: the node's block and its segments.
    Block,
    /// A proof that its verifier accepted.
    Proof,
    /// What a stage without a verifier wrote: a partition, a witness.
    Data,
}

/// One line from a prover: progress, a checkpoint, or the one answer (`ok` or `error`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The request's id; none only where the request could not be read.
    pub id: Option<String>,
    /// How much of the work is done, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// What goes with `progress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the task's next attempt is to be given as [`ProveRequest::resume`]; [`CHECKPOINT_BYTES`] at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// A `SetupOk`, `ProveOk` or `VerifyOk`, after the request's verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// Why the request was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// The answer to `setup`, once the prover's keys are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupOk {
    /// In hex, [`VERIFICATION_KEY_BYTES`] at most. Where the pipeline pins a key, another one is refused at once.
    #[serde(default)]
    pub verification_key: Option<String>,
    /// A short name, such as `miden-stark`; [`PROOF_SYSTEM_BYTES`] at most.
    #[serde(default)]
    pub proof_system: Option<String>,
    /// The conjectured security that the prover is set to.
    #[serde(default)]
    pub security_bits: Option<u32>,
    /// Whether soundness rests on secrets that somebody had at a setup, and must have deleted.
    #[serde(default)]
    pub trusted_setup: Option<bool>,
    /// Whether it hears [`News::Cancel`] while it proves, and answers soon after it. One that does not is killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

/// A proof (or data) that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveOk {
    /// The written file, inside the request's `output_dir`.
    pub proof: PathBuf,
    /// In hex, [`VERIFICATION_KEY_BYTES`] at most.
    #[serde(default)]
    pub verification_key: Option<String>,
    /// A short name, such as `miden-stark`; [`PROOF_SYSTEM_BYTES`] at most.
    #[serde(default)]
    pub proof_system: Option<String>,
    /// The conjectured security that the prover was set to.
    #[serde(default)]
    pub security_bits: Option<u32>,
    /// As in `SetupOk`, whose value counts where this is none; likewise `proof_system` and `security_bits`.
    #[serde(default)]
    pub trusted_setup: Option<bool>,
    /// How much was executed, in the prover's own cycles.
    #[serde(default)]
    pub cycles: Option<u64>,
    /// In hex, [`PUBLIC_VALUES_BYTES`] at most. A claim only: Proofyard uses what the verifier reads from the proof.
    #[serde(default)]
    pub public_values: Option<String>,
    /// Set where the file is a JSON list that a later stage splits over.
    #[serde(default)]
    pub list: Option<List>,
    /// Values that a `match` stage groups by; [`FIELDS_BYTES`] at most.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// The output file is a JSON list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// How many elements it has.
    pub count: u32,
}

/// The proof holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOk {
    /// What the verifier read from the proof, in hex; [`PUBLIC_VALUES_BYTES`] at most.
    pub public_values: String,
    /// Which proof system's verifier it was. A proof that its prover calls one of another system is refused.
    #[serde(default)]
    pub proof_system: Option<String>,
}

impl VerifyOk {
    /// Of the proof system that `setup` named.
    pub fn new(public_values: impl Into<String>) -> Self {
        Self { public_values: public_values.into(), proof_system: None }
    }
}

/// The prover has failed, or refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind} error: {message}")]
pub struct Failure {
    /// What it means for the task's next attempts.
    pub kind: FailureKind,
    /// For people: what failed, and why.
    pub message: String,
}

/// What a failure means for the task's next attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The same inputs fail on every worker: retrying does not help.
    Permanent,
    /// Another try may succeed.
    Transient,
    /// Not now: nothing was tried, since something that the prover needs for every task is not available, such as a service
    /// that is down. It uses up no attempts, and is retried for a long time.
    Unavailable,
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            FailureKind::Permanent => "permanent",
            FailureKind::Transient => "transient",
            FailureKind::Unavailable => "unavailable",
        })
    }
}

impl Failure {
    /// See [`FailureKind::Permanent`].
    pub fn permanent(message: impl ToString) -> Failure {
        Failure { kind: FailureKind::Permanent, message: message.to_string() }
    }

    /// See [`FailureKind::Transient`].
    pub fn transient(message: impl ToString) -> Failure {
        Failure { kind: FailureKind::Transient, message: message.to_string() }
    }

    /// See [`FailureKind::Unavailable`].
    pub fn unavailable(message: impl ToString) -> Failure {
        Failure { kind: FailureKind::Unavailable, message: message.to_string() }
    }
}

/// An input or output error is this machine's fault, not the task's.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::transient(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented lines are read, and unknown fields are ignored.
    #[test]
    fn documented_requests_are_read() {
        let prove: Request = serde_json::from_str(
            r#"{"id":"8","verb":"prove","task":"t","attempt":1,"inputs":[{"kind":"block","path":"/b","index":3,
            "stage":null,"task_index":0,"public_values":null,"verification_key":null,"new":1}],"output_dir":"/o",
            "gpus":[0],"deadline_ms":60000,"newer":{}}"#,
        )
        .unwrap();
        let Call::Prove(request) = prove.call else { panic!("{prove:?}") };
        assert_eq!(request.inputs[0].index, Some(3));
        let setup: Request = serde_json::from_str(r#"{"id":"7","verb":"setup"}"#).unwrap();
        assert_eq!(setup.call, Call::Setup(SetupRequest::default()));
        assert!(serde_json::from_str::<Request>(r#"{"id":"7","verb":"dance"}"#).is_err());
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let request = Request {
            id: "9".into(),
            call: Call::Verify(VerifyRequest {
                proof: "/p".into(),
                verification_key: None,
                inputs: vec![],
                output_dir: "/o".into(),
            }),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert!(line.contains(r#""verb":"verify""#), "{line}");
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        let response =
            Response { id: Some("9".into()), error: Some(Failure::permanent("no")), ..Default::default() };
        let line = serde_json::to_string(&response).unwrap();
        assert_eq!(line, r#"{"id":"9","error":{"kind":"permanent","message":"no"}}"#);
        assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
    }
}
