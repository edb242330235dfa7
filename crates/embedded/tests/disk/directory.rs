//! The data directory: one process at a time, and plain words where it cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use proofyard_core::port::{Action, Batch, Expect, Key, Op, PortError};
use proofyard_embedded::lock::{DataDir, DataDirError};
use proofyard_embedded::store::SqliteStore;
use proofyard_worker::artifacts::Artifacts;

#[test]
fn only_one_at_a_time_may_have_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("deep/in/yard");
    assert!(matches!(DataDir::open(&path, false), Err(DataDirError::Missing(_))));
    assert!(!path.exists());
    let dir = DataDir::open(&path, true).unwrap();
    let said = DataDir::open(&path, true).unwrap_err().to_string();
    let pid = std::process::id();
    let shown = path.display();
    let expected = format!(
        "another proofyard (pid {pid}) uses {shown}; talk to it with `proofyard status --data {shown}`"
    );
    assert_eq!(said, expected);
    drop(dir);
    DataDir::open(&path, false).unwrap();
}

#[test]
fn a_lock_file_of_rubbish_does_not_matter() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("lock"), [0xff; 1_000]).unwrap();
    let dir = DataDir::open(temp.path(), false).unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("lock")).unwrap(), format!("{}\n", std::process::id()));
    fs::write(temp.path().join("lock"), [0xff; 1_000]).unwrap();
    let said = DataDir::open(temp.path(), false).unwrap_err().to_string();
    assert!(said.contains("(pid unknown)"), "{said}");
    drop(dir);
}

#[test]
fn a_file_in_its_place_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "theirs").unwrap();
    assert!(matches!(DataDir::open(&file, true), Err(DataDirError::NotADirectory(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
}

#[test]
fn a_directory_of_other_things_is_refused_and_left_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("work/thesis")).unwrap();
    fs::write(temp.path().join("lock"), "theirs").unwrap();
    for create in [true, false] {
        let said = DataDir::open(temp.path(), create).unwrap_err().to_string();
        assert!(said.contains("holds something else (work)"), "{said}");
        assert_eq!(fs::read_to_string(temp.path().join("lock")).unwrap(), "theirs");
    }
    fs::remove_dir_all(temp.path().join("work")).unwrap();
    fs::create_dir(temp.path().join("lost+found")).unwrap();
    DataDir::open(temp.path(), true).unwrap();
}

#[test]
fn a_read_only_directory_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("yard");
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o555);
    let done = crate::support::as_plain_user("directory::in_a_read_only_directory", &path).output().unwrap();
    assert_passed(&done);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
#[ignore = "run by a_read_only_directory_is_named"]
fn in_a_read_only_directory() {
    let Some(path) = crate::support::directory() else { return };
    for path in [path.clone(), path.join("new")] {
        let said = DataDir::open(&path, true).unwrap_err().to_string();
        assert!(said.contains(&path.display().to_string()) && said.contains("may write to"), "{said}");
    }
}

#[test]
fn a_yard_that_became_read_only_says_so_and_keeps_what_it_has() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("yard");
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    store.commit(&one_item()).unwrap();
    Artifacts::open(dir.path()).unwrap();
    drop((store, dir));
    let before = fs::read(path.join("state.db")).unwrap();
    // The lock can still be taken, so that the error is the store's.
    set_mode(&path.join("lock"), 0o666);
    set_mode(&path, 0o555);
    let done =
        crate::support::as_plain_user("directory::in_a_yard_that_became_read_only", &path).output().unwrap();
    assert_passed(&done);
    set_mode(&path, 0o755);
    assert_eq!(fs::read(path.join("state.db")).unwrap(), before);
    let dir = DataDir::open(&path, false).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    assert_eq!(store.get(&Key::new("p", "a")).unwrap().unwrap().value, b"one");
}

#[test]
#[ignore = "run by a_yard_that_became_read_only_says_so_and_keeps_what_it_has"]
fn in_a_yard_that_became_read_only() {
    let Some(path) = crate::support::directory() else { return };
    // Its files belong to root where root runs the tests, and to this user elsewhere.
    let _ = fs::set_permissions(path.join("state.db"), fs::Permissions::from_mode(0o444));
    let dir = DataDir::open(&path, true).unwrap();
    match SqliteStore::open(&dir) {
        Err(PortError::Broken(said)) => {
            let said = said.to_string();
            assert!(said.contains("state.db cannot be written") && said.contains("writable"), "{said}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

fn one_item() -> Batch {
    let action = Action::Put { value: b"one".to_vec(), due_ms: None };
    Batch {
        version: 1,
        ops: vec![Op { key: Key::new("p", "a"), expect: Expect::Absent, action }],
        durable: true,
    }
}

fn assert_passed(done: &Output) {
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{done:?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_state_is_looked_at_beside_its_writer_and_not_changed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temp.path(), true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    let beside = SqliteStore::looking(temp.path()).unwrap();
    let key = Key::new("p", "s");
    let action = Action::Put { value: b"1".to_vec(), due_ms: None };
    let batch = Batch {
        version: 1,
        ops: vec![Op { key: key.clone(), expect: Expect::Absent, action }],
        durable: false,
    };
    assert!(matches!(beside.commit(&batch), Err(PortError::Broken(_))));
    store.commit(&batch).unwrap();
    assert_eq!(beside.get(&key).unwrap().map(|stored| stored.value), Some(b"1".to_vec()));
    drop((store, dir));
    let after = SqliteStore::looking(temp.path()).unwrap();
    assert_eq!(after.get(&key).unwrap().map(|stored| stored.value), Some(b"1".to_vec()));
    drop((beside, after));
    fs::write(temp.path().join("state.db"), "not a database").unwrap();
    assert!(SqliteStore::looking(temp.path()).is_err());
}
