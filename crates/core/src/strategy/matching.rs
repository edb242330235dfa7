//! `match`: inputs that agree on named fields; complete when all expected members are there.

use std::collections::BTreeMap;

use super::waits_for::{Depth, Gathered, WaitsFor};
use crate::error::Error;
use crate::pages::KeyPages;
use crate::pipeline::{Pipeline, Source, Stage};
use crate::state::{BlockedBy, Inputs, Plan, Scope, Task, TaskId};
use crate::yard::Yard;

/// The first field on which an output differs from the first one, with both values.
pub fn mismatch<'a>(
    on: &'a [String],
    outputs: &'a [BTreeMap<String, String>],
) -> Option<(&'a str, &'a str, &'a str)> {
    let (first, rest) = outputs.split_first()?;
    let value =
        |fields: &'a BTreeMap<String, String>, name: &str| fields.get(name).map_or("", String::as_str);
    rest.iter().find_map(|fields| {
        let name = on.iter().find(|name| value(fields, name) != value(first, name))?;
        Some((name.as_str(), value(first, name), value(fields, name)))
    })
}

/// One task on the outputs of the stages that it reads, and on the block if it reads that.
pub(super) fn of_outputs(stage: &Stage, of: Vec<(String, u32)>) -> Plan {
    let block = stage.from.contains(&Source::Block);
    Plan { inputs: Inputs::Outputs { block, of }, expected: 1 }
}

impl Yard {
    pub(super) async fn gathered_to_match(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        on: &[String],
        depth: Depth,
    ) -> Result<Gathered, Error> {
        let of = match self.gathered_outputs(scope, pipeline, stage, depth).await? {
            Ok(of) => of,
            Err(waits_for) => return Ok(Err(waits_for)),
        };
        if depth == Depth::Open
            && let Some(differ) = self.disagreement_on(scope, on, &of).await?
        {
            return Ok(Err(WaitsFor::Blocked(differ)));
        }
        Ok(Ok(of_outputs(stage, of)))
    }

    async fn disagreement_on(
        &self,
        scope: &Scope,
        on: &[String],
        of: &[(String, u32)],
    ) -> Result<Option<BlockedBy>, Error> {
        if on.is_empty() {
            return Ok(None);
        }
        let tasks_of = |(stage, count): &(String, u32)| {
            (0..*count).map(|index| TaskId::new(scope.id(), stage, index)).collect::<Vec<_>>()
        };
        let ids: Vec<TaskId> = of.iter().flat_map(tasks_of).collect();
        let mut pages = KeyPages::of(&ids, TaskId::task_key);
        let mut outputs = Vec::new();
        while let Some(page) = pages.next::<Task>(&self.port).await? {
            let tasks = page.into_iter().filter_map(|(_, task)| task);
            outputs.extend(tasks.filter_map(Task::into_accepted).map(|accepted| accepted.fields));
        }
        let differs = mismatch(on, &outputs);
        Ok(differs.map(|(field, one, other)| BlockedBy::InputsDiffer {
            field: field.to_owned(),
            one: one.to_owned(),
            other: other.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(group: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("group".to_owned(), group.to_owned())])
    }

    #[test]
    fn names_the_field_and_both_values() {
        let on = ["group".to_owned()];
        assert_eq!(mismatch(&on, &[fields("a"), fields("a")]), None);
        assert_eq!(mismatch(&on, &[fields("a"), fields("b")]), Some(("group", "a", "b")));
        assert_eq!(mismatch(&on, &[]), None);
    }
}
