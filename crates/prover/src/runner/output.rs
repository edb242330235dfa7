//! The file that a prover says it wrote, and its output folder: checked before they are used, since a prover may be hostile.
//! What is in the file: [`super::output_content`].

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::error::{ErrorKind, Fault};
use super::launch::Limits;
use crate::message::ProveOk;

/// The most files, whatever their size, and the deepest nesting of folders that an output folder may have.
const OUTPUT_FILES: usize = 10_000;
const OUTPUT_DEPTH: usize = 32;
/// How much more than its length a file may take of the disk, which allocates whole blocks.
const ROUNDED_UP_BYTES: u64 = 1 << 20;

/// A prover's answer and its output.
#[derive(Debug)]
pub struct Proved {
    /// The answer; the public values in it are only a claim.
    pub ok: ProveOk,
    /// The file that it wrote.
    pub output: OutputFile,
}

/// The file that was checked, kept open: read it from here, since the prover may put another one at its path.
#[derive(Debug)]
pub struct OutputFile {
    /// Without symlinks.
    pub path: PathBuf,
    /// Positioned at its start.
    pub file: File,
    /// Its size when it was checked; a reader must stop there.
    pub bytes: u64,
}

/// Opens what a prover calls its output: a regular file within the folder, however many symlinks lead to it.
pub(crate) fn open_output(output_dir: &Path, path: &Path, limits: &Limits) -> Result<OutputFile, Fault> {
    let refuse =
        |why: &dyn std::fmt::Display| Fault::bad_output(format!("the output {}: {why}", path.display()));
    if !path.is_absolute() {
        return Err(refuse(&"the path is not absolute"));
    }
    // Opened with O_PATH at first: opening a device or a pipe for reading could block, or have side effects.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| refuse(&error))?;
    let real = fs::read_link(by_descriptor(&place)).map_err(|error| refuse(&error))?;
    let folder = fs::canonicalize(output_dir).map_err(|error| refuse(&error))?;
    if !real.starts_with(&folder) {
        return Err(refuse(&format!("it is really {}, outside of {}", real.display(), folder.display())));
    }
    if !fs::metadata(by_descriptor(&place)).map_err(|error| refuse(&error))?.is_file() {
        return Err(refuse(&"it is not a regular file"));
    }
    let file = File::open(by_descriptor(&place)).map_err(|error| refuse(&error))?;
    let bytes = file.metadata().map_err(|error| refuse(&error))?.len();
    if bytes > limits.output_bytes {
        return Err(too_large(limits));
    }
    Ok(OutputFile { path: real, file, bytes })
}

fn by_descriptor(place: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", place.as_raw_fd())
}

pub(crate) fn too_large(limits: &Limits) -> Fault {
    let limit_bytes = limits.output_bytes;
    let message = format!(
        "it wrote more than {limit_bytes} bytes (or {OUTPUT_FILES} files, or folders more than {OUTPUT_DEPTH} deep) of output"
    );
    Fault::new(ErrorKind::OutputTooLarge { limit_bytes }, message)
}

/// The bytes of all files in a folder; `None` if there are too many files, or too deep folders.
///
/// Each folder is opened relative to the one above it, so that no path is too long; links are not followed.
pub(crate) fn folder_bytes(folder: &Path) -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A folder that does not exist is empty.
    let Ok(top) = rustix::fs::open(folder, flags, Mode::empty()).and_then(Dir::new) else { return Some(0) };
    let (mut bytes, mut files) = (0u64, 0usize);
    let mut opened = vec![top];
    while let Some(dir) = opened.last_mut() {
        // An entry that cannot be read now was deleted in the meantime, or is read the next time.
        let Some(Ok(entry)) = dir.read() else {
            opened.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        files += 1;
        let Ok(within) = dir.fd() else { continue };
        let Ok(found) = statat(within, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            bytes = bytes.saturating_add(on_disk(&found));
            if files > OUTPUT_FILES {
                return None;
            }
            continue;
        }
        let inner = openat(within, name, flags, Mode::empty());
        if files > OUTPUT_FILES || opened.len() == OUTPUT_DEPTH {
            return None;
        }
        match inner.and_then(Dir::new) {
            Ok(inner) => opened.push(inner),
            // Only the prover itself could have closed this folder.
            Err(Errno::ACCESS) => return None,
            Err(_) => {}
        }
    }
    Some(bytes)
}

/// A file's length, or the space that it takes on the disk, if that is clearly more.
fn on_disk(found: &Stat) -> u64 {
    let (length, given) =
        (found.st_size.cast_unsigned(), found.st_blocks.cast_unsigned().saturating_mul(512));
    if given > length.saturating_add(ROUNDED_UP_BYTES) { given } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_inside_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("out");
        fs::create_dir(&inside).unwrap();
        let (good, bad) = (inside.join("good"), folder.path().join("bad"));
        fs::write(&good, "12345").unwrap();
        fs::write(&bad, "secret").unwrap();
        symlink(&bad, inside.join("link")).unwrap();
        symlink("/dev/zero", inside.join("device")).unwrap();
        symlink(folder.path(), inside.join("up")).unwrap();
        symlink(&good, inside.join("near")).unwrap();
        let limits = Limits { output_bytes: 5, ..Limits::default() };
        let open = |path: PathBuf| open_output(&inside, &path, &limits);
        assert_eq!(open(good.clone()).unwrap().bytes, 5);
        assert_eq!(open(inside.join("near")).unwrap().path, fs::canonicalize(&good).unwrap());
        for refused in [
            bad,
            "good".into(),
            inside.clone(),
            inside.join("link"),
            inside.join("device"),
            inside.join("up/bad"),
            inside.join("../bad"),
            inside.join("missing"),
            folder.path().join("out-side"),
        ] {
            assert_eq!(open(refused.clone()).unwrap_err().kind, ErrorKind::BadOutput, "{refused:?}");
        }
        fs::write(&good, "123456").unwrap();
        assert!(matches!(open(good).unwrap_err().kind, ErrorKind::OutputTooLarge { limit_bytes: 5 }));
    }

    #[test]
    fn all_that_is_in_a_folder_is_counted_or_is_too_much() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("out");
        assert_eq!(folder_bytes(&folder), Some(0));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/c"), "12345").unwrap();
        fs::write(temp.path().join("outside"), "123").unwrap();
        symlink(temp.path(), folder.join("up")).unwrap();
        let link = temp.path().as_os_str().len() as u64;
        assert_eq!(folder_bytes(&folder), Some(5 + link));
        let deep: PathBuf = std::iter::repeat_n("d", OUTPUT_DEPTH - 1).collect();
        fs::create_dir_all(folder.join(&deep)).unwrap();
        fs::write(folder.join(&deep).join("e"), "1").unwrap();
        assert_eq!(folder_bytes(&folder), Some(6 + link));
        fs::create_dir(folder.join(&deep).join("f")).unwrap();
        assert_eq!(folder_bytes(&folder), None, "too deep");
    }
}
