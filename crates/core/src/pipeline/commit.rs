//! Which stage commits, which stages have an out log, and what cuts ask of the chain.

use super::graph::{Graph, Scope, report_unknown, shown_list};
use super::mistake::Mistakes;
use super::reader::{At, Read, shown};
use super::stage_table::{Kind, RawStage};
use super::tables::File;
use super::{Late, Output};

/// Stages numbered in file order.
pub(super) struct Commit {
    pub stage: usize,
    /// The commit stage, and the last stage of each cut of committed blocks.
    pub out_logs: Vec<usize>,
}

/// `None` where a mistake hides which stage commits.
pub(super) fn settle(
    file: &File,
    graph: &Graph,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) -> Option<Commit> {
    let chain = file.chain.as_ref()?;
    let sequential = file.stages.iter().find(|stage| stage.kind == Some(Kind::Sequential));
    if let (Some(Late::Miss { .. }), Some(stage)) = (chain.late, sequential) {
        let message = format!("`late = \"miss\"`, but \"{}\" makes cuts of blocks", shown(&stage.name));
        mistakes.add(chain.late_at, message, "late = \"wait\": a cut has no holes");
    }
    let stage = match &chain.commit {
        Read::Bad => return None,
        Read::Is(named) => named_stage(named, &file.stages, mistakes)?,
        Read::Absent => default_stage(file, graph, chain.at, mistakes, warnings)?,
    };
    if let Scope::Cut(by) = graph.scopes[stage] {
        check_window(&chain.window, stage, by, &file.stages, mistakes);
    }
    if !graph.sound {
        return None;
    }
    let ends = (0..file.stages.len()).filter(|index| graph.scopes[*index] == Scope::Cut(*index));
    let ends = ends.filter(|cut| graph.scopes[stage] != Scope::Cut(*cut));
    let ends: Vec<Option<usize>> = ends.map(|cut| end_of_cut(cut, &file.stages, graph, mistakes)).collect();
    let ends: Option<Vec<usize>> = ends.into_iter().collect();
    Some(Commit { stage, out_logs: [vec![stage], ends?].concat() })
}

fn named_stage(named: &At<String>, stages: &[RawStage], mistakes: &mut Mistakes) -> Option<usize> {
    let Some(index) = stages.iter().position(|stage| stage.name == named.value) else {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        report_unknown("stage", &named.value, named.at, &names, mistakes);
        return None;
    };
    if let Some(why_not) = gives_no_single_proof(&stages[index]) {
        let message = format!("\"{}\" cannot commit: {why_not}", shown(&named.value));
        mistakes.add(named.at, message, "name a stage that gives one proof for a block, or for a cut");
        return None;
    }
    Some(index)
}

fn gives_no_single_proof(stage: &RawStage) -> Option<&'static str> {
    match (stage.kind, &stage.output) {
        (Some(Kind::Split), _) => Some("a split gives more than one output"),
        (_, Read::Is(At { value: Output::Data, .. })) => Some("it gives data, not a proof"),
        _ => None,
    }
}

/// The last stage that gives one proof for a block.
fn default_stage(
    file: &File,
    graph: &Graph,
    chain_at: usize,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) -> Option<usize> {
    if !graph.sound || file.stages.iter().any(|stage| matches!(stage.output, Read::Bad)) {
        return None;
    }
    let gives_one = |index: &usize| {
        graph.scopes[*index] == Scope::Block && gives_no_single_proof(&file.stages[*index]).is_none()
    };
    let candidates: Vec<usize> = graph.order.iter().copied().filter(gives_one).collect();
    let Some((last, others)) = candidates.split_last() else {
        let cut = file.stages.iter().find(|stage| stage.kind == Some(Kind::Sequential));
        let help = match cut {
            Some(cut) => {
                format!("a pipeline of ranges names its commit stage: commit = \"{}\"", shown(&cut.name))
            }
            None => "a match stage that joins a block's outputs into one proof".to_string(),
        };
        mistakes.add(chain_at, "no stage gives one proof for a block, so none can commit it", help);
        return None;
    };
    let beside: Vec<usize> = others.iter().copied().filter(|other| !graph.precedes(*other, *last)).collect();
    if !beside.is_empty() {
        let names: Vec<&str> =
            beside.iter().chain([last]).map(|index| file.stages[*index].name.as_str()).collect();
        let message = format!("each of {} could commit a block; the last one does", shown_list(&names, ", "));
        warnings.add(
            chain_at,
            message,
            format!("say which: commit = \"{}\"", shown(&file.stages[*last].name)),
        );
    }
    Some(*last)
}

fn check_window(window: &Read<u64>, stage: usize, by: usize, stages: &[RawStage], mistakes: &mut Mistakes) {
    let (Read::Is(window), Read::Is(size)) = (window, &stages[by].size) else { return };
    if size.value > window.value {
        let message = format!(
            "window {} is smaller than what the commit stage \"{}\" gathers: {} blocks",
            window.value,
            shown(&stages[stage].name),
            size.value,
        );
        let help = format!(
            "a window of at least {}, or a `size` of at most {} in [stage.{}]",
            size.value,
            window.value,
            shown(&stages[by].name),
        );
        mistakes.add(window.at, message, help);
    }
}

/// The one stage of a cut that no other reads: it goes to the out log.
fn end_of_cut(cut: usize, stages: &[RawStage], graph: &Graph, mistakes: &mut Mistakes) -> Option<usize> {
    let in_cut = graph.order.iter().copied().filter(|index| graph.scopes[*index] == Scope::Cut(cut));
    let ends: Vec<usize> = in_cut.filter(|index| !graph.has_readers(*index)).collect();
    let cut_name = shown(&stages[cut].name);
    match ends.as_slice() {
        [end] => match gives_no_single_proof(&stages[*end]) {
            None => Some(*end),
            Some(why_not) => {
                let name = shown(&stages[*end].name);
                let message = format!("the cuts of \"{cut_name}\" end in \"{name}\": {why_not}");
                mistakes.add(
                    stages[*end].at,
                    message,
                    "end them in a match stage that gives one proof for a cut",
                );
                None
            }
        },
        [_, second, ..] => {
            let names: Vec<&str> = ends.iter().map(|index| stages[*index].name.as_str()).collect();
            let message = format!("the cuts of \"{cut_name}\" end in each of {}", shown_list(&names, ", "));
            mistakes.add(stages[*second].at, message, "end them in one stage, which reads the others");
            None
        }
        [] => None,
    }
}
