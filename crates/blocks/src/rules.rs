//! What a pipeline asks of its blocks: how headers are checked, which fields its cuts need, whether blocks must name
//! segments.

use proofyard_core::pipeline::{Header, Pipeline, Source};
use proofyard_core::strategy::sequential::number;

use crate::RecordedBlock;
use crate::fault::Fault;

/// By default as for a chain of Ethereum's headers, whose pipeline needs no fields and no segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub header: Header,
    /// Fields of the node's JSON that are kept beside the block, each with the stage that asks for it.
    pub wanted: Vec<Wanted>,
    /// The stage that splits a block into the segments that it names.
    pub splits: Option<String>,
}

/// A field by which cuts close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub field: String,
    pub stage: String,
    /// It is summed, so it must be a number.
    pub is_number: bool,
}

impl Rules {
    pub fn of(pipeline: &Pipeline) -> Self {
        let mut wanted = Vec::new();
        for (_, stage, rule) in pipeline.cut_stages() {
            let summed = rule.budget.as_ref().map(|budget| (&budget.field, true));
            let compared = rule.cut_on.as_ref().map(|field| (field, false));
            wanted.extend(summed.into_iter().chain(compared).map(|(field, is_number)| Wanted {
                field: field.clone(),
                stage: stage.name.clone(),
                is_number,
            }));
        }
        let splits = pipeline
            .stages
            .iter()
            .find(|stage| stage.splits() && stage.from.iter().all(|source| *source == Source::Block));
        Self { header: pipeline.chain.header, wanted, splits: splits.map(|stage| stage.name.clone()) }
    }

    /// For whoever only reads blocks, and asks nothing of them.
    pub fn lenient() -> Self {
        Self { header: Header::Trusted, ..Self::default() }
    }

    /// The names of the fields that are kept.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().map(|wanted| wanted.field.as_str())
    }

    /// A block without segments will do.
    pub(crate) fn check_may_be_whole(&self, height: u64) -> Result<(), Fault> {
        match &self.splits {
            None => Ok(()),
            Some(stage) => Err(Fault::NoSegments { height, stage: stage.clone() }),
        }
    }

    /// The block has every field that cuts need: a cut that lacks one of them would never close.
    pub(crate) fn check_fields(&self, block: &RecordedBlock) -> Result<(), Fault> {
        let height = block.height;
        for Wanted { field, stage, is_number } in &self.wanted {
            let (field, stage) = (field.clone(), stage.clone());
            match block.fields.get(&field) {
                None => return Err(Fault::NoField { height, field, stage }),
                Some(value) if *is_number && number(value).is_none() => {
                    return Err(Fault::NoNumber { height, field, stage, value: value.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
