//! Files that provers need: kept in the yard under their hashes, and ready wherever a prover starts.

use std::fs;

use super::support::Place;

/// Its prover answers with what its key holds.
fn place(files: &str) -> Place {
    let place = Place::new(2);
    let text = format!(
        r#"
        [chain]
        name = "demo"
        start_height = 1
        window = 2
        tick_ms = 100

        [stage.prove]
        strategy = "match"
        from = "block"
        prover = "copier"
        pool = "cpu"

        [prover.copier]
        command = ["sh", "-c", "test -s {{input}} && cp \"$KEYS/proving.key\" {{output}}"]
        environment = {{ KEYS = "{{files}}" }}
        protocol = "files"
        verify = "none"
        {files}

        [pool.cpu]
        slots = 2

        [sink.file]
        file = "out.jsonl"
        "#
    );
    fs::write(place.path("pipeline.toml"), text).unwrap();
    place
}

#[test]
fn what_keep_prints_has_every_prover_find_its_files() {
    let place = place("");
    fs::write(place.path("proving.key"), "a key").unwrap();
    fs::write(place.path("second.key"), "").unwrap();
    let printed = place.verb(&["keep", "proving.key", "second.key"]).expect_code(0).out;
    let text = fs::read_to_string(place.path("pipeline.toml")).unwrap();
    let text = text.replace("verify = \"none\"", &format!("verify = \"none\"\n{printed}"));
    fs::write(place.path("pipeline.toml"), text).unwrap();
    // What is done to the file afterwards is nothing to the yard.
    fs::write(place.path("proving.key"), "another key").unwrap();
    place.run().expect_code(0).expect_output("2 blocks committed, 0 missed");
    let out = fs::read_to_string(place.path("out.jsonl")).unwrap();
    let kept = &place.json(&["keep", "proving.key", "second.key"])[0];
    assert_eq!(kept["name"], "proving.key");
    assert!(!out.contains(kept["sha256"].as_str().unwrap()), "{out}");
    let told = printed.lines().find(|line| line.contains("proving.key")).unwrap();
    let sha256 = told.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(out.matches(&format!("\"{sha256}\"")).count(), 2, "{out}");
}

#[test]
fn a_file_that_the_yard_does_not_have_parks_the_task_until_it_is_kept() {
    let key = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    let place = place(&format!("files = [{{ name = \"proving.key\", sha256 = \"{key}\", bytes = 3 }}]"));
    place.run().expect_code(1);
    let told = format!("prover copier needs its file proving.key (sha256:{key})");
    place.verb(&["explain", "1"]).expect_code(0).expect_output(&told).expect_output("proofyard keep");
    fs::write(place.path("any name"), "key").unwrap();
    place.verb(&["keep", "any name"]).expect_code(0).expect_output(key);
    for height in ["1", "2"] {
        place.verb(&["retry", height]).expect_code(0);
    }
    place.run().expect_code(0).expect_output("2 blocks committed");
}

#[test]
fn a_yard_that_runs_takes_files_too() {
    let place = Place::new(1);
    place.shut_gate();
    let running = place.start_listening();
    fs::write(place.path("proving.key"), "key").unwrap();
    place.verb(&["keep", "proving.key"]).expect_code(0).expect_output("bytes = 3");
    place.verb(&["keep", "absent"]).expect_code(2).expect_error("absent");
    place.verb(&["keep", "."]).expect_code(2);
    place.open_gate();
    running.wait().expect_code(0);
}
