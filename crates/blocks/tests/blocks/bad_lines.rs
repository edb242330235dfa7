//! One bad line in a file: it is named, with what is wrong and the way out, and nothing panics.

use std::io::{self, Read};

use proofyard_core::error::with_causes;

use crate::common::{block_hash, chain, changed, check, check_bytes, check_read, refusal, says};
use serde_json::{Value, json};

/// The third line of the recorded chain changed.
fn spoiled(change: impl FnOnce(&mut Value)) -> String {
    let mut lines = chain();
    lines[2] = changed(&lines[2], change);
    refusal(&lines, 3)
}

fn with_third_line(line: impl Into<String>) -> String {
    let mut lines = chain();
    lines[2] = line.into();
    refusal(&lines, 3)
}

#[test]
fn a_header_that_was_changed_hashes_otherwise() {
    let said = block_hash(&chain()[2]);
    let message = spoiled(|line| line["block"]["gasUsed"] = json!("0x1"));
    says(
        &message,
        &["block 3: the header's hash is 0x", &format!("but the file says {said}; record the block again")],
    );
    says(&spoiled(|line| line["block"]["hash"] = json!(block_hash(&chain()[3]))), &["header's hash is"]);
}

#[test]
fn transactions_that_cannot_be_the_headers_are_refused() {
    says(
        &spoiled(|line| line["block"]["transactions"].as_array_mut().unwrap().swap(0, 1)),
        &["transaction 0 says that it is in another block or at another index"],
    );
    says(
        &spoiled(|line| line["block"]["transactions"][1]["blockHash"] = line["block"]["parentHash"].clone()),
        &["transaction 1 says"],
    );
    says(&spoiled(|line| line["block"]["transactions"][0]["hash"] = json!("0x12")), &["column", "\"0x12\""]);
    says(&spoiled(|line| line["block"]["transactions"][0] = json!(7)), &["a transaction or its hash"]);
}

#[test]
fn segments_must_cover_the_transactions_in_order() {
    says(&spoiled(|line| line["segments"] = json!([])), &["it has 0 segments but must have 1 to 4096"]);
    says(
        &spoiled(|line| line["segments"][1]["from"] = json!(9)),
        &["segment 1 is 9..16 but must begin at 8"],
    );
    says(
        &spoiled(|line| line["segments"][1]["from"] = json!(7)),
        &["segment 1 is 7..16 but must begin at 8"],
    );
    says(&spoiled(|line| line["segments"][0]["to"] = json!(0)), &["segment 0 is 0..0"]);
    says(&spoiled(|line| line["segments"][2]["to"] = json!(4000)), &["segment 2 is 16..4000", "not beyond"]);
    let short = |line: &mut Value| drop(line["segments"].as_array_mut().unwrap().pop());
    says(&spoiled(short), &["its segments end at transaction 16 but it has 21; cut it again"]);
    let one = json!({ "from": 0, "to": 1 });
    says(&spoiled(|line| line["segments"] = json!(vec![one; 4097])), &["it has 4097 segments"]);
}

#[test]
fn numbers_out_of_range_are_refused() {
    says(&spoiled(|line| line["block"]["number"] = json!("0x1ffffffffffffffff")), &["at most 64 bits"]);
    says(&spoiled(|line| line["block"]["timestamp"] = json!("0x00000003")), &["without leading zeros"]);
    says(&spoiled(|line| line["block"]["gasUsed"] = json!(-5)), &["integer `-5`"]);
    says(&spoiled(|line| line["chain_id"] = json!(-1)), &["-1"]);
    says(&spoiled(|line| line["segments"][0]["to"] = json!(4_294_967_304_u64)), &["4294967304"]);
    says(&with_third_line(chain()[2].replacen("31337", "1e999", 1)), &["number out of range"]);
    let wide = format!("0x1{}", "0".repeat(64));
    says(
        &spoiled(|line| line["block"]["baseFeePerGas"] = json!(wide)),
        &["baseFeePerGas", "at most 256 bits"],
    );
}

#[test]
fn fields_that_are_missing_strange_or_double_are_refused() {
    says(
        &spoiled(|line| drop(line["block"].as_object_mut().unwrap().remove("stateRoot"))),
        &["missing field `stateRoot`"],
    );
    says(&spoiled(|line| line["segment"] = json!([])), &["unknown field `segment`"]);
    says(&spoiled(|line| line["reorg"] = line["block"]["hash"].clone()), &["neither a block nor a reorg"]);
    says(&with_third_line("{}"), &["neither a block nor a reorg"]);
    let double = chain()[2].replacen("\"number\":", "\"number\":\"0x1\",\"number\":", 1);
    says(&with_third_line(double), &["duplicate field `number`"]);
}

#[test]
fn what_is_no_json_is_refused() {
    says(&with_third_line(""), &["the line is blank", "remove it"]);
    says(&with_third_line(" \t"), &["the line is blank"]);
    says(&with_third_line("block 3"), &["column 1: expected value"]);
    says(&with_third_line("[1,2]"), &["column"]);
    says(&with_third_line(format!("{}{{}}", chain()[2])), &["trailing characters"]);
    says(&with_third_line(format!("\"{}\"", "é".repeat(100_000))), &["…"]);
}

#[test]
fn deep_nesting_is_refused_or_passed_over() {
    let deep = "[".repeat(1_000_000);
    says(&with_third_line(&deep), &["column"]);
    says(&with_third_line(format!("{{\"block\":{{\"transactions\":[{deep}")), &["truncated"]);
    let closed = format!("[{deep}{}]", "]".repeat(1_000_000));
    says(
        &with_third_line(chain()[2].replacen(
            "\"transactions\":[",
            &format!("\"transactions\":[{closed},"),
            1,
        )),
        &["column"],
    );
    says(&with_third_line(format!("{{\"block\":{{\"uncles\":{deep}")), &["truncated"]);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut bytes = chain()[0].clone().into_bytes();
    bytes.extend_from_slice(b"\n{\"reorg\":\"\xff\"}\n");
    let message = check_bytes(&bytes).unwrap_err().to_string();
    says(&message, &["blocks.jsonl:2: column 11: the line is not UTF-8"]);
}

#[test]
fn a_file_that_was_cut_off_is_named_truncated_wherever_it_was_cut() {
    let lines = chain();
    let whole = format!("{}\n{}", lines[0], lines[1]);
    check_bytes(whole.as_bytes()).unwrap();
    let first = lines[0].len() + 1;
    for end in (first + 1..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let error = check_bytes(&whole.as_bytes()[..end]).unwrap_err();
        let expected = format!("blocks.jsonl:2: the line is truncated: it ends after {} bytes", end - first);
        says(&error.to_string(), &[&expected, "record the block again"]);
    }
    let in_a_character = b"{\"reorg\":\"\xc3";
    says(&check_bytes(in_a_character).unwrap_err().to_string(), &["truncated"]);
}

#[test]
fn a_file_without_blocks_is_refused() {
    says(&check(&[]).unwrap_err().to_string(), &["blocks.jsonl:1: the file holds no block"]);
}

/// Gives one line of 100 MB, and tells how much of it was taken.
struct LongLine<'a> {
    left: usize,
    given: &'a mut usize,
}

impl Read for LongLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left);
        buffer[..length].fill(b'7');
        self.left -= length;
        *self.given += length;
        Ok(length)
    }
}

#[test]
fn a_line_of_100_mb_is_refused_without_reading_it_all() {
    let mut given = 0;
    let first = format!("{}\n", chain()[0]);
    let read = first.as_bytes().chain(LongLine { left: 100_000_000, given: &mut given });
    let message = check_read(read).unwrap_err().to_string();
    says(&message, &["blocks.jsonl:2: the line is longer than 16777216 bytes"]);
    assert!(given < 17_000_000, "{given} bytes were read");
}

#[test]
fn a_disk_that_fails_is_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("input/output error"))
        }
    }
    let first = format!("{}\n", chain()[0]);
    let error = check_read(first.as_bytes().chain(Broken)).unwrap_err();
    says(&with_causes(&error).to_string(), &["blocks.jsonl:2: cannot read the file: input/output error"]);
}
