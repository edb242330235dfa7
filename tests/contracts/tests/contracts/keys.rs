//! Keys, and what is looked at before a yard starts.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use proofyard_programs::programs;

use crate::evm::{ACCOUNT, KEY};
use crate::program::{Answer, answer, target};

/// A keystore of [`KEY`] as wallets write it, by scrypt with few rounds; its password is `secret`.
const KEYSTORE: &str = include_str!("keystore.json");

fn check(keys: &str, folder: &Path, environment: &[(&str, &str)]) -> (Answer, String) {
    let table = format!(
        "contract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nrpc = [\"http://127.0.0.1:1\"]\nchain_id = 1\n{keys}"
    );
    let mut command = Command::new(programs().join("proofyard-contract"));
    command.arg("--check").current_dir(folder).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(target(&table).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (answer(output.status.code(), &output.stdout), said)
}

const SUBMIT: &str = "function = \"submit(uint256)\"\narguments = [\"{to}\"]";

fn written(folder: &Path, name: &str, text: &str, mode: u32) {
    fs::write(folder.join(name), text).unwrap();
    fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_is_of_the_environment_or_of_a_file_or_keystore() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), "key", KEY, 0o600);
    written(folder.path(), "store.json", KEYSTORE, 0o600);
    for keys in [
        "key_from = \"KEY\"",
        "key_file = \"key\"",
        "key_file = \"store.json\"\npassword_from = \"PASSWORD\"",
    ] {
        let environment = [("KEY", KEY), ("PASSWORD", "secret")];
        let (answer, account) = check(&format!("{keys}\n{SUBMIT}"), folder.path(), &environment);
        answer.done();
        assert_eq!(account, ACCOUNT, "{keys}");
    }
}

#[test]
fn a_key_that_is_not_there_or_not_safe_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), "open", KEY, 0o644);
    written(folder.path(), "rubbish", "0xdeadbeef", 0o600);
    written(folder.path(), "store.json", KEYSTORE, 0o600);
    for (keys, because) in [
        ("key_from = \"NONE\"", "has no NONE"),
        ("key_from = \"RUBBISH\"", "RUBBISH holds no key"),
        ("key_file = \"missing\"", "missing cannot be read"),
        ("key_file = \"open\"", "chmod 600"),
        ("key_file = \"rubbish\"", "holds no key"),
        ("key_file = \"store.json\"", "password_from"),
        ("key_file = \"store.json\"\npassword_from = \"RUBBISH\"", "does not open"),
    ] {
        let environment = [("RUBBISH", "0xdeadbeef")];
        let (answer, said) = check(&format!("{keys}\n{SUBMIT}"), folder.path(), &environment);
        answer.refused(because);
        assert!(!said.contains("deadbeef") && !said.contains(&KEY[4..20]), "{said}");
    }
}

#[test]
fn what_cannot_be_called_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for (keys, because) in [
        ("function = \"submit(uint257)\"\narguments = [\"{to}\"]", "uint257"),
        ("function = \"submit(uint256,bytes)\"\narguments = [\"{to}\"]", "takes 2 arguments"),
        ("function = \"submit()\"\nerrors = [\"Closed(\"]", "Closed("),
        (
            "function = \"submit()\"\n[sink.l1.read.x]\nfunction = \"x(uint256) returns (uint256)\"",
            "takes 1 arguments",
        ),
    ] {
        let (answer, _) = check(&format!("key_from = \"KEY\"\n{keys}"), folder.path(), &[("KEY", KEY)]);
        answer.refused(because);
    }
}
