//! `proofyard keep FILE...`: files that provers need, such as proving keys, become part of the yard.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use proofyard_core::state::ArtifactRef;
use proofyard_worker::artifacts::ArtifactStore;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardHome};

/// Stores files under their hashes, and prints what to write into a pipeline so that every worker has them ready before
/// its prover starts. A yard that runs is not disturbed.
#[derive(Args)]
pub struct Keep {
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pub home: YardHome,
}

#[derive(Serialize)]
struct Kept {
    name: String,
    #[serde(flatten)]
    content: ArtifactRef,
}

impl Keep {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let scratch = tempfile::Builder::new().prefix("proofyard-keep-").tempdir().map_err(Failure::work)?;
        let store = access.store(scratch.path())?;
        let kept = self.files.iter().map(|path| keep(&*store, path)).collect::<Result<Vec<_>, _>>()?;
        if json {
            return kept.iter().try_for_each(output::json);
        }
        output::line("files = [");
        for Kept { name, content: ArtifactRef { sha256, bytes } } in &kept {
            // A JSON text is a TOML text.
            let name = serde_json::to_string(name).map_err(Failure::work)?;
            output::line(format!("    {{ name = {name}, sha256 = \"{sha256}\", bytes = {bytes} }},"));
        }
        output::line("]");
        Ok(())
    }
}

fn keep(store: &impl ArtifactStore, path: &Path) -> Result<Kept, Failure> {
    let unusable = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| unusable(&"has no name in UTF-8, by which a pipeline could ask for it"))?;
    let file = File::open(path).map_err(|error| unusable(&error))?;
    let bytes = file.metadata().map_err(|error| unusable(&error))?;
    if !bytes.is_file() {
        return Err(unusable(&"not a file"));
    }
    let draft = store.draft(file, bytes.len(), path).map_err(Failure::work)?;
    let content = store.keep(&draft).map_err(Failure::work)?;
    Ok(Kept { name: name.to_owned(), content })
}
