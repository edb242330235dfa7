//! The rules of sinks: that each has something to be notified of, and something that can be done with it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::beacon_table::check_proof_types;
use super::commit::Commit;
use super::contract::Contract;
use super::graph::{Graph, Scope, report_unknown, shown_list};
use super::mistake::Mistakes;
use super::reader::{At, Read, shown};
use super::sink_table::RawSink;
use super::tables::{File, Named};
use super::{Confirm, SinkTarget};

pub(super) fn check_sinks(
    file: &File,
    graph: &Graph,
    commit: Option<&Commit>,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    check_files(&file.sinks, mistakes);
    for named in &file.sinks {
        let Named { at, value: sink, .. } = named;
        if !check_blocks(named, graph, commit, mistakes)
            && let Some(commit) = commit
        {
            check_proof_types(named, file, graph, commit, mistakes, warnings);
        }
        if let Some(SinkTarget::Contract(contract)) = &sink.target {
            check_results(*at, sink, contract, file, graph, commit, mistakes);
        }
        check_confirm(sink, file, mistakes);
        check_log(sink, file, commit, mistakes);
    }
}

/// No two write one file, however its path is written.
fn check_files(sinks: &[Named<RawSink>], mistakes: &mut Mistakes) {
    let mut files = BTreeSet::new();
    for Named { at, value: sink, .. } in sinks {
        let Some(SinkTarget::File { path }) = &sink.target else { continue };
        let parts = Path::new(path).components().filter(|part| *part != Component::CurDir);
        if !files.insert(parts.collect::<PathBuf>()) {
            mistakes.add(*at, "two sinks write one file", "give each a `file` of its own");
        }
    }
}

/// Who is notified of each block's own proof needs one; says whether there is none.
fn check_blocks(
    Named { at, value: sink, .. }: &Named<RawSink>,
    graph: &Graph,
    commit: Option<&Commit>,
    mistakes: &mut Mistakes,
) -> bool {
    let by_cuts = commit.is_some_and(|commit| graph.scopes[commit.stage] != Scope::Block);
    let of_blocks = match &sink.target {
        Some(SinkTarget::Ethproofs(_)) => Some("`ethproofs` reports"),
        Some(SinkTarget::Beacon(_)) => Some("`beacon` hands in"),
        _ => None,
    };
    let Some(does) = of_blocks.filter(|_| by_cuts) else { return false };
    let message = format!("{does} each block's own proof, and blocks are committed by cuts here");
    mistakes.add(*at, message, "have a stage prove each block, and commit by it");
    true
}

/// What a call takes of other calls is there, and of the same blocks or cuts.
fn check_results(
    at: usize,
    sink: &RawSink,
    contract: &Contract,
    file: &File,
    graph: &Graph,
    commit: Option<&Commit>,
    mistakes: &mut Mistakes,
) {
    let acts = |name: &String| file.stages.iter().any(|stage| stage.name == *name && stage.action.is_some());
    for unknown in contract.results().iter().filter(|name| !acts(name)) {
        let message = format!("no stage \"{}\" has an action", shown(unknown));
        let help = "{results.STAGE} stands for what a stage with action = \"contract\" came to";
        mistakes.add(at, message, help);
    }
    let own = match &sink.stage {
        Read::Is(stage) => file.stages.iter().position(|other| other.name == stage.value),
        _ => commit.map(|commit| commit.stage),
    };
    let Some(own) = own else { return };
    for name in contract.results().iter().filter(|name| acts(name)) {
        let theirs = file.stages.iter().position(|other| other.name == *name);
        if theirs.map(|stage| graph.scopes[stage]) != Some(graph.scopes[own]) {
            let message =
                format!("\"{}\" works on other blocks or cuts than this sink is told of", shown(name));
            let help = "name the stage whose log it follows, `stage = \"...\"`, of the same cuts";
            mistakes.add(at, message, help);
        }
    }
}

/// Somebody says which blocks are final, where a sink waits for that.
fn check_confirm(sink: &RawSink, file: &File, mistakes: &mut Mistakes) {
    if let Read::Is(At { value: Confirm::Safe | Confirm::Finalized, at, .. }) = &sink.confirm
        && file.sources.is_empty()
    {
        let message = "nobody says here which blocks are safe or finalized";
        let help = "a followed node does, [source.node], or a consensus client, [source.engine]; else it is \"latest\"";
        mistakes.add(*at, message, help);
    }
}

/// The stage that a sink names is there, and has an out log.
fn check_log(sink: &RawSink, file: &File, commit: Option<&Commit>, mistakes: &mut Mistakes) {
    let Read::Is(stage) = &sink.stage else { return };
    let names: Vec<&str> = file.stages.iter().map(|stage| stage.name.as_str()).collect();
    let Some(index) = names.iter().position(|name| *name == stage.value) else {
        report_unknown("stage", &stage.value, stage.at, &names, mistakes);
        return;
    };
    if let Some(commit) = commit.filter(|commit| !commit.out_logs.contains(&index)) {
        let logged: Vec<&str> = commit.out_logs.iter().map(|index| names[*index]).collect();
        let message = format!("\"{}\" has no out log", shown(&stage.value));
        let help = match logged.as_slice() {
            [one] => format!("the one stage here that has is \"{}\"", shown(one)),
            _ => format!("stages here that have are {}", shown_list(&logged, ", ")),
        };
        mistakes.add(stage.at, message, help);
    }
}
