//! A directory on a disk that loses power: the shim (see `shim.c`) and what is left afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Each power loss leaves a new directory, named by its number.
pub struct LossyDisk {
    temp: TempDir,
    losses: u32,
}

/// What became of writes that were not synced. A real disk may leave either, for each file by itself.
#[derive(Clone, Copy)]
pub enum Unsynced {
    Lost,
    /// For each file and directory, a bit of this number tells whether it has its unsynced changes.
    Mixed(u64),
}

impl Default for LossyDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl LossyDisk {
    pub fn new() -> Self {
        let disk = Self { temp: tempfile::tempdir().unwrap(), losses: 0 };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(disk.shim()).arg(source);
        assert!(
            compiler.args(["-ldl", "-lpthread"]).status().unwrap().success(),
            "the shim does not compile"
        );
        fs::create_dir(disk.directory()).unwrap();
        disk.make_shadow();
        disk
    }

    /// The directory under test.
    pub fn directory(&self) -> PathBuf {
        // The shim compares real paths.
        fs::canonicalize(self.temp.path()).unwrap().join(format!("yard-{}", self.losses))
    }

    /// The shim's own files, and its switches.
    pub fn shadow(&self) -> PathBuf {
        self.temp.path().join(format!("shadow-{}", self.losses))
    }

    pub fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.shim());
        command.env("LOSSY_DIRECTORY", self.directory()).env("LOSSY_SHADOW", self.shadow());
    }

    /// The power goes, after the process was killed, and comes back.
    pub fn lose_power(&mut self, unsynced: Unsynced) {
        let (before, shadow) = (self.directory(), self.shadow());
        self.losses += 1;
        let after = self.directory();
        fs::create_dir(&after).unwrap();
        restore(&shadow, &before, inode(&before), &after, unsynced);
        // Old directories stay until the end: their inode numbers must not come back.
        self.make_shadow();
    }

    /// While it is full, writes find no room.
    pub fn set_full(&self, full: bool) {
        match full {
            true => fs::write(self.shadow().join("full"), "").unwrap(),
            false => fs::remove_file(self.shadow().join("full")).unwrap(),
        }
    }

    /// The same for writes to files whose path contains this, such as a folder on a disk of its own.
    pub fn set_full_in(&self, part: &str) {
        fs::write(self.shadow().join("full"), part).unwrap();
    }

    /// What is there now, written by processes without the shim, is on the disk.
    pub fn settle(&self) {
        keep_all(&self.directory(), &self.shadow());
    }

    fn shim(&self) -> PathBuf {
        self.temp.path().join("shim.so")
    }

    fn make_shadow(&self) {
        for part in ["inode", "names", "grave"] {
            fs::create_dir_all(self.shadow().join(part)).unwrap();
        }
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn restore(shadow: &Path, before: &Path, directory: u64, after: &Path, unsynced: Unsynced) {
    let synced = fs::read_to_string(shadow.join(format!("names/{directory}"))).unwrap_or_default();
    let names = if has_unsynced(unsynced, directory) { names_now(before) } else { synced };
    for line in names.lines() {
        let mut parts = line.splitn(3, ' ');
        let (kind, number, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let number = number.parse().unwrap();
        let (was, is) = (before.join(name), after.join(name));
        if kind == "d" {
            fs::create_dir(&is).unwrap();
            restore(shadow, &was, number, &is, unsynced);
            continue;
        }
        let still_there = fs::metadata(&was).is_ok_and(|found| found.ino() == number);
        let content = match still_there && has_unsynced(unsynced, number) {
            true => fs::read(&was).unwrap(),
            // Never synced: the name is there, the content is not.
            false => fs::read(shadow.join(format!("inode/{number}"))).unwrap_or_default(),
        };
        fs::write(&is, content).unwrap();
    }
}

fn has_unsynced(unsynced: Unsynced, inode: u64) -> bool {
    match unsynced {
        Unsynced::Lost => false,
        Unsynced::Mixed(bits) => bits >> (inode % 64) & 1 == 1,
    }
}

fn names_now(directory: &Path) -> String {
    if !directory.is_dir() {
        return String::new();
    }
    let line = |path: &Path| {
        let kind = if path.is_dir() { 'd' } else { 'f' };
        format!("{kind} {} {}\n", inode(path), path.file_name().unwrap().to_str().unwrap())
    };
    kept_below(directory).iter().map(|path| line(path)).collect()
}

/// Folders and plain files: nothing else holds anything.
fn kept_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir() || path.is_file()).collect()
}

fn keep_all(directory: &Path, shadow: &Path) {
    fs::write(shadow.join(format!("names/{}", inode(directory))), names_now(directory)).unwrap();
    for path in kept_below(directory) {
        match path.is_dir() {
            true => keep_all(&path, shadow),
            false => _ = fs::copy(&path, shadow.join(format!("inode/{}", inode(&path)))).unwrap(),
        }
    }
}
