//! Input that is wrong: told with its place and exit code 2, before anything is started or taken.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use proofyard_faults::{BlocksFile, Ended, Place, ToyPipeline, Witness};
use rusqlite::Connection;

/// "nobody", on every Linux: file permissions do not stop root.
const PLAIN_USER: u32 = 65_534;

fn sound_place() -> Place {
    Place::new(ToyPipeline::default(), &BlocksFile::Chain.lines()[..3])
}

/// What the command says as it ends with exit code 2.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Every file below, with what it holds.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if path.is_file() {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

fn run_to_the_end(place: &Place) {
    assert_eq!(place.start().wait(), Ended::Code(0), "{}", place.log());
    assert!(Witness::default().look(place).unwrap().is_all_committed());
}

#[test]
fn a_pipeline_file_with_mistakes_starts_nothing() {
    let place = sound_place();
    let text = place.pipeline.text();
    let wrong = [
        ("window = 4", "window = 0"),
        ("from = [\"block\", \"segment\"]", "from = [\"block\", \"segmnt\"]"),
        ("lease_ms = 300", "lease = 300"),
        ("commit = \"join\"", "commit = \"joint\""),
    ];
    let text = wrong.iter().fold(text, |text, (right, wrong)| text.replace(right, wrong));
    fs::write(place.path("pipeline.toml"), &text).unwrap();
    let said = refused(place.command());
    for (_, wrong) in wrong {
        let line = text.lines().position(|line| line == wrong).unwrap() + 1;
        assert!(
            said.contains(&format!("pipeline.toml:{line}:")),
            "{wrong} at line {line} is not told:\n{said}"
        );
    }
    assert!(!place.data_dir().exists());
}

/// A file that cannot be taken: its lines, and what is told, starting with the line's number.
fn bad_blocks_files() -> Vec<(&'static str, Vec<String>, String)> {
    let (chain, reorg) = (BlocksFile::Chain.lines(), BlocksFile::Reorg.lines());
    let with = |change: fn(&mut Vec<String>)| {
        let mut lines = chain[..6].to_vec();
        change(&mut lines);
        lines
    };
    let without_reorg_line = [&reorg[..14], &reorg[15..]].concat();
    let last = without_reorg_line.len();
    vec![
        ("a gap", with(|lines| _ = lines.remove(3)), "4: a gap".into()),
        ("a duplicate", with(|lines| lines.insert(3, lines[2].clone())), "4: block 3".into()),
        ("a wrong hash", with(|lines| lines[2] = other_hash(&lines[2])), "3: block 3".into()),
        ("a fork", without_reorg_line, format!("{last}: a fork without a reorg line")),
        ("a line cut short", with(|lines| lines[5].truncate(700)), "6: ".into()),
        ("no JSON", with(|lines| lines[1] = "\u{0}\u{1}?".into()), "2: ".into()),
        ("nothing", Vec::new(), "1: the file holds no block".into()),
    ]
}

fn other_hash(line: &str) -> String {
    let line_value: serde_json::Value = serde_json::from_str(line).unwrap();
    line.replace(line_value["block"]["hash"].as_str().unwrap(), &format!("0x{}", "7".repeat(64)))
}

#[test]
fn a_bad_blocks_file_is_told_by_line_and_takes_nothing() {
    let yard = sound_place();
    run_to_the_end(&yard);
    let before = content(&yard.data_dir());
    for (what, lines, told) in bad_blocks_files() {
        let fresh = sound_place();
        for place in [&fresh, &yard] {
            place.write_blocks(&lines);
            let said = refused(place.command());
            assert!(said.contains(&format!("input.jsonl:{told}")), "{what}: {said}");
        }
        assert!(!fresh.data_dir().exists(), "{what}");
        assert!(content(&yard.data_dir()) == before, "{what} changed the data directory");
    }
    let fresh = sound_place();
    for (place, told) in [
        (&fresh, "1: the pipeline starts at height 1"),
        (&yard, "1: this file does not go on from the chain"),
    ] {
        place.write_blocks(&BlocksFile::Chain.lines()[4..6]);
        let said = refused(place.command());
        assert!(said.contains(&format!("input.jsonl:{told}")), "another start: {said}");
    }
    assert!(!fresh.data_dir().exists());
    // Reading the state leaves SQLite's own files beside it, as `status` does.
    let state = |content: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        content.into_iter().filter(|(name, _)| !name.ends_with("-wal") && !name.ends_with("-shm")).collect()
    };
    assert!(state(content(&yard.data_dir())) == state(before), "another start changed the data directory");
    yard.write_blocks(&BlocksFile::Chain.lines()[..6]);
    run_to_the_end(&yard);
}

#[test]
fn a_line_of_100_mb_is_refused() {
    let place = sound_place();
    let mut file = fs::File::options().append(true).open(place.path("input.jsonl")).unwrap();
    file.write_all(b"{\"block\":\"").unwrap();
    (0..100).for_each(|_| file.write_all(&vec![b'x'; 1 << 20]).unwrap());
    file.write_all(b"\"}\n").unwrap();
    let said = refused(place.command());
    assert!(said.contains("input.jsonl:4: the line is longer than"), "{said}");
    assert!(!place.data_dir().exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_told_and_left_alone() {
    let place = sound_place();
    run_to_the_end(&place);
    place.write_blocks(&BlocksFile::Chain.lines()[..6]);
    let before = content(&place.data_dir());
    set_mode(&place.data_dir(), 0o555);
    let said = refused(as_plain_user(&place));
    assert!(said.contains("cannot be opened for writing") && said.contains("data/lock"), "{said}");
    assert!(content(&place.data_dir()) == before);
    set_mode(&place.data_dir(), 0o755);
    run_to_the_end(&place);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The same command, as a user whom file permissions stop.
fn as_plain_user(place: &Place) -> Command {
    let command = place.command();
    let is_root = fs::metadata(place.path("")).unwrap().uid() == 0;
    if !is_root {
        return command;
    }
    // Where root keeps its builds and its temporary files, others may not look.
    place.path("").ancestors().take(2).for_each(|folder| set_mode(folder, 0o755));
    let program = place.path("proofyard");
    fs::copy(command.get_program(), &program).unwrap();
    let mut copy = Command::new(program);
    copy.args(command.get_args()).uid(PLAIN_USER).gid(PLAIN_USER);
    copy
}

#[test]
fn a_database_of_another_program_or_a_newer_version_is_left_alone() {
    let place = sound_place();
    run_to_the_end(&place);
    place.write_blocks(&BlocksFile::Chain.lines()[..6]);
    let database = place.data_dir().join("state.db");
    let format: i32 = Connection::open(&database)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let application: i32 = Connection::open(&database)
        .unwrap()
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .unwrap();
    for (mark, own, other, told) in [
        ("user_version", format, format + 1, "use the proofyard that wrote it, or a newer one"),
        ("application_id", application, 7, "another program's SQLite database"),
    ] {
        Connection::open(&database).unwrap().pragma_update(None, mark, other).unwrap();
        let before = fs::read(&database).unwrap();
        let said = refused(place.command());
        assert!(said.contains(told) && said.contains("state.db"), "{said}");
        assert!(fs::read(&database).unwrap() == before, "{mark}: the database was changed");
        Connection::open(&database).unwrap().pragma_update(None, mark, own).unwrap();
    }
    run_to_the_end(&place);
}

#[test]
fn a_second_yard_on_one_directory_is_refused() {
    let toy = ["--hang", "--only", ":b:3:"].map(str::to_owned).to_vec();
    let place = Place::new(ToyPipeline { toy, ..ToyPipeline::default() }, &BlocksFile::Chain.lines()[..3]);
    let mut first = place.start();
    proofyard_faults::wait_for("two commits", || (place.sink_lines("blocks").len() == 2).then_some(()));
    let said = refused(place.command());
    assert!(said.contains("another proofyard") && said.contains(&first.pid().to_string()), "{said}");
    assert_eq!(first.kill(), Ended::Killed);
    Witness::default().look(&place);
}
