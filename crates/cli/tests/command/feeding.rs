//! Blocks files as people have them: as nodes answer, grown, split, of other chains; and cuts by the node's own fields.

use std::fs;

use proofyard_programs::programs;
use serde_json::Value;

use super::support::{Done, Place};

/// Committed by cuts of blocks.
fn write_ranges(place: &Place, chain: &str, rule: &str) {
    let toy = programs().join("proofyard-toy-prover");
    let text = format!(
        r#"
        [chain]
        name = "ranges"
        window = 16
        commit = "range"
        {chain}
        [stage.range]
        strategy = "sequential"
        from = "block"
        {rule}
        prover = "toy"
        pool = "cpu"
        [prover.toy]
        command = ["{}"]
        [pool.cpu]
        slots = 2
        [sink.file]
        file = "out.jsonl"
        "#,
        toy.display()
    );
    fs::write(place.path("pipeline.toml"), text).unwrap();
}

fn recorded(file: &str) -> Vec<String> {
    let path = format!("{}/../../examples/blocks/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn write(place: &Place, name: &str, lines: &[String]) {
    fs::write(place.path(name), lines.join("\n") + "\n").unwrap();
}

/// The node's JSON alone.
fn node_block(line: &str) -> Value {
    serde_json::from_str::<Value>(line).unwrap()["block"].take()
}

fn run(place: &Place, file: &str, flags: &[&str]) -> Done {
    place.verb(&[&["run", "pipeline.toml", "--blocks", file], flags].concat())
}

/// What was handed on, as heights.
fn cuts(place: &Place) -> Vec<(u64, u64)> {
    let entries = fs::read_to_string(place.path("out.jsonl")).unwrap_or_default();
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.map(|entry| (entry["from"].as_u64().unwrap(), entry["to"].as_u64().unwrap())).collect()
}

#[test]
fn a_budget_in_gas_closes_cuts() {
    let place = Place::new(1);
    write(&place, "blocks.jsonl", &recorded("quiet"));
    write_ranges(&place, "start_height = 1", "size = 16\nbudget = { field = \"gasUsed\", max = 1000000 }");
    run(&place, "blocks.jsonl", &[]).expect_code(0);
    assert_eq!(cuts(&place), [(1, 5), (6, 15), (16, 16)]);
}

#[test]
fn a_field_that_blocks_do_not_have_is_told_before_anything_starts() {
    let place = Place::new(2);
    for (rule, what) in [
        ("budget = { field = \"gas_used\", max = 1 }", "blocks.jsonl:1: block 1 has no `gas_used`"),
        ("cut_on = \"l1BatchNumber\"", "blocks.jsonl:1: block 1 has no `l1BatchNumber`"),
        (
            "budget = { field = \"extraData\", max = 1 }",
            "block 1: its `extraData` is \"0x\", which is no number",
        ),
    ] {
        write_ranges(&place, "start_height = 1", &format!("size = 16\n{rule}"));
        run(&place, "blocks.jsonl", &[]).expect_code(2).expect_error(what);
        assert!(!place.data.exists());
    }
}

/// Blocks that came before the pipeline asked for a field are read once more for it.
#[test]
fn a_pipeline_may_change_to_another_field() {
    let place = Place::new(1);
    write(&place, "blocks.jsonl", &recorded("quiet")[..15]);
    write_ranges(&place, "start_height = 1", "size = 16");
    run(&place, "blocks.jsonl", &["--end", "keep"]).expect_code(0).expect_output("0 blocks committed");
    write_ranges(&place, "start_height = 1", "size = 16\nbudget = { field = \"gasUsed\", max = 1000000 }");
    run(&place, "blocks.jsonl", &[]).expect_code(0).expect_output("15 blocks committed");
    assert_eq!(cuts(&place), [(1, 5), (6, 15)]);
}

#[test]
fn nodes_answers_and_bare_blocks_are_proved() {
    let place = Place::new(1);
    let node: Vec<Value> = recorded("chain").iter().take(4).map(|line| node_block(line)).collect();
    let answer =
        |block: &Value| serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": block }).to_string();
    let lines = [answer(&node[0]), node[1].to_string(), answer(&node[2]), node[3].to_string()];
    write(&place, "blocks.jsonl", &lines);
    write_ranges(&place, "start_height = 1", "size = 2");
    run(&place, "blocks.jsonl", &[]).expect_code(0).expect_output("4 blocks committed");
}

#[test]
fn what_splits_blocks_needs_their_segments() {
    let place = Place::new(1);
    write(&place, "blocks.jsonl", &[node_block(&recorded("chain")[0]).to_string()]);
    let told = "block 1 names no segments, and stage segment has a task for each of them";
    run(&place, "blocks.jsonl", &[]).expect_code(2).expect_error(told);
    assert!(!place.data.exists());
}

#[test]
fn a_chain_of_other_headers_is_trusted_where_the_pipeline_says_so() {
    let place = Place::new(1);
    let zksync = concat!(env!("CARGO_MANIFEST_DIR"), "/../blocks/tests/blocks/chains/zksync-era.jsonl");
    fs::copy(zksync, place.path("blocks.jsonl")).unwrap();
    write_ranges(&place, "start_height = 9627753", "size = 2");
    run(&place, "blocks.jsonl", &[]).expect_code(2).expect_error("write header = \"trusted\" under [chain]");
    write_ranges(&place, "start_height = 9627753\nheader = \"trusted\"", "size = 2");
    run(&place, "blocks.jsonl", &[])
        .expect_code(0)
        .expect_output("1 block committed")
        .expect_error("not understood of its fields: l1BatchNumber, l1BatchTimestamp, sealFields");
}

#[test]
fn files_that_grew_or_are_split_go_on() {
    let place = Place::new(1);
    let lines = recorded("chain");
    write_ranges(&place, "start_height = 1", "size = 2");
    write(&place, "a.jsonl", &lines[..3]);
    run(&place, "a.jsonl", &["--end", "keep"]).expect_code(0).expect_output("2 blocks committed");
    write(&place, "a.jsonl", &lines[..5]);
    run(&place, "a.jsonl", &["--end", "keep"]).expect_code(0).expect_output("4 blocks committed");
    // The next file, and it again, grown.
    write(&place, "b.jsonl", &lines[5..7]);
    run(&place, "b.jsonl", &["--end", "keep"]).expect_code(0).expect_output("6 blocks committed");
    write(&place, "b.jsonl", &lines[5..8]);
    run(&place, "b.jsonl", &["--end", "keep"]).expect_code(0).expect_output("8 blocks committed");
    // One that begins before the tip, and the earlier ones once more.
    write(&place, "c.jsonl", &lines[6..10]);
    run(&place, "c.jsonl", &["--end", "keep"]).expect_code(0).expect_output("10 blocks committed");
    run(&place, "a.jsonl", &["--end", "keep"]).expect_code(0).expect_output("10 blocks committed");
    // It was nothing new, so the last one is still the one that may grow.
    run(&place, "c.jsonl", &["--end", "keep"]).expect_code(0).expect_output("10 blocks committed");
    write(&place, "all.jsonl", &lines[..11]);
    run(&place, "all.jsonl", &["--end", "keep"]).expect_code(0).expect_output("10 blocks committed");
    assert_eq!(cuts(&place).last(), Some(&(9, 10)));
    run(&place, "all.jsonl", &[]).expect_code(0).expect_output("11 blocks committed");
    assert_eq!(cuts(&place).last(), Some(&(11, 11)));
}

#[test]
fn a_file_that_does_not_go_on_is_refused_and_changes_nothing() {
    let place = Place::new(1);
    let lines = recorded("chain");
    write_ranges(&place, "start_height = 1", "size = 2");
    write(&place, "a.jsonl", &lines[1..3]);
    run(&place, "a.jsonl", &[]).expect_code(2).expect_error("a.jsonl:1: the pipeline starts at height 1");
    assert!(!place.data.exists());
    write(&place, "a.jsonl", &lines[..3]);
    run(&place, "a.jsonl", &[]).expect_code(0);
    let before = cuts(&place);
    write(&place, "b.jsonl", &lines[4..6]);
    let told = "b.jsonl:1: this file does not go on from the chain: its block 5 is not there";
    run(&place, "b.jsonl", &[]).expect_code(2).expect_error(told).expect_error("at height 3");
    let other: Vec<String> = recorded("reorg")[..4].to_vec();
    write(&place, "b.jsonl", &other);
    run(&place, "b.jsonl", &[]).expect_code(2).expect_error("b.jsonl:1: this file does not go on");
    write(&place, "a.jsonl", &[&lines[..2], &other[2..3]].concat());
    run(&place, "a.jsonl", &[]).expect_code(2);
    assert_eq!(cuts(&place), before);
}
