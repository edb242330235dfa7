use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use proofyard_core::error::with_causes;
use proofyard_core::port::{Action, Expect, Op};
use proofyard_core::state::{ChainName, ChainState, OutEntry, SinkCursor};
use rusqlite::Connection;
use serde_json::json;

use super::*;

fn open(path: &Path) -> (DataDir, Result<SqliteStore, PortError>) {
    let dir = DataDir::open(path, true).unwrap();
    let store = SqliteStore::open(&dir);
    (dir, store)
}

fn opened(path: &Path) -> (DataDir, SqliteStore) {
    let (dir, store) = open(path);
    (dir, store.unwrap())
}

fn put(sort: &str, expect: Expect, value: Vec<u8>) -> Op {
    Op { key: Key::new("p", sort), expect, action: Action::Put { value, due_ms: None } }
}

fn batch(version: u64, ops: Vec<Op>) -> Batch {
    Batch { version, ops, durable: false }
}

fn message(result: Result<impl Sized, PortError>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => with_causes(&error).to_string(),
    }
}

fn allow_pages(store: &SqliteStore, pages: u32) {
    // Not within the group's transaction's own count: the limit holds from here on.
    let hook = move |connection: &Connection| {
        let set: u32 =
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
        assert!(set >= pages);
    };
    assert_eq!(store.writer().unwrap().hook(hook).unwrap(), CommitOutcome::Committed);
}

#[test]
fn a_full_disk_is_survived_and_work_goes_on_when_there_is_room() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, store) = opened(temp.path());
    let outcome = store.commit(&batch(1, vec![put("small", Expect::Absent, b"one".to_vec())])).unwrap();
    assert_eq!(outcome, CommitOutcome::Committed);
    allow_pages(&store, 40);

    let mut kept = 0;
    let refused = loop {
        match store.commit(&batch(1, vec![put(&format!("{kept}"), Expect::Absent, vec![b'x'; 20_000])])) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!((1..40).contains(&kept), "{kept}");
    assert!(matches!(refused, PortError::Unavailable(_)), "{refused:?}");
    assert!(message(Err::<(), _>(refused)).contains("free some disk space"));
    assert_eq!(store.get(&Key::new("p", format!("{kept}"))).unwrap(), None);

    // What needs no room goes through, also while others ask for too much.
    std::thread::scope(|scope| {
        for n in 0..8 {
            let store = &store;
            let big = batch(1, vec![put(&format!("big {n}"), Expect::Absent, vec![b'x'; 400_000])]);
            scope.spawn(move || {
                let refused = store.commit(&big);
                assert!(matches!(refused, Err(PortError::Unavailable(_))), "{refused:?}");
            });
        }
        for version in 1..50 {
            let small = batch(version + 1, vec![put("small", Expect::Version(version), b"two".to_vec())]);
            assert_eq!(store.commit(&small).unwrap(), CommitOutcome::Committed);
        }
    });

    allow_pages(&store, 100_000);
    let outcome = store.commit(&batch(1, vec![put("big", Expect::Absent, vec![b'x'; 400_000])])).unwrap();
    assert_eq!(outcome, CommitOutcome::Committed);
    drop((store, dir));
    let (_dir, store) = opened(temp.path());
    let found: Vec<String> =
        store.range(&Range::all("p", 100)).unwrap().into_iter().map(|(sort, _)| sort).collect();
    let mut expected: Vec<String> =
        (0..kept).map(|n| format!("{n}")).chain(["big".into(), "small".into()]).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_whole(&store);
}

fn assert_whole(store: &SqliteStore) {
    let said = store
        .readers
        .read(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    assert_eq!(said.unwrap(), "ok");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    drop(opened(temp.path()));
    let file = temp.path().join(STATE_FILE);
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&file).unwrap();
    let said = message(open(temp.path()).1);
    assert!(said.contains("format 7") && said.contains("format 2") && said.contains("newer"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    for mark in ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 7"] {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(STATE_FILE);
        Connection::open(&file).unwrap().execute_batch(mark).unwrap();
        let before = fs::read(&file).unwrap();
        let said = message(open(temp.path()).1);
        assert!(said.contains("another program"), "{mark}: {said}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join(STATE_FILE);
    let rubbish = vec![b'?'; 10_000];
    fs::write(&file, &rubbish).unwrap();
    let (_dir, store) = open(temp.path());
    assert!(matches!(store, Err(PortError::Broken(_))));
    let said = message(store);
    assert!(said.contains(&file.display().to_string()) && said.contains("damaged"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), rubbish);
}

#[test]
fn damage_inside_the_file_is_an_error_and_never_a_wrong_answer() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, store) = opened(temp.path());
    for n in 0..100 {
        store.commit(&batch(1, vec![put(&format!("{n}"), Expect::Absent, vec![b'x'; 3_000])])).unwrap();
    }
    drop((store, dir));
    let file = temp.path().join(STATE_FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes[3 * 4_096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let (_dir, store) = opened(temp.path());
    let read = store.range(&Range::all("p", 1_000));
    assert!(matches!(read, Err(PortError::Broken(_))), "{:?}", read.map(|found| found.len()));
    let written = store.commit(&batch(2, vec![put("50", Expect::Version(1), b"two".to_vec())]));
    assert!(matches!(written, Err(PortError::Broken(_))), "{written:?}");
}

#[test]
fn callers_of_a_writer_that_died_get_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, store) = opened(temp.path());
    store.commit(&batch(1, vec![put("a", Expect::Absent, b"one".to_vec())])).unwrap();
    let hook = store.writer().unwrap().hook(|_| panic!("planted: the writer dies"));
    assert!(matches!(hook, Err(PortError::Broken(_))));
    let said = message(store.commit(&batch(2, vec![put("a", Expect::Version(1), b"two".to_vec())])));
    assert!(said.contains("has stopped"), "{said}");
    assert_eq!(store.get(&Key::new("p", "a")).unwrap().unwrap().value, b"one");
}

/// What it checked may not be on disk yet.
#[test]
fn a_durable_check_syncs_what_it_checked() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, store) = opened(temp.path());
    let check = Op { key: Key::new("p", "a"), expect: Expect::Version(1), action: Action::Check };
    let durable = Batch { version: 9, ops: vec![check], durable: true };
    store.commit(&batch(1, vec![put("a", Expect::Absent, b"one".to_vec())])).unwrap();
    assert_eq!(store.syncs().done, 0);
    assert_eq!(store.commit(&durable).unwrap(), CommitOutcome::Committed);
    assert_eq!(store.syncs().done, 1);
    assert_eq!(store.commit(&durable).unwrap(), CommitOutcome::Committed);
    store.sync().unwrap();
    assert_eq!(store.syncs().done, 1, "nothing was unsynced");
    store.commit(&batch(2, vec![put("a", Expect::Version(1), b"two".to_vec())])).unwrap();
    store.sync().unwrap();
    assert_eq!(store.syncs().done, 2);
}

#[test]
fn the_log_stays_bounded_under_steady_writes_and_reads() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, store) = opened(temp.path());
    let done = AtomicBool::new(false);
    let log = temp.path().join("state.db-wal");
    let mut greatest = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    store.range(&Range::all("p", 10)).unwrap();
                }
            });
        }
        // About 40,000 pages in all.
        for version in 0..500 {
            let expect = if version == 0 { Expect::Absent } else { Expect::Version(version - 1) };
            // SQLite leaves pages alone that do not change.
            let value = vec![version as u8; 30_000];
            let ops = (0..10).map(|n| put(&format!("{n}"), expect, value.clone())).collect();
            assert_eq!(store.commit(&batch(version, ops)).unwrap(), CommitOutcome::Committed);
            greatest = greatest.max(fs::metadata(&log).unwrap().len());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(greatest < 100 << 20, "the log grew to {greatest} bytes");
}

/// Such as a backup. The log may grow meanwhile, but commits must not wait for the reader again and again.
#[test]
fn a_long_read_holds_up_no_commit_and_the_log_is_cut_after_it() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, store) = opened(temp.path());
    let file = temp.path().join("state.db-wal");
    let log_bytes = || fs::metadata(&file).unwrap().len();
    let write = |versions: std::ops::Range<u64>| {
        for version in versions {
            let expect = if version == 0 { Expect::Absent } else { Expect::Version(version - 1) };
            // SQLite leaves pages alone that do not change.
            let value = vec![version as u8; 30_000];
            let ops = (0..10).map(|n| put(&format!("{n}"), expect, value.clone())).collect();
            assert_eq!(store.commit(&batch(version, ops)).unwrap(), CommitOutcome::Committed);
        }
    };
    write(0..1);
    let reader = Connection::open(temp.path().join(STATE_FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM items").unwrap();
    write(1..200);
    assert!(log_bytes() > 40 << 20, "the reader keeps the log from starting anew: {}", log_bytes());
    drop(reader);
    let cut = (200..2_000).find(|version| {
        write(*version..version + 1);
        log_bytes() <= 32 << 20
    });
    assert!(cut.is_some(), "the log has {} bytes", log_bytes());
}

/// A chain with open work: commits by `join`, cuts of `range` that end in `wrap`, a sink of each, and one that was removed.
#[test]
fn a_file_of_the_first_format_is_brought_up_to_date() {
    let pipeline = "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 4\ncommit = \"join\"\n\
        [stage.join]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\"\n\
        [stage.range]\nstrategy = \"sequential\"\nfrom = \"join\"\nsize = 2\nprover = \"p\"\npool = \"cpu\"\n\
        [stage.wrap]\nstrategy = \"match\"\nfrom = \"range\"\nprover = \"p\"\npool = \"cpu\"\n\
        [prover.p]\ncommand = [\"p\"]\n[pool.cpu]\n\
        [sink.blocks]\nfile = \"b\"\n[sink.ranges]\nstage = \"wrap\"\nfile = \"r\"\n";
    let entry = |stage: &str| json!({"chain": "c", "stage": stage, "sequence": 0, "at_ms": 5, "kind": "retract", "from": 1, "to": 2});
    let cursor = |sink: &str| json!({"chain": "c", "sink": sink, "next_sequence": 1, "failures": 0, "last_error": null, "next_try_ms": null});
    let items = [
        ("Y", "c", json!({"chain": "c"})),
        (
            "C#c",
            "chain",
            json!({"chain": "c", "start_height": 1, "epoch": 0, "paused": false, "halted": null, "reorg": null, "pipeline": "77"}),
        ),
        ("C#c", "frontier", json!({"chain": "c", "height": 3, "opened": 5})),
        ("C#c", "pipe#77", json!({"chain": "c", "hash": "77", "text": pipeline})),
        ("C#c", "sink#blocks", cursor("blocks")),
        ("C#c", "sink#ranges", cursor("ranges")),
        ("C#c", "sink#gone", cursor("gone")),
        ("O#c#join", "00000000000000000000", entry("join")),
        ("O#c#wrap", "00000000000000000000", entry("wrap")),
    ];
    let temp = tempfile::tempdir().unwrap();
    {
        let (_dir, store) = opened(temp.path());
        let put = |(partition, sort, value): &(&str, &str, serde_json::Value)| Op {
            key: Key::new(*partition, *sort),
            expect: Expect::Absent,
            action: Action::Put { value: value.to_string().into_bytes(), due_ms: None },
        };
        store.commit(&batch(1, items.iter().map(put).collect())).unwrap();
    }
    Connection::open(temp.path().join(STATE_FILE)).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let (_dir, store) = opened(temp.path());
    let chain: ChainName = "c".parse().unwrap();
    let read = |key: &Key| store.get(key).unwrap().map(|stored| stored.value);
    let state: ChainState = serde_json::from_slice(&read(&ChainState::key_of(&chain)).unwrap()).unwrap();
    assert_eq!(state.pipeline_from, 5);
    for (log, sink) in [("commits", "blocks"), ("range", "ranges")] {
        let entry: OutEntry =
            serde_json::from_slice(&read(&OutEntry::key_of(&chain, log, 0)).unwrap()).unwrap();
        assert_eq!((entry.log.as_str(), entry.at_ms), (log, 5));
        let cursor: SinkCursor =
            serde_json::from_slice(&read(&SinkCursor::key_of(&chain, sink, log)).unwrap()).unwrap();
        assert_eq!((cursor.log.as_str(), cursor.next_sequence), (log, 1));
    }
    for (partition, sort) in
        [("O#c#join", "00000000000000000000"), ("C#c", "sink#blocks"), ("C#c", "sink#gone")]
    {
        assert_eq!(read(&Key::new(partition, sort)), None, "{partition} / {sort}");
    }
}

/// In files of the first format each shard had all kinds of due times.
#[test]
fn due_times_of_an_older_file_are_put_into_the_shards_of_today() {
    let temp = tempfile::tempdir().unwrap();
    let keys = [Key::new("W#w", "hb"), Key::new("C#c", "frontier"), Key::new("S#c:b:1:a:0", "scope")];
    {
        let (_dir, store) = opened(temp.path());
        let due = |key: &Key| Op {
            key: key.clone(),
            expect: Expect::Absent,
            action: Action::Put { value: b"1".to_vec(), due_ms: Some(7) },
        };
        store.commit(&batch(1, keys.iter().map(due).collect())).unwrap();
    }
    let file = temp.path().join(STATE_FILE);
    let older = Connection::open(&file).unwrap();
    older.execute("UPDATE items SET due_shard = 15", []).unwrap();
    older.pragma_update(None, "user_version", 1).unwrap();
    drop(older);
    let said = message(SqliteStore::looking(temp.path()));
    assert!(said.contains("older") && said.contains("proofyard run"), "{said}");
    let (_dir, store) = opened(temp.path());
    for key in &keys {
        let found = store.due(key.due_shard(), None, u64::MAX, 9).unwrap();
        assert_eq!(found, [Due { due_ms: 7, key: key.clone() }]);
    }
    assert_eq!(message(SqliteStore::looking(temp.path())), "no error");
}

#[test]
fn lookups_are_by_index() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, store) = opened(temp.path());
    let bounded = "USING PRIMARY KEY (partition=? AND sort>? AND sort<?)";
    let open_ended = "USING PRIMARY KEY (partition=? AND sort>?)";
    let due = "USING COVERING INDEX items_due (due_shard=? AND (due_ms,partition,sort)>(?,?,?) AND due_ms<?)";
    for (query, expected) in
        [(UP, open_ended), (UP_TO, bounded), (DOWN, open_ended), (DOWN_FROM, bounded), (DUE, due)]
    {
        let plan: Vec<String> = store
            .readers
            .read(|connection| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let count = statement.parameter_count();
                statement.query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get(3))?.collect()
            })
            .unwrap();
        assert!(plan.len() == 1 && plan[0].ends_with(expected), "{query}: {plan:?}");
    }
}
