//! What a task works on: artifacts, or elements of one, found by what its group says.

use crate::error::{Error, Refusal};
use crate::pages::KeyPages;
use crate::pipeline::{BLOCK, Output, Pipeline};
use crate::port::{Key, Stored};
use crate::state::{ArtifactRef, Group, Inputs, Scope, ScopeId, Task, TaskId};
use crate::strategy::reduce::{Child, Tree};
use crate::transaction::{decode, read};
use crate::yard::Yard;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    Block,
    Proof,
    Data,
}

/// One input of a task: an artifact, or one element of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub kind: InputKind,
    pub artifact: ArtifactRef,
    /// Which element: a block's segment, or one of a list.
    pub index: Option<u32>,
    pub stage: Option<String>,
    pub task_index: u32,
    pub height: u64,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
}

impl Yard {
    /// The inputs of a task, in the order in which its prover gets them.
    pub(crate) async fn inputs(&self, pipeline: &Pipeline, id: &TaskId) -> Result<Vec<Input>, Error> {
        let unknown = || Refusal::UnknownTask(id.to_string());
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&id.scope)).await?;
        let group: Option<Group> = read(&self.port, &Group::key_of(&id.scope, &id.stage)).await?;
        let (scope, group) = scope.zip(group).ok_or_else(unknown)?;
        let height = scope.heights().0;
        let member = |member: u32, stage: &Option<String>| {
            let block =
                scope.cut().and_then(|cut| cut.member_id(scope.chain(), member)).ok_or_else(unknown)?;
            let height = height + u64::from(member);
            Ok::<_, Refusal>(match stage {
                Some(stage) => (Wanted::Output(TaskId::new(&block, stage, 0)), height),
                None => (Wanted::Payload(block), height),
            })
        };
        let mut inputs = Vec::new();
        let mut wanted = Vec::new();
        match group.inputs {
            Inputs::Elements { artifact, of_block, .. } => {
                let kind = if of_block { InputKind::Block } else { InputKind::Data };
                inputs.push(Input { index: Some(id.index), ..whole(kind, artifact, height) });
            }
            Inputs::Outputs { block, of } => {
                inputs.extend(
                    scope
                        .block()
                        .filter(|_| block)
                        .map(|block| whole(InputKind::Block, block.payload.clone(), block.height)),
                );
                for (stage, count) in of {
                    let output = |index| (Wanted::Output(TaskId::new(&id.scope, &stage, index)), height);
                    wanted.extend((0..count).map(output));
                }
            }
            Inputs::Members { stage } => {
                let members = scope.cut().ok_or_else(unknown)?.members.len() as u32;
                for index in 0..members {
                    wanted.push(member(index, &stage)?);
                }
            }
            Inputs::Reduced { stage, members, arity } => {
                for child in Tree::new(members, arity).children(id.index) {
                    wanted.push(match child {
                        Child::Member(index) => member(*index, &stage)?,
                        Child::Task(below) => {
                            (Wanted::Output(TaskId::new(&id.scope, &id.stage, *below)), height)
                        }
                    });
                }
            }
        }
        inputs.extend(self.found(pipeline, &wanted).await?);
        let has_block = inputs.iter().any(|input| input.kind == InputKind::Block);
        if !has_block && names_block(pipeline, id) {
            let payload = self.last_payload(&id.scope).await?.ok_or_else(unknown)?;
            inputs.push(whole(InputKind::Block, payload, scope.heights().1));
        }
        Ok(inputs)
    }

    /// What is wanted, each of a height, read many at a time.
    async fn found(&self, pipeline: &Pipeline, wanted: &[(Wanted, u64)]) -> Result<Vec<Input>, Error> {
        let mut inputs = Vec::with_capacity(wanted.len());
        let mut pages = KeyPages::of(wanted, |(wanted, _)| wanted.key());
        while let Some(page) = pages.next_stored(&self.port).await? {
            for ((wanted, height), key, stored) in page {
                let stored = stored.ok_or_else(|| Refusal::UnknownTask(wanted.to_string()))?;
                inputs.push(wanted.input(pipeline, *height, &key, &stored)?);
            }
        }
        Ok(inputs)
    }
}

/// Whether it calls a contract with something of its block, or of its cut's last one.
fn names_block(pipeline: &Pipeline, id: &TaskId) -> bool {
    let provers = pipeline.stage(&id.stage).into_iter().flat_map(|(_, stage)| &stage.provers);
    let contracts = provers.filter_map(|(_, name)| pipeline.provers.get(name)?.contract.as_ref());
    contracts.into_iter().any(|contract| contract.names(BLOCK))
}

fn whole(kind: InputKind, artifact: ArtifactRef, height: u64) -> Input {
    Input {
        kind,
        artifact,
        index: None,
        stage: None,
        task_index: 0,
        height,
        public_values: None,
        verification_key: None,
    }
}

/// Where an input is to be found.
enum Wanted {
    /// What a task made.
    Output(TaskId),
    /// The payload of the block of this scope.
    Payload(ScopeId),
}

impl Wanted {
    fn key(&self) -> Key {
        match self {
            Self::Output(id) => id.task_key(),
            Self::Payload(block) => Scope::key_of(block),
        }
    }

    fn input(&self, pipeline: &Pipeline, height: u64, key: &Key, stored: &Stored) -> Result<Input, Error> {
        let unknown = || Refusal::UnknownTask(self.to_string());
        let id = match self {
            Self::Output(id) => id,
            Self::Payload(_) => {
                let scope: Scope = decode(key, stored)?;
                let payload = scope.block().map(|block| block.payload.clone()).ok_or_else(unknown)?;
                return Ok(whole(InputKind::Block, payload, height));
            }
        };
        let accepted = decode::<Task>(key, stored)?.into_accepted().ok_or_else(unknown)?;
        let output = pipeline.stage(&id.stage).map(|(_, stage)| stage.output);
        let kind = if output == Some(Output::Data) { InputKind::Data } else { InputKind::Proof };
        Ok(Input {
            stage: Some(id.stage.clone()),
            task_index: id.index,
            public_values: accepted.public_values,
            verification_key: accepted.verification_key,
            ..whole(kind, accepted.artifact, height)
        })
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Output(id) => id.fmt(f),
            Self::Payload(block) => block.fmt(f),
        }
    }
}
