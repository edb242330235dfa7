//! Provers under another user than the worker's: what they can do, and what they cannot reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use proofyard_aws_tests::driver::PIPELINE;
use proofyard_aws_tests::toy::{ToyYard, key_of, payload};
use serde_json::json;

/// Says who it is, what it has, and what it can read.
const PROVER: &str = r#"
exec > "$2"
echo "user $(id -u):$(id -g) $(id -G)"
grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs)' /proc/self/status
echo "input $(cat "$1")"
cat "${3#at:}" && echo "the worker's file was read"
cat "/proc/$PPID/environ" > /dev/null && echo "the guard's environment was read"
kill -0 "$PPID" && echo "the guard can be killed"
mkdir "$(dirname "$2")/inner" && : > "$(dirname "$2")/inner/file" && echo "a folder was made"
env
true
"#;

#[test]
fn a_prover_under_another_user_proves_and_reaches_no_credentials() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can show what another user cannot reach; run the tests as root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "the worker's own").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Not named as a path is: what a command names by its path its user must be able to reach.
    let secret = format!("at:{}", secret.display());
    let command = json!(["sh", "-c", PROVER, "prover", "{input}", "{output}", secret]);
    let text = PIPELINE.replace(
        r#"command = ["prover"]"#,
        &format!("command = {command}\nprotocol = \"files\"\npayload = \"bare\"\nverify = \"none\""),
    );
    let yard = ToyYard::with_pipeline(&text, folder);
    let task = yard.block(1);
    let mut worker = yard.worker("worker", |command| {
        command.env_remove("PROOFYARD_ISOLATION");
        command.args(["--max-tasks", "1", "--prover-user", "12345:23456"]);
    });
    assert!(worker.ended().success(), "{}", worker.log());
    let done = yard.task(&task);
    assert!(done.is_accepted(), "{:?}\n{}", done.notes(), worker.log());
    let said = yard.object(&key_of(&done.accepted().unwrap().artifact));
    let said = String::from_utf8(said).unwrap();
    for line in [
        "user 12345:23456 23456".to_owned(),
        "CapPrm:\t0000000000000000".to_owned(),
        "CapEff:\t0000000000000000".to_owned(),
        "CapAmb:\t0000000000000000".to_owned(),
        "NoNewPrivs:\t1".to_owned(),
        format!("input {}", String::from_utf8(payload(1)).unwrap()),
        "a folder was made".to_owned(),
    ] {
        assert!(said.lines().any(|said| *said == *line), "{line:?} is not in:\n{said}");
    }
    for never in ["was read", "can be killed", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"] {
        assert!(!said.contains(never), "{never:?} is in:\n{said}");
    }
    // What the prover made is gone with its attempt, whoever owns it.
    assert!(!worker.log().contains("cannot"), "{}", worker.log());
}
