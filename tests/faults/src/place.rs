//! A folder in which one yard lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proofyard_core::state::OutEntry;
use tempfile::TempDir;

use crate::yard::program;
use crate::{RunningYard, ToyPipeline, processes};

pub struct Place {
    folder: TempDir,
    pub pipeline: ToyPipeline,
}

impl Place {
    pub fn new(pipeline: ToyPipeline, lines: &[String]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), pipeline };
        fs::write(place.path("pipeline.toml"), place.pipeline.text()).unwrap();
        place.write_blocks(lines);
        place
    }

    /// A file or folder of this place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write_blocks(&self, lines: &[String]) {
        fs::write(self.path("input.jsonl"), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    }

    /// `proofyard run` in this place; all that it starts bears the place's mark.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program("proofyard"));
        command.arg("run").arg(self.path("pipeline.toml"));
        command.arg("--blocks").arg(self.path("input.jsonl")).arg("--data").arg(self.data_dir());
        command.env(processes::MARK, self.mark());
        command
    }

    pub fn start(&self) -> RunningYard {
        self.start_with(|_| {})
    }

    pub fn start_with(&self, change: impl FnOnce(&mut Command)) -> RunningYard {
        let mut command = self.command();
        change(&mut command);
        RunningYard::start(command, &self.path("log"))
    }

    pub fn mark(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// What the yards said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn sink_file(&self, sink: &str) -> PathBuf {
        self.path(&format!("{sink}.jsonl"))
    }

    /// The whole lines of a sink's file.
    pub fn sink_lines(&self, sink: &str) -> Vec<String> {
        whole_lines(&self.sink_file(sink))
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
