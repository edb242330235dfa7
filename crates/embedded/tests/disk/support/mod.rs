//! Running a test of this same binary in another process.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells a test that it is the other process, and where to work.
const DIRECTORY: &str = "PROOFYARD_TEST_DIRECTORY";
/// "nobody", on every Linux.
const PLAIN_USER: u32 = 65_534;

/// The directory that this process was started for, if it is the other process.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// A command that runs the ignored test `name` for `directory`.
pub fn other_process(name: &str, directory: &Path) -> Command {
    other_process_of(&std::env::current_exe().unwrap(), name, directory)
}

/// The same, as a user whom file permissions stop, as they do not stop root.
pub fn as_plain_user(name: &str, directory: &Path) -> Command {
    let parent = directory.parent().unwrap();
    if fs::metadata(parent).unwrap().uid() != 0 {
        return other_process(name, directory);
    }
    // Where root keeps its builds, others may not look.
    let program = parent.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [parent, program.as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = other_process_of(&program, name, directory);
    command.uid(PLAIN_USER);
    command
}

fn other_process_of(program: &Path, name: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "--nocapture", name]).env(DIRECTORY, directory);
    command
}
