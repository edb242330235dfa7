//! The files that provers must be able to reach, wherever they are isolated.

use std::path::{Path, PathBuf};

use proofyard_core::pipeline::{Pipeline, Verify};

/// The files that provers of these pipelines are started from, as far as their commands say: programs, and files named in
/// arguments and variables. Programs are found in the folder `beside` first.
pub fn needed_by<'a>(
    pipelines: impl IntoIterator<Item = &'a Pipeline>,
    beside: Option<&Path>,
) -> Vec<PathBuf> {
    let mut needed = Vec::new();
    let is_there = |path: &Path| std::path::absolute(path).ok().filter(|path| path.exists());
    for prover in pipelines.into_iter().flat_map(|pipeline| pipeline.provers.values()) {
        let verifier = match &prover.verify {
            Verify::Command(command) => command.as_slice(),
            Verify::Same | Verify::None => &[],
        };
        for command in [prover.command.as_slice(), verifier] {
            let Some((program, arguments)) = command.split_first() else { continue };
            needed.extend(find_program(program, beside, prover.environment.get("PATH").map(String::as_str)));
            needed.extend(arguments.iter().filter_map(|argument| is_there(Path::new(argument))));
        }
        needed.extend(
            prover.environment.values().map(Path::new).filter(|path| path.is_absolute()).filter_map(is_there),
        );
    }
    needed.sort();
    needed.dedup();
    needed
}

/// Finds a program as a shell does.
fn find_program(program: &str, beside: Option<&Path>, path: Option<&str>) -> Option<PathBuf> {
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|program| program.exists());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = path.map_or(own, Into::into);
    let folders = beside.map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}
