//! What a program says of a block is what its prover gets, whatever the program does.

use std::fs;
use std::thread;
use std::time::Duration;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use serde_json::Value;

/// Prints the arguments and the line that it reads.
const ECHO: &str = r#"printf '{"height":"%s","hash":"%s","line":' "$1" "$2"; cat; printf '}'"#;

/// What each prover got: of each block its line, and what the program said.
fn inputs(yard: &FollowingYard) -> Vec<[Value; 2]> {
    let text = fs::read_to_string(yard.folder().join("out.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .map(|entry| {
            let name = entry["proofs"][0]["artifact"]["sha256"].as_str().unwrap().to_owned();
            let path = yard.folder().join("yard/artifacts").join(&name[..2]).join(name);
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        })
        .collect()
}

/// Whether a process runs whose command line is this.
fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim_end() == words)
}

/// Seconds to sleep that no process of another run of these tests has.
fn own(number: u32) -> String {
    (number * 10_000_000 + std::process::id()).to_string()
}

fn flag(yard: &FollowingYard) {
    fs::write(yard.folder().join("flag"), "").unwrap();
}

fn explained(yard: &FollowingYard, what: &str, parts: &[&str]) -> String {
    wait_for(what, || {
        let (_, page) = yard.command(&["explain", "1", "--data", "yard"]);
        parts.iter().all(|part| page.contains(part)).then_some(page)
    })
}

#[test]
fn a_program_is_given_the_block_and_its_words_are_the_witness() {
    let anvil = Anvil::start();
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], ECHO, "");
    anvil.mine_fast(3);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    for (height, [block, said]) in (1..).zip(inputs(&yard)) {
        assert_eq!(said["height"], format!("{height:#x}"));
        assert_eq!(said["hash"], anvil.hash(height));
        assert_eq!(said["line"], block, "it reads the line that provers get");
        assert_eq!(block["block"]["hash"], anvil.hash(height));
    }
}

#[test]
fn what_it_leaves_running_ends_with_it_and_writes_nothing_more() {
    let anvil = Anvil::start();
    let [first, second] = [own(1), own(2)];
    let script = format!(
        "ready=$(mktemp -u); (sleep {first}; echo late) & \
         setsid sh -c \": > $ready; sleep 1; echo late; exec sleep {second}\" & \
         until test -e \"$ready\"; do sleep 0.01; done; echo '\"good\"'"
    );
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], &script, "");
    anvil.mine_fast(1);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    thread::sleep(Duration::from_millis(1_500));
    assert!(!runs(&format!("sleep {first}")) && !runs(&format!("sleep {second}")));
    assert_eq!(inputs(&yard)[0][1], "good");
}

#[test]
fn a_program_that_says_later_is_asked_again_and_no_attempt_is_used_up() {
    let anvil = Anvil::start();
    let script = "test -e \"$3/flag\" || { echo 'the builder is not up yet' >&2; exit 75; }; echo '{}'";
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], script, "max_attempts = 1");
    anvil.mine_fast(1);
    yard.start();
    let page =
        explained(&yard, "it is said why the block waits", &["says later of block 0x1 (exit code 75)"]);
    assert!(page.contains("the builder is not up yet") && !page.contains("parked"), "{page}");
    flag(&yard);
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_program_that_fails_is_shown_with_the_last_it_wrote_and_parks_after_its_attempts() {
    let anvil = Anvil::start();
    let script = "test -e \"$3/flag\" && echo '{}' && exit; \
                  seq -f 'line %g' 1 5000 >&2; echo 'no such trie node: 0xab' >&2; exit 3";
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], script, "max_attempts = 2");
    anvil.mine_fast(1);
    yard.start();
    let parts = ["parked", "exit code 3", "line 5000", "no such trie node: 0xab"];
    let page = explained(&yard, "the block's witness parks", &parts);
    assert!(!page.contains("line 4900"), "only the last lines are kept: {page}");
    let (_, status) = yard.command(&["status", "--data", "yard"]);
    assert!(status.contains("parked"), "{status}");
    flag(&yard);
    assert!(yard.command(&["retry", "--data", "yard"]).0);
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_program_that_is_not_there_or_prints_nothing_is_named() {
    let anvil = Anvil::start();
    for (script, said) in [
        ("exec ./no-such-program", "exit code 12"),
        ("exit 0", "ended well and printed nothing for block 0x1"),
        ("kill -9 $$", "ended by signal 9"),
    ] {
        let mut yard = FollowingYard::with_witness_script(&[anvil.url()], script, "max_attempts = 1");
        if anvil.height() == 0 {
            anvil.mine_fast(1);
        }
        yard.start();
        explained(&yard, "it parks", &["parked", said]);
    }
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], "exit", "max_attempts = 1");
    let path = yard.folder().join("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("command = [\"sh\"", "command = [\"./no-such-program\"")).unwrap();
    yard.start();
    explained(&yard, "it parks", &["parked", "./no-such-program cannot be started"]);
}

#[test]
fn a_program_that_prints_too_much_or_hangs_is_ended_with_its_children() {
    let anvil = Anvil::start();
    anvil.mine_fast(1);
    let [yes, first, second] =
        [format!("yes {}", own(3)), format!("sleep {}", own(4)), format!("sleep {}", own(5))];
    let two = format!("{first} & {second}");
    let situations: [(&str, &str, &str, &[&str]); 2] = [
        (&yes, "max_attempts = 1\noutput_bytes = 1000000", "1000000 bytes", &[&yes]),
        (&two, "max_attempts = 1\ntime_limit_ms = 1500", "1500 ms", &[&first, &second]),
    ];
    for (script, keys, said, children) in situations {
        let mut yard = FollowingYard::with_witness_script(&[anvil.url()], script, keys);
        yard.start();
        explained(&yard, "it parks", &["parked", said]);
        wait_for("nothing of it runs", || (!children.iter().any(|child| runs(child))).then_some(()));
    }
}

#[test]
fn a_yard_that_is_killed_takes_the_program_with_it_and_keeps_no_half_of_a_witness() {
    let anvil = Anvil::start();
    let sleep = format!("sleep {}", own(6));
    let script = format!("printf '{{\"a\":'; test -e \"$3/flag\" || {sleep}; printf '1}}'");
    let mut yard = FollowingYard::with_witness_script(&[anvil.url()], &script, "");
    anvil.mine_fast(1);
    yard.start();
    wait_for("the program is at work", || runs(&sleep).then_some(()));
    yard.kill();
    wait_for("the program is gone", || (!runs(&sleep)).then_some(()));
    flag(&yard);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    assert_eq!(inputs(&yard)[0][1], serde_json::json!({ "a": 1 }));
}
