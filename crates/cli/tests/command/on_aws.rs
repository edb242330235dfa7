//! What is on AWS is `proofyard-aws`'s work: it gets what `proofyard` was given, and where it is missing that is said.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::Done;

const WORDS: [&[&str]; 6] = [
    &["status", "--aws", "yard"],
    &["run", "pipeline.toml", "--aws", "yard"],
    &["--json", "keep", "a file", "--aws=yard"],
    &["worker", "--aws", "yard", "--pool", "cpu"],
    &["serve", "--help"],
    &["redrive", "--aws", "yard", "--json"],
];

/// `proofyard` in a folder with nothing else, and nothing else to be found.
fn alone(folder: &Path, words: &[&str]) -> Done {
    let copy = folder.join("proofyard");
    fs::copy(env!("CARGO_BIN_EXE_proofyard"), &copy).unwrap();
    Done::of(Command::new(copy).args(words).env("PATH", folder.join("nothing")).output().unwrap())
}

#[test]
fn a_build_without_aws_says_so_and_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    for words in WORDS {
        let done = alone(folder.path(), words).expect_code(2);
        let done = done.expect_error("this build has no AWS: proofyard-aws is neither beside this program");
        done.expect_error("`cargo build --release -p proofyard-aws-cli`");
    }
    let said = alone(folder.path(), WORDS[2]).err;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["exit_code"], 2, "{said}");
}

#[test]
fn the_program_beside_gets_every_word_and_its_exit_code_counts() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("proofyard-aws");
    fs::write(&beside, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
    for words in WORDS {
        let given: String = words.iter().map(|word| format!("<{word}>")).collect();
        alone(folder.path(), words).expect_code(7).expect_output(&given);
    }
    // What is no question for it is answered without it.
    alone(folder.path(), &["status", "--aws"]).expect_code(2).expect_error("--aws <NAME>");
    alone(folder.path(), &["serves", "--aws", "yard"]).expect_code(2).expect_error("unrecognized subcommand");
}
