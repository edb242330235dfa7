//! Removing what a prover wrote, whatever it is: folders nested without limit, folders without permissions, links, paths
//! that are too long for the system.
//!
//! Nothing recurses, and no path grows: a folder that is not empty is moved up to the top folder, and emptied there. Files
//! are named relative to a descriptor of their folder, and links are not followed.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fchmod, openat, renameat, unlinkat};
use rustix::io::Errno;

/// How often a folder is emptied again that is being written to meanwhile.
const ROUNDS: u32 = 8;

/// Removes a file or folder, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let place = path.parent().zip(path.file_name());
    let (parent, name) = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    match open(CWD, parent.as_os_str().as_bytes(), OFlags::RDONLY) {
        Err(Errno::NOENT) => Ok(()),
        top => Ok(remove_in(top?.as_fd(), name.as_bytes())?),
    }
}

/// More files than that leave a folder behind that is slow to list.
const MAX_FILES: usize = 256;

/// Empties the folder `inner` of a folder, so that both are as new, and says whether they are: not if there is anything but
/// files in it, or anything beside it.
pub(crate) fn emptied_of_files(path: &Path, inner: &str) -> bool {
    let emptied = || {
        let folder = open(CWD, path.as_os_str().as_bytes(), OFlags::RDONLY)?;
        for entry in Dir::read_from(&folder)? {
            let name = entry?;
            let name = name.file_name().to_bytes();
            if !is_dots(name) && name != inner.as_bytes() {
                return Ok(false);
            }
        }
        let inner = open(folder.as_fd(), inner.as_bytes(), OFlags::RDONLY)?;
        fchmod(&inner, Mode::RWXU)?;
        for (count, entry) in Dir::read_from(&inner)?.enumerate() {
            let name = entry?;
            let name = name.file_name().to_bytes();
            if count > MAX_FILES || !(is_dots(name) || is_gone(unlinkat(&inner, name, AtFlags::empty()))) {
                return Ok(false);
            }
        }
        Ok::<_, Errno>(true)
    };
    emptied().unwrap_or(false)
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

fn remove_in(top: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let (mut left, mut failed) = (vec![name.to_vec()], None);
    while let Some(name) = left.pop() {
        failed = remove_one(top, &name, &mut left).err().or(failed);
    }
    failed.map_or(Ok(()), Err)
}

/// Removes an entry of the top folder; non-empty folders that were in it are moved to the top, and added to `left`.
fn remove_one(top: BorrowedFd<'_>, name: &[u8], left: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
    if is_gone(unlinkat(top, name, AtFlags::empty())) {
        return Ok(());
    }
    let folder = open(top, name, OFlags::RDONLY).or_else(|error| match error {
        Errno::ACCESS => {
            open_up(top, name)?;
            open(top, name, OFlags::RDONLY)
        }
        error => Err(error),
    })?;
    // If this fails, so does what follows.
    let _ = fchmod(&folder, Mode::RWXU);
    for _ in 0..ROUNDS {
        empty(top, &folder, left)?;
        match unlinkat(top, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            removed => return removed,
        }
    }
    Err(Errno::NOTEMPTY)
}

fn empty(top: BorrowedFd<'_>, folder: &OwnedFd, left: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let is_gone = is_dots(name)
            || is_gone(unlinkat(folder, name, AtFlags::empty()))
            || is_gone(unlinkat(folder, name, AtFlags::REMOVEDIR));
        if !is_gone {
            left.push(move_up(top, folder, name)?);
        }
    }
    Ok(())
}

fn is_gone(removed: Result<(), Errno>) -> bool {
    matches!(removed, Ok(()) | Err(Errno::NOENT))
}

/// Moves an entry to the top folder, under a name that is not used twice.
fn move_up(top: BorrowedFd<'_>, folder: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let target = format!("gone-{}-{count}", std::process::id()).into_bytes();
    match renameat(folder, name, top, target.as_slice()) {
        // Moving a folder changes its `..`, which its own permissions may forbid.
        Err(Errno::ACCESS | Errno::PERM) => {
            open_up(folder.as_fd(), name)?;
            renameat(folder, name, top, target.as_slice())?;
        }
        moved => moved?,
    }
    Ok(target)
}

fn open(folder: BorrowedFd<'_>, name: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, OsStr::from_bytes(name), flags, Mode::empty())
}

fn open_up(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let place = open(folder, name, OFlags::PATH)?;
    let by_descriptor = format!("/proc/self/fd/{}", place.as_raw_fd());
    let opened = fs::set_permissions(by_descriptor, Permissions::from_mode(0o700));
    opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::ACCESS))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    use super::*;

    /// Beyond what a path has room for.
    const DEEP: usize = 2_500;

    fn nest(folder: &Path, depth: usize) {
        let mut inner = open(CWD, folder.as_os_str().as_bytes(), OFlags::RDONLY).unwrap();
        for _ in 0..depth {
            mkdirat(&inner, "d", Mode::RWXU).unwrap();
            inner = open(inner.as_fd(), b"d", OFlags::RDONLY).unwrap();
        }
        openat(&inner, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    }

    #[test]
    fn folders_in_folders_go_however_many_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let attempt = temp.path().join("17");
        fs::create_dir_all(attempt.join("out")).unwrap();
        nest(&attempt.join("out"), DEEP);
        remove(&attempt).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        remove(&attempt).unwrap();
    }

    #[test]
    fn what_links_lead_to_and_what_is_beside_it_stays() {
        let temp = tempfile::tempdir().unwrap();
        let (attempt, other) = (temp.path().join("17"), temp.path().join("18"));
        fs::create_dir_all(attempt.join("closed/in")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("theirs"), "").unwrap();
        symlink(&other, attempt.join("closed/link")).unwrap();
        symlink("..", attempt.join("up")).unwrap();
        for closed in ["closed/in", "closed"] {
            fs::set_permissions(attempt.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        remove(&attempt).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        assert!(other.join("theirs").exists());
        symlink(&other, &attempt).unwrap();
        remove(&attempt).unwrap();
        assert!(attempt.symlink_metadata().is_err() && other.join("theirs").exists());
    }
}
