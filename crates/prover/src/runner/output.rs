//! What a prover wrote: looked at with suspicion before anyone uses it.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::error::{ErrorKind, Fault};
use super::launch::Limits;
use crate::message::{FIELDS_BYTES, PROOF_SYSTEM_BYTES, ProveOk};

/// More files than this are too much output, whatever their size.
const OUTPUT_FILES: usize = 10_000;

/// What a prover made.
#[derive(Debug)]
pub struct Proved {
    /// As it was said; the public values in it are a claim.
    pub ok: ProveOk,
    pub output: OutputFile,
}

/// The file that was checked, kept open: read it from here, since the prover may put another one under its path.
#[derive(Debug)]
pub struct OutputFile {
    /// Without symlinks.
    pub path: PathBuf,
    pub file: File,
    /// When it was looked at; a reader stops there.
    pub bytes: u64,
}

/// Opens what a prover calls its output: a regular file within the folder, however many symlinks lead to it.
pub(crate) fn open_output(output_dir: &Path, path: &Path, limits: &Limits) -> Result<OutputFile, Fault> {
    let refuse =
        |why: &dyn std::fmt::Display| Fault::bad_output(format!("the output {}: {why}", path.display()));
    if !path.is_absolute() {
        return Err(refuse(&"the path is not absolute"));
    }
    // Opened only as a place at first: to open a device or a pipe in earnest can do things, or block.
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
    let message = format!("it wrote more than {limit_bytes} bytes (or {OUTPUT_FILES} files) of output");
    Fault::new(ErrorKind::OutputTooLarge { limit_bytes }, message)
}

/// The bytes of all files in a folder, or none where there are too many to count.
pub(crate) fn folder_bytes(folder: &Path) -> Option<u64> {
    let (mut bytes, mut files) = (0u64, 0usize);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // What cannot be read now was deleted in the meantime, or is read next time.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if files > OUTPUT_FILES {
                return None;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    Some(bytes)
}

/// Checks what a `ProveOk` says about itself, and its list against the file.
pub(crate) fn check_ok(ok: &ProveOk, output: &OutputFile) -> Result<(), Fault> {
    check_hex("verification_key", ok.verification_key.as_deref())?;
    check_hex("public_values", ok.public_values.as_deref())?;
    check_proof_system(ok.proof_system.as_deref())?;
    let fields_bytes: usize = ok.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields_bytes > FIELDS_BYTES {
        return Err(Fault::rubbish(format!(
            "its fields have {fields_bytes} bytes; {FIELDS_BYTES} are allowed"
        )));
    }
    if let Some(list) = ok.list {
        let counted = list_count(output)?;
        if counted != Some(list.count) {
            let counted = counted.map_or("no JSON list".into(), |count| format!("a list of {count}"));
            return Err(Fault::bad_output(format!(
                "it claims a list of {}, but wrote {counted}",
                list.count
            )));
        }
    }
    Ok(())
}

/// It is shown in tables, so it must be a name.
pub(crate) fn check_proof_system(name: Option<&str>) -> Result<(), Fault> {
    let is_name =
        |name: &str| name.len() <= PROOF_SYSTEM_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_none_or(is_name) {
        return Ok(());
    }
    Err(Fault::rubbish(format!(
        "its proof_system is not a name of up to {PROOF_SYSTEM_BYTES} ASCII characters"
    )))
}

pub(crate) fn check_hex(name: &str, value: Option<&str>) -> Result<(), Fault> {
    let Some(value) = value else { return Ok(()) };
    let digits = value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits && value.len().is_multiple_of(2) {
        return Ok(());
    }
    Err(Fault::rubbish(format!("its {name} is not lower-case hexadecimal")))
}

/// How many elements the file has, if it is a JSON list. The elements are not kept.
pub(crate) fn list_count(output: &OutputFile) -> Result<Option<u32>, Fault> {
    struct Count;

    impl<'de> Visitor<'de> for Count {
        type Value = u32;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a JSON list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u32, A::Error> {
            let mut count = 0u32;
            while list.next_element::<IgnoredAny>()?.is_some() {
                count = count.saturating_add(1);
            }
            Ok(count)
        }
    }

    // A fresh description, so that the caller's file stays at its start.
    let file = File::open(format!("/proc/self/fd/{}", output.file.as_raw_fd())).map_err(Fault::bad_output)?;
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(file));
    let count = reader.deserialize_seq(Count).and_then(|count| reader.end().map(|()| count));
    Ok(count.ok())
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
    fn a_claimed_list_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let count = |content: &str| {
            fs::write(&path, content).unwrap();
            list_count(&open_output(folder.path(), &path, &Limits::default()).unwrap()).unwrap()
        };
        assert_eq!(count("[1, {\"a\": [2, 3]}, \"]\"]"), Some(3));
        assert_eq!(count("[]"), Some(0));
        for none in ["{}", "[1, 2", "[1] x", ""] {
            assert_eq!(count(none), None, "{none}");
        }
    }
}
