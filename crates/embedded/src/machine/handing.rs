//! Handing results on: a file sink appends one line of JSON for each out log entry, synced before it counts as done.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use proofyard_core::error::Error;
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::state::OutEntry;

use super::Shared;
use crate::block_on;

/// One sink of one chain.
pub(crate) struct LocalSink {
    pub chain: String,
    pub name: String,
    pub target: SinkTarget,
    /// Relative file names are taken from here.
    pub base: PathBuf,
}

impl LocalSink {
    /// Hands on whatever is next, until the machine stops.
    pub fn run(&self, shared: &Shared) {
        while !shared.wakes.is_stopped() {
            let rung = shared.wakes.rung();
            match self.turn(shared) {
                Ok(true) => {}
                Ok(false) => shared.wakes.wait_for_work(rung, shared.idle_look),
                Err(error) => {
                    shared.complain(&format!("sink {}", self.name), &error);
                    shared.pause(shared.idle_look);
                }
            }
        }
    }

    /// Hands on one entry; says whether there was one.
    pub fn turn(&self, shared: &Shared) -> Result<bool, Error> {
        let Some(entry) = block_on(shared.yard.sink_next(&self.chain, &self.name))? else { return Ok(false) };
        let SinkTarget::File { path } = &self.target;
        let path = self.base.join(path);
        match append_once(&path, &entry) {
            Ok(()) => block_on(shared.yard.sink_done(&self.chain, &self.name, entry.sequence))?,
            Err(error) => {
                let message = format!("{}: {error}", path.display());
                shared.complain(&format!("sink {}", self.name), &message);
                block_on(shared.yard.sink_failed(&self.chain, &self.name, entry.sequence, &message))?;
            }
        }
        Ok(true)
    }
}

/// Appends the entry unless the file's last line is this very one; a line that a crash cut short is cut off.
fn append_once(path: &Path, entry: &OutEntry) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let whole = whole_lines(&mut file)?;
    file.set_len(whole)?;
    if ends_with(&mut file, whole, &line)? {
        return file.sync_all();
    }
    file.write_all(&line)?;
    file.sync_all()
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
        OutEntry { chain: "c".into(), stage: "s".into(), sequence, at_ms: 0, kind }
    }

    #[test]
    fn a_repeat_is_written_once_and_a_cut_line_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        append_once(&path, &entry(0)).unwrap();
        append_once(&path, &entry(0)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"chain\":\"c\",\"st").unwrap();
        append_once(&path, &entry(1)).unwrap();
        assert_eq!(read_sink_file(&path).unwrap(), [entry(0), entry(1)]);
    }
}
