//! The example of the documentation does what it says.

use std::fs;
use std::io::Cursor;

use proofyard_prover::serve::serve_on;

#[path = "../../examples/digest_prover.rs"]
#[allow(dead_code, reason = "its `main` is for the example alone")]
mod digest_prover;

#[test]
fn the_documented_prover_proves_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("block"), "a block").unwrap();
    let inputs = format!(r#"[{{"kind":"block","path":"{}"}}]"#, path("block"));
    let (out, proof) = (folder.path().display(), path("proof"));
    let lines = [
        r#"{"id":"1","verb":"setup"}"#.to_owned(),
        format!(
            r#"{{"id":"2","verb":"prove","task":"t","attempt":1,"inputs":{inputs},"output_dir":"{out}","deadline_ms":1}}"#
        ),
        format!(
            r#"{{"id":"3","verb":"verify","proof":"{proof}","verification_key":"d1","inputs":{inputs},"output_dir":"{out}"}}"#
        ),
    ];
    let mut output = Vec::new();
    serve_on(&mut digest_prover::DigestProver, Cursor::new(lines.join("\n")), &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    let digest = fs::read_to_string(&proof).unwrap();
    assert!(output.contains(r#""verification_key":"d1""#), "{output}");
    assert!(
        output.contains(&format!(r#"{{"id":"3","ok":{{"proof_system":null,"public_values":"{digest}"}}}}"#)),
        "{output}"
    );
}
