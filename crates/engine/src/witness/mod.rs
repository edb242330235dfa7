//! Witnesses that came with payloads, by the hash of their block, until the yard has each as an artifact of its own.
//!
//! `HEIGHT-HASH` in a folder holds one, as `debug_executionWitness` would answer it. Those of blocks that are done go first where
//! room is short; one of a block that is not is never taken away for another's.

mod form;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blocks below the frontier whose witnesses are kept: they may be proved again after a reorg or a `redo`.
const DONE_BLOCKS: u64 = 64;

#[derive(Clone)]
pub(crate) struct Witnesses {
    folder: Arc<Path>,
    keep_bytes: u64,
    /// By height and hash, with their bytes.
    known: Arc<Mutex<BTreeMap<(u64, String), u64>>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    /// The disk, which may do it later.
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error("it is no witness: {0}")]
    Malformed(String),
    #[error(
        "`keep_bytes` has no room for it: {kept} bytes are of blocks that are not done, and it has {more}"
    )]
    NoRoom { kept: u64, more: u64 },
}

impl Witnesses {
    pub(crate) fn open(folder: &Path, keep_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str().and_then(parsed) {
                Some(block) => {
                    known.insert(block, entry.metadata()?.len());
                }
                // The half of one that an earlier process was writing.
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(Self { folder: folder.into(), keep_bytes, known: Arc::new(Mutex::new(known)) })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(u64, String), u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what came, durably, in the form that provers know.
    pub(crate) fn keep(&self, came: &Path, height: u64, hash: &str, frontier: u64) -> Result<(), NotKept> {
        if self.known().contains_key(&(height, hash.to_owned())) {
            return Ok(());
        }
        let more = came.metadata()?.len();
        self.make_room(more, frontier)?;
        let half = self.folder.join("half");
        let mut output = BufWriter::with_capacity(1 << 20, File::create(&half)?);
        form::copy(BufReader::with_capacity(1 << 20, File::open(came)?), &mut output).map_err(|error| {
            match error {
                form::FormError::Io(error) => NotKept::Disk(error),
                form::FormError::Malformed(why) => NotKept::Malformed(why),
            }
        })?;
        output.flush()?;
        let file = output.into_inner().map_err(|error| NotKept::Disk(error.into_error()))?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&half, self.path(height, hash))?;
        File::open(&self.folder)?.sync_all()?;
        self.known().insert((height, hash.to_owned()), bytes);
        Ok(())
    }

    fn path(&self, height: u64, hash: &str) -> PathBuf {
        self.folder.join(format!("{height:020}-{hash}"))
    }

    fn make_room(&self, more: u64, frontier: u64) -> Result<(), NotKept> {
        let mut known = self.known();
        let mut kept: u64 = known.values().sum();
        while kept.saturating_add(more) > self.keep_bytes {
            let done = known.first_key_value().filter(|((height, _), _)| *height < frontier);
            let Some(block) = done.map(|(block, _)| block.clone()) else {
                return Err(NotKept::NoRoom { kept, more });
            };
            fs::remove_file(self.path(block.0, &block.1))?;
            kept -= known.remove(&block).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes away those of blocks that are long done.
    pub(crate) fn forget_done(&self, frontier: u64) -> io::Result<()> {
        let mut known = self.known();
        while let Some(((height, hash), _)) = known.first_key_value() {
            if height.saturating_add(DONE_BLOCKS) >= frontier {
                return Ok(());
            }
            fs::remove_file(self.path(*height, hash))?;
            known.pop_first();
        }
        Ok(())
    }

    /// A block's witness, and its bytes.
    pub(crate) fn of(&self, hash: &str) -> io::Result<Option<(File, u64)>> {
        let found = self
            .known()
            .keys()
            .find(|(_, known)| known.eq_ignore_ascii_case(hash))
            .map(|(height, hash)| self.path(*height, hash));
        let Some(path) = found else { return Ok(None) };
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Some((file, bytes)))
    }
}

fn parsed(name: &str) -> Option<(u64, String)> {
    let (height, hash) = name.split_once('-')?;
    Some((height.parse().ok()?, hash.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn keep(witnesses: &Witnesses, folder: &Path, height: u64, frontier: u64) -> Result<(), NotKept> {
        let came = folder.join("came");
        fs::write(&came, format!("{{\"state\":[\"0x{}\"]}}", "ab".repeat(200))).unwrap();
        witnesses.keep(&came, height, &format!("0x{height}"), frontier)
    }

    #[test]
    fn room_is_made_of_what_is_done_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        let witnesses = Witnesses::open(&kept, 1_000).unwrap();
        keep(&witnesses, folder.path(), 1, 1).unwrap();
        keep(&witnesses, folder.path(), 2, 1).unwrap();
        assert!(matches!(keep(&witnesses, folder.path(), 3, 1), Err(NotKept::NoRoom { .. })));
        keep(&witnesses, folder.path(), 3, 2).unwrap();
        let has =
            |witnesses: &Witnesses, height: u64| witnesses.of(&format!("0x{height}")).unwrap().is_some();
        assert_eq!([1, 2, 3].map(|height| has(&witnesses, height)), [false, true, true]);
        fs::write(kept.join("half"), "x").unwrap();
        let again = Witnesses::open(&kept, 1_000).unwrap();
        assert_eq!([1, 2, 3].map(|height| has(&again, height)), [false, true, true]);
        assert!(!kept.join("half").exists());
        again.forget_done(3 + DONE_BLOCKS).unwrap();
        assert_eq!([1, 2, 3].map(|height| has(&again, height)), [false, false, true]);
    }
}
