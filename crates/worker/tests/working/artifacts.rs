//! What is put is there, whole, or an error says what is wrong with it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proofyard_core::error::with_causes;
use proofyard_core::state::ArtifactRef;
use proofyard_worker::artifacts::{ArtifactError, ArtifactStore, Artifacts, Syncer};
use tempfile::TempDir;

fn open() -> (TempDir, PathBuf, Artifacts) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("yard");
    let artifacts = Artifacts::open(&dir).unwrap();
    (temp, dir, artifacts)
}

fn unnamed(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("artifacts/unnamed")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Changes a file as a failing disk would; the file itself is read-only.
fn overwrite(path: &PathBuf, content: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn content_is_kept_under_its_hash() {
    let (_temp, dir, artifacts) = open();
    let artifact = artifacts.put_bytes(b"abc").unwrap();
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(artifact, ArtifactRef { sha256: expected.to_owned(), bytes: 3 });
    let path = artifacts.path(&artifact).unwrap();
    assert_eq!(path, dir.join("artifacts/ba").join(expected));
    assert_eq!(fs::read(path).unwrap(), b"abc");
    assert_eq!(artifacts.read(&artifact, 3).unwrap(), b"abc");
    let mut text = String::new();
    artifacts.open_file(&artifact).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
    assert_eq!(Artifacts::reading(&dir).read(&artifact, 3).unwrap(), b"abc");
    assert_eq!(unnamed(&dir), Vec::<PathBuf>::new());
}

#[test]
fn a_file_is_copied_so_that_its_owner_may_do_as_it_likes() {
    let (temp, _dir, artifacts) = open();
    let file = temp.path().join("proof");
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&file, &content).unwrap();
    let draft = artifacts.draft(File::open(&file).unwrap(), 300_000, &file).unwrap();
    fs::write(&file, b"changed").unwrap();
    assert_eq!(fs::read(draft.path()).unwrap(), content);
    let artifact = artifacts.keep(&draft).unwrap();
    assert_eq!(&artifact, draft.artifact());
    assert_eq!(artifacts.read(&artifact, 1 << 20).unwrap(), content);
    assert!(matches!(artifacts.read(&artifact, 299_999), Err(ArtifactError::TooLarge { .. })));
}

#[test]
fn putting_the_same_again_also_at_once_keeps_one() {
    let (_temp, dir, artifacts) = open();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..20).for_each(|n| _ = artifacts.put_bytes(format!("content {n}").as_bytes()).unwrap())
            });
        }
    });
    let again = artifacts.put_bytes(b"content 7").unwrap();
    artifacts.verify(&again).unwrap();
    assert_eq!(unnamed(&dir), Vec::<PathBuf>::new());
    let shards = fs::read_dir(dir.join("artifacts")).unwrap();
    let kept = shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum::<usize>();
    assert_eq!(kept, 20);
}

#[test]
fn a_truncated_or_changed_artifact_is_named_and_mended_by_putting_it_again() {
    let (_temp, _dir, artifacts) = open();
    let artifact = artifacts.put_bytes(b"a proof").unwrap();
    let path = artifacts.path(&artifact).unwrap();
    for (damage, what) in [
        (b"a pro".as_slice(), "5 of 7 bytes"),
        (b"", "0 of 7"),
        (b"a prooF", "hash to"),
        (b"longer than it", "14 of 7"),
    ] {
        overwrite(&path, damage);
        for said in [artifacts.read(&artifact, 100).map(|_| ()), artifacts.verify(&artifact)] {
            let said = said.unwrap_err().to_string();
            assert!(said.contains(&path.display().to_string()), "{said}");
            assert!(said.contains(what) && said.contains("put back a copy"), "{said}");
        }
        assert_eq!(artifacts.put_bytes(b"a proof").unwrap(), artifact);
        assert_eq!(artifacts.read(&artifact, 100).unwrap(), b"a proof");
    }
    fs::remove_file(&path).unwrap();
    let said = artifacts.verify(&artifact).unwrap_err();
    assert!(matches!(said, ArtifactError::Missing(_)), "{said}");
}

#[test]
fn a_reference_from_outside_reaches_nothing_else() {
    let (_temp, _dir, artifacts) = open();
    let long = "a".repeat(64);
    let names =
        ["", "a", "../../state.db", "é", &long[1..], &long.to_uppercase(), &format!("../{}", &long[3..])];
    for name in names {
        let artifact = ArtifactRef { sha256: name.to_owned(), bytes: 0 };
        assert!(matches!(artifacts.verify(&artifact), Err(ArtifactError::BadName(_))), "{name}");
        assert!(matches!(artifacts.path(&artifact), Err(ArtifactError::BadName(_))), "{name}");
    }
}

#[test]
fn what_is_too_large_or_cannot_be_read_is_refused_and_leaves_nothing() {
    let (temp, dir, artifacts) = open();
    let draft = |path: &Path| artifacts.draft(File::open(path).unwrap(), 100, path).map(|_| ());
    let file = temp.path().join("proof");
    fs::write(&file, [0; 101]).unwrap();
    for endless in [file.as_path(), "/dev/zero".as_ref()] {
        assert!(matches!(draft(endless), Err(ArtifactError::TooLarge { .. })));
    }
    let said = draft(temp.path()).unwrap_err().to_string();
    assert!(said.contains(&temp.path().display().to_string()), "{said}");
    assert_eq!(unnamed(&dir), Vec::<PathBuf>::new());
}

#[test]
fn a_draft_that_is_not_kept_is_gone_and_one_that_is_synced_early_is_kept_all_the_same() {
    let (_temp, dir, artifacts) = open();
    let syncer = Syncer::start();
    let dropped = artifacts.draft(b"refused".as_slice(), 100, "it".as_ref()).unwrap();
    dropped.begin_sync(&syncer);
    let missing = dropped.artifact().clone();
    drop(dropped);
    assert!(matches!(artifacts.verify(&missing), Err(ArtifactError::Missing(_))));
    let draft = artifacts.draft(b"accepted".as_slice(), 100, "it".as_ref()).unwrap();
    draft.begin_sync(&syncer);
    let kept = artifacts.keep(&draft).unwrap();
    drop(draft);
    assert_eq!(artifacts.read(&kept, 100).unwrap(), b"accepted");
    assert_eq!(unnamed(&dir), Vec::<PathBuf>::new());
}

#[test]
fn what_a_crash_left_half_written_is_cleared_at_the_next_start() {
    let (_temp, dir, artifacts) = open();
    let kept = artifacts.put_bytes(b"kept").unwrap();
    fs::write(dir.join("artifacts/unnamed/0"), b"half").unwrap();
    let artifacts = Artifacts::open(&dir).unwrap();
    assert_eq!(unnamed(&dir), Vec::<PathBuf>::new());
    let next = artifacts.put_bytes(b"next").unwrap();
    artifacts.verify(&next).unwrap();
    artifacts.verify(&kept).unwrap();
}

#[test]
fn what_a_worker_asks_for_is_checked_and_named_by_its_path() {
    let (_temp, _dir, artifacts) = open();
    let artifact = artifacts.put_bytes(b"a proof").unwrap();
    let path = artifacts.fetch(&artifact).unwrap();
    assert_eq!(artifacts.name_of(&artifact), path.display().to_string());
    overwrite(&path, b"a prooF");
    assert!(matches!(artifacts.fetch(&artifact), Err(ArtifactError::Damaged { .. })));
    let rubbish = ArtifactRef { sha256: "rubbish".to_owned(), bytes: 0 };
    assert_eq!(artifacts.name_of(&rubbish), "rubbish");
}

#[test]
fn errors_of_a_remote_store_read_as_those_of_the_folder() {
    let (_temp, _dir, artifacts) = open();
    let missing = ArtifactRef { sha256: "0".repeat(64), bytes: 1 };
    let here = artifacts.fetch(&missing).unwrap_err();
    let there = ArtifactError::MissingThere { artifact: artifacts.name_of(&missing) };
    assert_eq!(there.to_string(), here.to_string());
    let damaged = artifacts.put_bytes(b"a proof").unwrap();
    overwrite(&artifacts.path(&damaged).unwrap(), b"short");
    let here = artifacts.fetch(&damaged).unwrap_err();
    let what = "it has 5 of 7 bytes".to_owned();
    let there = ArtifactError::DamagedThere { artifact: artifacts.name_of(&damaged), what };
    assert_eq!(there.to_string(), here.to_string());
    assert!(!here.passes() && !there.passes());
    for passes in [true, false] {
        let (artifact, source) = ("s3://bucket/it".to_owned(), "the bucket is busy".into());
        let error = ArtifactError::Remote { artifact, doing: "read", source, passes };
        assert_eq!(with_causes(&error).to_string(), "s3://bucket/it cannot be read: the bucket is busy");
        assert_eq!(error.passes(), passes);
    }
}
