//! Keystores. There are no files here: the secret holds the text of each under the name that the pipeline gives its file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use proofyard_core::error::Cause;
use proofyard_telling::Secrets;

/// A file with that text, for as long as its folder is there, which nobody else can read.
pub fn keystore(
    secrets: &Secrets,
    variables: &BTreeMap<String, String>,
    name: &str,
    folder: &Path,
) -> Result<PathBuf, Cause> {
    let text = variables.get(name);
    let text =
        text.ok_or_else(|| format!("the secret {} has no {name}, the keystore's text", secrets.id()))?;
    // A temporary file is its owner's alone.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    Ok(file.into_temp_path().keep()?)
}
