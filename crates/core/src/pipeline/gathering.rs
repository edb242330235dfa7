//! The rules of one stage: whether it has what its tasks need to run, and whether what it reads fits its strategy.

use super::graph::{Graph, Scope};
use super::mistake::Mistakes;
use super::reader::{At, Read, shown};
use super::stage_table::{Kind, RawStage};
use super::{MAX_QUORUM_MEMBERS, Output, Source};

pub(super) fn check_runs(stage: &RawStage, mistakes: &mut Mistakes) {
    let place = format!("[stage.{}]", shown(&stage.name));
    if stage.provers.is_absent() {
        let help = "prover = \"a\", the name of a prover; only a match stage with `need` does without";
        mistakes.add(stage.at, format!("`prover` is missing in {place}"), help);
    }
    if stage.pool.is_absent() {
        mistakes.add(
            stage.at,
            format!("`pool` is missing in {place}"),
            "pool = \"cpu\", where its tasks run",
        );
    }
}

pub(super) fn check_runs_nothing(stage: &RawStage, mistakes: &mut Mistakes) {
    let only = "a stage with `need` and no `prover` only decides";
    if let Read::Is(pool) = &stage.pool {
        mistakes.add(
            pool.key_at,
            "`pool` without `prover`",
            format!("{only}: take it out, or name a prover"),
        );
    }
    if let Some(key) = &stage.limit_key {
        let message = format!("`{}` without `prover`", key.value);
        mistakes.add(key.key_at, message, format!("{only} and has no tasks: take it out, or name a prover"));
    }
    if let Read::Is(output @ At { value: Output::Data, .. }) = &stage.output {
        let help = format!("{only}: what it gives is the proof that was agreed on");
        mistakes.add(output.at, "`output` is \"data\" without `prover`", help);
    }
}

/// Whether what a stage reads fits its strategy.
pub(super) fn check_gathering(
    index: usize,
    stages: &[RawStage],
    graph: &Graph,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    let stage = &stages[index];
    let Read::Is(from) = &stage.from else { return };
    let name = shown(&stage.name);
    match stage.kind {
        Some(kind @ (Kind::Split | Kind::Sequential)) if from.value.len() != 1 => {
            let message = format!("\"{name}\" reads {} sources", from.value.len());
            let help = format!("a {} stage reads one; a match stage in between can gather them", kind.word());
            mistakes.add(from.at, message, help);
        }
        Some(Kind::Split) => check_split(&name, stages, graph, index, mistakes, warnings),
        Some(Kind::Sequential) => check_sequential(&name, stages, graph, index, mistakes),
        Some(Kind::Match) => check_quorum(stage, from, stages, graph, index, mistakes, warnings),
        None => {}
    }
}

fn check_split(
    name: &str,
    stages: &[RawStage],
    graph: &Graph,
    index: usize,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    for link in &graph.links[index] {
        let Source::Stage(source) = link.source else { continue };
        let source = &stages[source];
        let source_name = shown(&source.name);
        let help = "split \"block\", or a list that the one task of a match stage wrote";
        if source.kind == Some(Kind::Split) {
            mistakes.add(
                link.at,
                format!("\"{name}\" splits \"{source_name}\", which has more than one task"),
                help,
            );
        } else if source.only_decides() {
            mistakes.add(link.at, format!("\"{name}\" splits \"{source_name}\", which runs nothing"), help);
        } else if matches!(source.output, Read::Absent | Read::Is(At { value: Output::Proof, .. })) {
            let help = format!("if \"{source_name}\" writes a list and no proof, it needs output = \"data\"");
            warnings.add(link.at, format!("\"{name}\" splits what \"{source_name}\" proves"), help);
        }
    }
}

fn check_sequential(name: &str, stages: &[RawStage], graph: &Graph, index: usize, mistakes: &mut Mistakes) {
    for link in &graph.links[index] {
        let Source::Stage(source) = link.source else { continue };
        let source_name = shown(&stages[source].name);
        if let Scope::Cut(_) = graph.scopes[source] {
            let message = format!("\"{name}\" makes cuts of \"{source_name}\", which works on cuts already");
            let help =
                "cuts of cuts are not in this version: read \"block\" or a match stage that works on a block";
            mistakes.add(link.at, message, help);
        } else if stages[source].kind == Some(Kind::Split) {
            let message =
                format!("\"{name}\" reads \"{source_name}\", which gives more than one output for a block");
            mistakes.add(link.at, message, "read \"block\", or a match stage that joins a block's outputs");
        } else if stages[source].only_decides() {
            let message = format!("\"{name}\" reads \"{source_name}\", which runs nothing");
            let help =
                "read \"block\", or a match stage with a prover that makes one proof of those that agree";
            mistakes.add(link.at, message, help);
        }
    }
}

fn check_quorum(
    stage: &RawStage,
    from: &At<Vec<At<String>>>,
    stages: &[RawStage],
    graph: &Graph,
    index: usize,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    if stage.need.is_absent() {
        return;
    }
    let members = from.value.len();
    if !(2..=MAX_QUORUM_MEMBERS).contains(&members) {
        let message = format!("a quorum of {members}");
        mistakes.add(
            from.at,
            message,
            format!("`from` lists 2 to {MAX_QUORUM_MEMBERS} stages where `need` is set"),
        );
    } else if let Read::Is(need) = &stage.need {
        if need.value > members as u64 {
            let message = format!("`need` is {}, but there are {members} members", need.value);
            mistakes.add(need.at, message, format!("from 1 to {members}"));
        } else if need.value <= members as u64 / 2 {
            let message = format!("`need` is {} of {members}: two values could each have enough", need.value);
            let help = format!("{} or more, or the value that is proved first wins", members / 2 + 1);
            warnings.add(need.at, message, help);
        }
    }
    for link in &graph.links[index] {
        let why_not = match link.source {
            Source::Block => Some("\"block\" proves nothing".to_string()),
            Source::Stage(member) => cannot_vote(&stages[member]),
        };
        if let Some(why_not) = why_not {
            mistakes.add(
                link.at,
                format!("in a quorum {why_not}"),
                "its members are stages with one task that gives a proof",
            );
        }
    }
}

fn cannot_vote(member: &RawStage) -> Option<String> {
    let name = shown(&member.name);
    match (member.kind, &member.output) {
        (Some(Kind::Split), _) => Some(format!("\"{name}\" has more than one task")),
        _ if member.reduces() => Some(format!("\"{name}\" has more than one task: it has an `arity`")),
        _ if member.only_decides() => Some(format!("\"{name}\" has no task: it only decides")),
        (_, Read::Is(At { value: Output::Data, .. })) => Some(format!("\"{name}\" gives data")),
        _ => None,
    }
}
