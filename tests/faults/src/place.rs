//! A folder in which one yard lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proofyard_core::state::OutEntry;
use tempfile::TempDir;

use crate::yard::program;
use crate::{RunningYard, ToyPipeline, processes};

pub struct Place {
    folder: PathBuf,
    /// For what no disk fault may touch.
    outside: TempDir,
    pub pipeline: ToyPipeline,
}

impl Place {
    /// `{place}` in the prover's arguments becomes a folder of this place alone.
    pub fn new(pipeline: ToyPipeline, lines: &[String]) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("place");
        fs::create_dir(&folder).unwrap();
        Self::set_up(folder, outside, pipeline, lines)
    }

    /// The same in a folder that is there.
    pub fn within(folder: PathBuf, pipeline: ToyPipeline, lines: &[String]) -> Self {
        Self::set_up(folder, tempfile::tempdir().unwrap(), pipeline, lines)
    }

    fn set_up(folder: PathBuf, outside: TempDir, pipeline: ToyPipeline, lines: &[String]) -> Self {
        let place = Self { folder, outside, pipeline };
        let text = place.pipeline.text().replace("{place}", place.mark());
        fs::write(place.path("pipeline.toml"), text).unwrap();
        place.write_blocks(lines);
        place
    }

    /// All of it is elsewhere now.
    pub fn move_to(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// A file or folder of this place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write_blocks(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path("input.jsonl"), text).unwrap();
    }

    /// `proofyard run` in this place; all that it starts bears the place's mark.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program("proofyard"));
        command.arg("run").arg(self.path("pipeline.toml"));
        command.arg("--blocks").arg(self.path("input.jsonl")).arg("--data").arg(self.data_dir());
        command.env(processes::MARK, self.mark());
        if self.pipeline.toy.iter().any(|argument| argument.contains("{place}")) {
            // It remembers there what it did, whichever slot it is in.
            command.arg("--isolation").arg("none");
        }
        command
    }

    pub fn start(&self) -> RunningYard {
        self.start_with(|_| {})
    }

    pub fn start_with(&self, change: impl FnOnce(&mut Command)) -> RunningYard {
        let mut command = self.command();
        change(&mut command);
        RunningYard::start(command, &self.log_path())
    }

    /// An operator's word, which the yard takes.
    pub fn operate(&self, verb: &str) {
        let answer =
            Command::new(program("proofyard")).arg(verb).arg("--data").arg(self.data_dir()).output().unwrap();
        assert!(answer.status.success(), "{verb}: {}", String::from_utf8_lossy(&answer.stderr));
    }

    /// Of this place alone, wherever it is moved.
    pub fn mark(&self) -> &str {
        self.outside.path().to_str().unwrap()
    }

    /// What the yards said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.outside.path().join("log")
    }

    /// The whole lines of a sink's file.
    pub fn sink_lines(&self, sink: &str) -> Vec<String> {
        whole_lines(&self.path(&format!("{sink}.jsonl")))
    }

    pub fn sink_entries(&self, sink: &str) -> Vec<OutEntry> {
        self.sink_lines(sink).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A kill may have cut the last line short.
fn whole_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}
