//! `proofyard keep FILE...`: files that provers need, such as proving keys, become part of the yard.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use proofyard_core::error::Code;
use proofyard_core::state::ArtifactRef;
use proofyard_worker::artifacts::ArtifactStore;
use serde::Serialize;

use super::temporary_folder;
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
        let scratch = temporary_folder("proofyard-keep-")?;
        let store = access.store(scratch.path())?;
        let kept = self.files.iter().map(|path| keep(&*store, path)).collect::<Result<Vec<_>, _>>()?;
        if json {
            return kept.iter().try_for_each(output::json);
        }
        output::line("files = [");
        for Kept { name, content: ArtifactRef { sha256, bytes } } in &kept {
            // A JSON text is a TOML text.
            let name = serde_json::json!(name);
            output::line(format!("    {{ name = {name}, sha256 = \"{sha256}\", bytes = {bytes} }},"));
        }
        output::line("]");
        Ok(())
    }
}

fn keep(store: &impl ArtifactStore, path: &Path) -> Result<Kept, Failure> {
    let unusable = |why: &str| Failure::usage_as(Code::FileUnreadable, format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| unusable("it cannot be read").caused_by(&error);
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| unusable("it has no name in UTF-8, by which a pipeline could ask for it"))?;
    let file = File::open(path).map_err(unread)?;
    let bytes = file.metadata().map_err(unread)?;
    if !bytes.is_file() {
        return Err(unusable("it is not a file"));
    }
    let draft = store.draft(file, bytes.len(), path).map_err(Failure::work)?;
    let content = store.keep(&draft).map_err(Failure::work)?;
    Ok(Kept { name: name.to_owned(), content })
}
