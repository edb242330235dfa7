//! Bad usage, config and input end with exit code 2, and leave nothing behind.

use std::fs;

use super::support::{Done, Place};

const VERBS: [&[&str]; 8] = [
    &["status"],
    &["explain", "1"],
    &["verify"],
    &["pause"],
    &["resume"],
    &["retry"],
    &["window", "3"],
    &["redo", "1"],
];

#[test]
fn a_directory_without_a_yard_is_named_and_left_alone() {
    let mut place = Place::new(1);
    for verb in VERBS {
        place.verb(verb).expect_code(2).expect_error("there is no yard in");
        assert!(!place.data.exists());
    }
    place.data = place.path("theirs");
    fs::create_dir(&place.data).unwrap();
    for verb in VERBS {
        place.verb(verb).expect_code(2).expect_error("there is no yard in");
        assert_eq!(fs::read_dir(&place.data).unwrap().count(), 0, "{verb:?}");
    }
    place.data = place.path("blocks.jsonl");
    for verb in VERBS {
        place.verb(verb).expect_code(2).expect_error("is not a directory");
    }
}

#[test]
fn blocks_that_can_be_read_only_once_are_refused() {
    let place = Place::new(1);
    let fifo = place.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    fs::rename(&fifo, place.path("blocks.jsonl")).unwrap();
    place.run().expect_code(2).expect_error("is no plain file");
    assert!(!place.data.exists());
}

#[test]
fn a_directory_of_other_things_is_refused_and_left_as_it_was() {
    let place = Place::new(1);
    fs::create_dir_all(place.data.join("work")).unwrap();
    fs::write(place.data.join("work/thesis"), "theirs").unwrap();
    place.run().expect_code(2).expect_error("holds something else (work)");
    assert_eq!(fs::read_to_string(place.data.join("work/thesis")).unwrap(), "theirs");
    assert_eq!(fs::read_dir(&place.data).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let place = Place::new(2);
    place.run().expect_code(0);
    let wrong: [&[&str]; 16] = [
        &["explain"],
        &["explain", "first"],
        &["verify", "2..1"],
        &["verify", "a..b"],
        &["verify", "7..9"],
        &["window"],
        &["window", "0"],
        &["window", "-1"],
        &["redo"],
        &["redo", "0"],
        &["redo", "3"],
        &["retry", "no task"],
        &["retry", "demo:b:1:0xab:0/join/0"],
        &["retry", "other:b:1:0xab:0/join/0"],
        &["status", "--chain", "other"],
        &["pause", "--chain", "other"],
    ];
    for arguments in wrong {
        let done = place.verb(arguments).expect_code(2);
        assert!(!done.err.is_empty(), "{arguments:?}");
        let mut json = arguments.to_vec();
        json.push("--json");
        place.verb(&json).expect_code(2);
    }
    for arguments in [&[][..], &["prove-it"], &["run"], &["run", "pipeline.toml"], &["status", "--taks"]] {
        assert_eq!(place.command(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_run_starts_nothing_on_bad_files() {
    let place = Place::new(3);
    let sound = fs::read_to_string(place.path("blocks.jsonl")).unwrap();
    let without_second: Vec<_> =
        sound.lines().enumerate().filter(|(number, _)| *number != 1).map(|(_, line)| line).collect();
    fs::write(place.path("blocks.jsonl"), without_second.join("\n")).unwrap();
    place.run().expect_code(2).expect_error("blocks.jsonl:2");
    fs::remove_file(place.path("blocks.jsonl")).unwrap();
    place.run().expect_code(2).expect_error("blocks.jsonl");
    fs::write(place.path("blocks.jsonl"), sound).unwrap();
    fs::write(place.path("pipeline.toml"), "[chain]\nname = \"demo\"\nstart_hight = 1\n").unwrap();
    place.run().expect_code(2).expect_error("pipeline.toml:3");
    assert!(!place.data.exists());
}

#[test]
fn mistakes_of_a_pipeline_file_have_a_place_each() {
    let place = Place::new(1);
    let check = |json: &[&str]| {
        Done::of(place.command(&[&["check", "pipeline.toml"], json].concat()).output().unwrap())
            .expect_code(2)
    };
    fs::write(place.path("pipeline.toml"), b"[chain]\n# \xc3\xa9 \xff\n").unwrap();
    check(&[]).expect_error("pipeline.toml:2:5: this is not UTF-8");
    fs::write(place.path("pipeline.toml"), "é".repeat(1 << 20)).unwrap();
    check(&[]).expect_error("1048576 bytes");
    fs::write(place.path("pipeline.toml"), "[chain]\nname = \"demo\"\nstart_hight = 1\nwindow = 0\n")
        .unwrap();
    let told: serde_json::Value = serde_json::from_str(&check(&["--json"]).err).unwrap();
    let lines: Vec<_> = told["mistakes"].as_array().unwrap().iter().map(|mistake| &mistake["line"]).collect();
    assert!(lines.contains(&&3.into()) && lines.contains(&&4.into()), "{told}");
}

#[test]
fn a_blocks_file_may_only_grow() {
    let place = Place::new(4);
    let four = fs::read_to_string(place.path("blocks.jsonl")).unwrap();
    let three: Vec<_> = four.lines().take(3).collect();
    place.run().expect_code(0);
    fs::write(place.path("blocks.jsonl"), three.join("\n") + "\n").unwrap();
    place.run().expect_code(2).expect_error("may only grow");
    fs::write(place.path("blocks.jsonl"), four).unwrap();
    place.run().expect_code(0).expect_output("4 blocks committed");
}
