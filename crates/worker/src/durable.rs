//! Making names durable: syncing a file makes its content survive a power loss, but not its name.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Creates a directory and those missing above it, so that all of them survive a power loss.
pub fn create_durably(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let missing: Vec<&Path> = missing.collect();
    fs::create_dir_all(path)?;
    missing.iter().try_for_each(|made| sync_directory(parent_of(made)))
}

/// Makes the names in a directory survive a power loss.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that a path is in.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
