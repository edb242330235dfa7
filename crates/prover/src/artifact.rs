//! Files that provers read and write: an input's selected element, and an output that is written whole or not at all.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::value::RawValue;

use crate::message::{Failure, Input, InputKind};

/// The largest input that is read into memory. Proofs and blocks are far below it; a prover that needs more opens
/// the path itself.
pub const INPUT_BYTES: u64 = 1 << 30;

/// An input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The system does not let it be read; for the task that is a transient failure.
    #[error("cannot read {path}")]
    Unreadable {
        /// The input's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has more than [`INPUT_BYTES`].
    #[error("{path} is larger than {INPUT_BYTES} bytes")]
    TooLarge {
        /// The input's file.
        path: PathBuf,
    },
    /// It is no JSON, or JSON of another shape.
    #[error("{path} is not the JSON that was expected")]
    NotJson {
        /// The input's file.
        path: PathBuf,
        /// What the JSON reader says, and where.
        source: serde_json::Error,
    },
    /// The list, or the block's segments, end before the element that the input names.
    #[error("{path} has {count} elements, but element {index} is asked for")]
    NoElement {
        /// The input's file.
        path: PathBuf,
        /// How many elements there are.
        count: usize,
        /// Which one is meant, from 0.
        index: u32,
    },
}

impl InputError {
    /// All that is known, on one line: a failure is told as text.
    pub(crate) fn with_source(&self) -> String {
        use std::error::Error;
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Failure {
        match error {
            InputError::Unreadable { .. } => Failure::transient(error.with_source()),
            _ => Failure::permanent(error.with_source()),
        }
    }
}

impl Input {
    /// The selected element's bytes, or the whole file's where `index` is none.
    pub fn read(&self) -> Result<Vec<u8>, InputError> {
        let content = self.read_file()?;
        match self.index {
            None => Ok(content),
            Some(index) => self.element(&content, index).map(|raw| raw.get().as_bytes().to_vec()),
        }
    }

    /// The selected element (or the whole file), as JSON.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        serde_json::from_slice(&self.read()?).map_err(|source| self.not_json(source))
    }

    /// The height of a block: the `number` in the node's JSON.
    pub fn read_height(&self) -> Result<u64, InputError> {
        #[derive(serde::Deserialize)]
        struct Whole {
            block: Header,
        }
        #[derive(serde::Deserialize)]
        struct Header {
            #[serde(deserialize_with = "height")]
            number: u64,
        }
        fn height<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
            let text = <Cow<'_, str>>::deserialize(deserializer)?;
            let height = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            height.ok_or_else(|| D::Error::custom(format!("{text:?} is no height as 0x and hex digits")))
        }
        let whole = serde_json::from_slice::<Whole>(&self.read_file()?);
        whole.map(|whole| whole.block.number).map_err(|source| self.not_json(source))
    }

    /// The whole file, whatever `index` says.
    pub fn read_file(&self) -> Result<Vec<u8>, InputError> {
        let unreadable = |source| InputError::Unreadable { path: self.path.clone(), source };
        let mut content = Vec::new();
        let file = File::open(&self.path).map_err(unreadable)?;
        file.take(INPUT_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
        if content.len() as u64 > INPUT_BYTES {
            return Err(InputError::TooLarge { path: self.path.clone() });
        }
        Ok(content)
    }

    fn element<'a>(&self, content: &'a [u8], index: u32) -> Result<&'a RawValue, InputError> {
        #[derive(serde::Deserialize)]
        struct Segments<'a> {
            #[serde(borrow)]
            segments: Vec<&'a RawValue>,
        }
        let elements = match self.kind {
            InputKind::Block => serde_json::from_slice::<Segments<'a>>(content).map(|block| block.segments),
            InputKind::Proof | InputKind::Data => serde_json::from_slice(content),
        }
        .map_err(|source| self.not_json(source))?;
        let none = InputError::NoElement { path: self.path.clone(), count: elements.len(), index };
        elements.get(index as usize).copied().ok_or(none)
    }

    fn not_json(&self, source: serde_json::Error) -> InputError {
        InputError::NotJson { path: self.path.clone(), source }
    }
}

/// Writes a file into the output folder, whole or not at all, and returns its path. It is not synced to the disk: the
/// worker that keeps it does that, and until then a crash costs only this attempt.
pub fn write_output(output_dir: &Path, name: &str, content: &[u8]) -> std::io::Result<PathBuf> {
    let path = output_dir.join(name);
    let temporary = output_dir.join(format!(".{name}.part"));
    fs::write(&temporary, content)?;
    fs::rename(&temporary, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(kind: InputKind, path: PathBuf, index: Option<u32>) -> Input {
        Input { kind, path, index, stage: None, task_index: 0, public_values: None, verification_key: None }
    }

    #[test]
    fn an_index_selects_a_segment_or_an_element() {
        let folder = tempfile::tempdir().unwrap();
        let block =
            write_output(folder.path(), "block", br#"{"block":{},"segments":[{"from":0}, {"from":5}]}"#)
                .unwrap();
        assert_eq!(input(InputKind::Block, block.clone(), Some(1)).read().unwrap(), br#"{"from":5}"#);
        assert!(input(InputKind::Block, block, None).read().unwrap().starts_with(b"{\"block\""));
        let list = write_output(folder.path(), "list", b"[1, 2.50, [3]]").unwrap();
        assert_eq!(input(InputKind::Data, list.clone(), Some(1)).read().unwrap(), b"2.50");
        let error = input(InputKind::Data, list.clone(), Some(3)).read().unwrap_err();
        assert!(matches!(error, InputError::NoElement { count: 3, index: 3, .. }), "{error}");
        let error = input(InputKind::Block, list, Some(0)).read().unwrap_err();
        assert!(matches!(error, InputError::NotJson { .. }), "{error}");
    }
}
