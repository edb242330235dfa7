//! A file as a sink: each out log entry is appended as one line of JSON, and synced before it counts as handed on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proofyard_core::error::{because, with_causes};
use proofyard_core::sinks::Trouble;
use proofyard_core::state::OutEntry;
use proofyard_worker::durable::{parent_of, sync_directory};

use crate::{Destination, Message, Outcome};

/// Readable by its owner alone.
const PRIVATE_FILE: u32 = 0o600;

/// A file that entries are appended to.
pub struct FileLog {
    path: PathBuf,
    /// This process has synced its name: the process that made the file may have died before it did.
    named: bool,
}

impl FileLog {
    pub fn at(path: PathBuf) -> Self {
        Self { path, named: false }
    }

    /// Whether users other than its owner may write to it. A file that is created here is its owner's alone; an existing one
    /// keeps its permissions.
    fn others_may_write(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.permissions().mode() & 0o022 != 0)
    }

    /// Appends the entry, unless it is the file's last line already. A part of it that a crash left is cut off. Any other
    /// incomplete line is an error, and so is another log before the first entry: what others wrote is never cut.
    fn append_once(&mut self, entry: &OutEntry) -> io::Result<()> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(PRIVATE_FILE).open(&self.path)?;
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let whole = whole_lines(&mut file)?;
        if !is_begun(&mut file, whole, &line)? {
            return Err(io::Error::other(
                "its last line was not ended, and is not ours; end it or remove it, or name another file for the sink",
            ));
        }
        file.set_len(whole)?;
        if !ends_with(&mut file, whole, &line)? {
            if entry.sequence == 0 && whole > 0 {
                return Err(io::Error::other(
                    "it holds another log already; move it away, or name another file for the sink",
                ));
            }
            file.write_all(&line)?;
        }
        file.sync_all()?;
        // The file is new, also if an earlier one was moved away.
        if whole == 0 || !self.named {
            sync_directory(parent_of(&self.path))?;
            self.named = true;
        }
        Ok(())
    }
}

impl Destination for FileLog {
    fn warning(&self) -> Option<String> {
        let warning = || format!("others than its owner may write to {}", self.path.display());
        self.others_may_write().then(warning)
    }

    fn tell(&mut self, message: &Message) -> Outcome {
        let Message::Entry(message) = message else {
            return Outcome::Refused("a file is told of entries alone".to_owned());
        };
        match self.append_once(&message.entry) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                let error = because(self.path.display().to_string(), error);
                Outcome::Later(Trouble::saying(with_causes(error.as_ref()).to_string()))
            }
        }
    }
}

/// Whether what follows the whole lines is the beginning of this one. A crash may leave zeros in place of what was not yet
/// written.
fn is_begun(file: &mut File, whole: u64, line: &[u8]) -> io::Result<bool> {
    file.seek(SeekFrom::Start(whole))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(line.len() as u64 + 1).read_to_end(&mut tail)?;
    let written = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(tail.len() <= line.len() && line.starts_with(tail.get(..written).unwrap_or_default()))
}

/// The length up to and including the last newline.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    Ok(end)
}

fn ends_with(file: &mut File, length: u64, line: &[u8]) -> io::Result<bool> {
    let Some(from) = length.checked_sub(line.len() as u64) else { return Ok(false) };
    file.seek(SeekFrom::Start(from))?;
    let mut last = Vec::new();
    Read::by_ref(file).take(line.len() as u64).read_to_end(&mut last)?;
    Ok(last == line)
}

/// The entries that a file sink has written.
pub fn read_sink_file(path: &Path) -> io::Result<Vec<OutEntry>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use proofyard_core::state::OutKind;

    use super::*;

    fn entry(sequence: u64) -> OutEntry {
        let kind = OutKind::Retract { from: 1, to: 2 };
        OutEntry { chain: "c".parse().unwrap(), log: "s".into(), sequence, at_ms: 0, kind }
    }

    #[test]
    fn a_repeat_is_written_once_and_a_cut_line_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let mut file = FileLog { path: path.clone(), named: false };
        file.append_once(&entry(0)).unwrap();
        file.append_once(&entry(0)).unwrap();
        let append =
            |bytes: &[u8]| OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
        append(b"{\"chain\":\"c\",\"lo");
        file.append_once(&entry(1)).unwrap();
        append(b"{\"chain\":\"c\"\0\0\0\0");
        file.append_once(&entry(2)).unwrap();
        assert_eq!(read_sink_file(&path).unwrap(), [entry(0), entry(1), entry(2)]);
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        let mut file = FileLog { path: path.clone(), named: false };
        for (theirs, sequence, told) in
            [("a note", 0, "not ours"), ("{\"chain\":\"d", 3, "not ours"), ("a note\n", 0, "another log")]
        {
            std::fs::write(&path, theirs).unwrap();
            let said = file.append_once(&entry(sequence)).unwrap_err().to_string();
            assert!(said.contains(told), "{said}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs);
        }
    }
}
