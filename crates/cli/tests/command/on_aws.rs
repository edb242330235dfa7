//! What is on AWS is `proofyard-aws`'s work: it gets what `proofyard` was given, and where it is missing that is said.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::support::Done;

const WORDS: [&[&str]; 6] = [
    &["status", "--aws", "yard"],
    &["run", "pipeline.toml", "--aws", "yard"],
    &["--json", "keep", "a file", "--aws=yard"],
    &["worker", "--aws", "yard", "--pool", "cpu"],
    &["serve", "--help"],
    &["redrive", "--aws", "yard", "--json"],
];

/// A folder with `proofyard` and nothing else. It is linked, not copied: a program that was written just now cannot be run
/// while another test, starting a process of its own, still has it open.
fn alone() -> TempDir {
    let program = Path::new(env!("CARGO_BIN_EXE_proofyard"));
    let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    fs::hard_link(program, folder.path().join("proofyard")).unwrap();
    folder
}

/// Where no other program is to be found.
fn run(folder: &TempDir, words: &[&str]) -> Done {
    let mut command = Command::new(folder.path().join("proofyard"));
    Done::of(command.args(words).env("PATH", folder.path().join("nothing")).output().unwrap())
}

#[test]
fn a_build_without_aws_says_so_and_how_to_get_it() {
    let folder = alone();
    for words in WORDS {
        let done = run(&folder, words).expect_code(2);
        let done = done.expect_error("this build has no AWS: proofyard-aws is neither beside this program");
        done.expect_error("`cargo build --release -p proofyard-aws-cli`");
    }
    let said = run(&folder, WORDS[2]).err;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["exit_code"], 2, "{said}");
}

#[test]
fn the_program_beside_gets_every_word_and_its_exit_code_counts() {
    let (says, fails) = (alone(), alone());
    symlink("/bin/echo", says.path().join("proofyard-aws")).unwrap();
    symlink("/bin/false", fails.path().join("proofyard-aws")).unwrap();
    for words in WORDS {
        let said = run(&says, words).expect_code(0).out;
        assert_eq!(said.trim_end(), words.join(" "));
        run(&fails, words).expect_code(1);
    }
    // What is no question for it is answered without it.
    run(&says, &["status", "--aws"]).expect_code(2).expect_error("--aws <NAME>");
    run(&says, &["serves", "--aws", "yard"]).expect_code(2).expect_error("unrecognized subcommand");
}
