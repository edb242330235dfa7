//! The judge: verifies once more what is to be handed on, where workers are not believed.
//!
//! A worker that only records says itself that a verifier accepted its proof. The judge works under a credential of its
//! own, takes from the task no more than what is to be looked at, and all else (pipeline, prover, pinned key, block) from
//! what no worker writes. Its word is a [`Judgement`], which only it may write; without one that is about exactly what the
//! task says, nothing is handed on (`advance/handed_on.rs`). It is woken by a task's name, and told nothing that it
//! believes; whoever finds a judgement missing wakes it again.

use crate::advance::handed_on_by;
use crate::committed::CommittedProof;
use crate::error::{Error, Refusal};
pub use crate::pipeline::JUDGE_POOL;
use crate::port::Wake;
use crate::record::{FailureKind, accepted};
use crate::state::{Judgement, OutProof, Scope, Task, TaskId, TaskResult};
use crate::transaction::{read, transact};
use crate::work::AttemptError;
use crate::yard::Yard;

/// What a verifier says no to is asked of it once more: its machine may have been in trouble.
const ASKED: usize = 2;

/// How a home has proofs verified for its judge, by processes that prove nothing.
pub trait Verifies {
    /// The public values that are in the proof, in hex; `None` where the pipeline names no verifier and the artifact is
    /// whole.
    fn verify(
        &mut self,
        proof: &CommittedProof,
    ) -> impl Future<Output = Result<Option<String>, AttemptError>>;
}

/// What became of a word to the judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Stands,
    Refused(String),
    /// It has been judged before.
    Before,
    /// Nothing is there that would be handed on.
    Nothing,
    /// Nothing could be said of it now; it is to be asked again.
    Later(String),
}

impl Yard {
    /// Looks at what a task says was accepted, and writes down whether it stands.
    pub async fn judge<V: Verifies>(
        &self,
        verifier: &mut V,
        judge: &str,
        id: &TaskId,
    ) -> Result<Judged, Error> {
        let task: Option<Task> = read(&self.port, &id.task_key()).await?;
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&id.scope)).await?;
        let (Some(task), Some(scope)) = (task, scope) else { return Ok(Judged::Nothing) };
        let Some(result) = task.accepted().cloned() else { return Ok(Judged::Nothing) };
        let pipeline = self.pipeline_of(&scope).await?;
        if !handed_on_by(&pipeline, &scope, &id.stage) || id.index > 0 {
            return Ok(Judged::Nothing);
        }
        if read::<Judgement>(&self.port, &Judgement::key_of(id)).await?.is_some() {
            self.port.send(&[Wake::Scope { scope: id.scope.clone() }]).await;
            return Ok(Judged::Before);
        }
        let refused = match accepted(&pipeline, &scope, id, Some(&task)) {
            Err(wrong) => Some(wrong.to_string()),
            Ok(_) => match self.look_at(verifier, &scope, &task, &result).await? {
                Look::Stands => None,
                Look::Refused(reason) => Some(reason),
                Look::Later(reason) => return Ok(Judged::Later(reason)),
            },
        };
        let judgement = Judgement {
            id: id.clone(),
            artifact: result.artifact,
            public_values: result.public_values,
            verification_key: result.verification_key,
            proof_system: result.proof_system,
            worker: result.worker,
            refused: refused.clone(),
            judge: judge.to_owned(),
            at_ms: self.port.now_ms(),
        };
        let is_new = transact(&self.port, async |tx| {
            tx.durable();
            tx.send(Wake::Scope { scope: id.scope.clone() });
            let known: Option<Judgement> = tx.check(&Judgement::key_of(id)).await?;
            match known {
                Some(known) => Ok(known == judgement),
                None => tx.put(&judgement).map(|()| true),
            }
        })
        .await?;
        Ok(match refused {
            _ if !is_new => Judged::Before,
            None => Judged::Stands,
            Some(reason) => Judged::Refused(reason),
        })
    }

    async fn look_at<V: Verifies>(
        &self,
        verifier: &mut V,
        scope: &Scope,
        task: &Task,
        result: &TaskResult,
    ) -> Result<Look, Error> {
        let id = task.id();
        let unknown = || Refusal::UnknownTask(id.to_string());
        let pipeline = self.pipeline_of(scope).await?;
        let (index, stage) = pipeline.stage(&id.stage).ok_or_else(unknown)?;
        let prover_name = stage.prover_at(scope.heights().0).ok_or_else(unknown)?.to_owned();
        let proof = OutProof {
            stage: id.stage.clone(),
            index: id.index,
            artifact: result.artifact.clone(),
            public_values: result.public_values.clone(),
            verification_key: result.verification_key.clone(),
            proof_system: result.proof_system.clone(),
        };
        let inputs = self.inputs(&pipeline, id).await?;
        let task = task.as_of(scope);
        let proof = CommittedProof { task, proof, pipeline, stage: index, prover_name, inputs };
        let mut refused = String::new();
        for _ in 0..ASKED {
            match verifier.verify(&proof).await {
                Ok(None) => return Ok(Look::Stands),
                Ok(Some(found)) if Some(&found) == result.public_values.as_ref() => return Ok(Look::Stands),
                Ok(Some(found)) => {
                    let recorded = result.public_values.as_deref().unwrap_or("none");
                    return Ok(Look::Refused(format!(
                        "its proof has public values {found}, and those recorded are {recorded}"
                    )));
                }
                Err(AttemptError::Failed { kind, message, .. }) => match kind {
                    FailureKind::Unavailable | FailureKind::Waits { .. } | FailureKind::Crash => {
                        return Ok(Look::Later(message));
                    }
                    _ => refused = message,
                },
                Err(AttemptError::HostFault { message }) => return Ok(Look::Later(message)),
                Err(AttemptError::Cancelled) => return Ok(Look::Later("the judge must go".to_owned())),
            }
        }
        Ok(Look::Refused(refused))
    }
}

enum Look {
    Stands,
    Refused(String),
    Later(String),
}
