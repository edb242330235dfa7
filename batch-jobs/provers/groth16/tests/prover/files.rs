//! Key files: nothing but what a key's name stands for is loaded.

use std::fs;
use std::path::Path;

use proofyard_groth16::keys::Key;
use proofyard_groth16::system::{AggregateSystem, LeafSystem};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{ask, prove, proved, refusal, run, verify};
use crate::{folder, leaf_key};

fn hash_of(name: &str) -> &str {
    name.strip_prefix("sha256:").unwrap()
}

/// A folder with this as the small file of the leaf key.
fn folder_with(content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("{}.leaf.key", hash_of(leaf_key()))), content).unwrap();
    folder
}

fn small_file() -> Vec<u8> {
    fs::read(folder().join(format!("{}.leaf.key", hash_of(leaf_key())))).unwrap()
}

fn why_not(folder: &Path, name: &str) -> String {
    Key::<LeafSystem>::load(folder, name).err().unwrap().to_string()
}

#[test]
fn damaged_and_other_files_are_refused_by_name() {
    let content = small_file();
    assert!(Key::<LeafSystem>::load(folder_with(&content).path(), leaf_key()).is_ok());
    let mut flipped = content.clone();
    flipped[300] ^= 1;
    for other in [&flipped, &content[..content.len() - 1], &[&content[..], b" "].concat(), b""] {
        let folder = folder_with(other);
        let why = why_not(folder.path(), leaf_key());
        assert!(why.contains(&folder.path().display().to_string()), "which file: {why}");
        assert!(why.contains(hash_of(leaf_key())), "what was expected: {why}");
        let found = sha256(other);
        assert!(why.contains(&found), "what was found: {why}");
    }
    let large = folder_with(&vec![0; 1 << 20]);
    assert!(why_not(large.path(), leaf_key()).contains("larger than"));
    let empty = tempfile::tempdir().unwrap();
    let why = why_not(empty.path(), leaf_key());
    assert!(why.contains("there is no file") && why.contains("proofyard-groth16 setup"), "{why}");
}

/// As a shell would compute it.
fn sha256(content: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let output = std::process::Command::new("sha256sum").arg(file.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_string()
}

/// The right hash does not make a file of another kind a key.
#[test]
fn files_of_another_kind_are_refused() {
    let place = |content: &[u8], circuit: &str| {
        let hash = sha256(content);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{hash}.{circuit}.key")), content).unwrap();
        (folder, format!("sha256:{hash}"))
    };
    let (folder, name) = place(&small_file(), "aggregate");
    let why = Key::<AggregateSystem>::load(folder.path(), &name).err().unwrap().to_string();
    assert!(why.contains("for the circuit leaf") && why.contains("expected"), "{why}");

    let changed = |change: fn(&mut Value)| {
        let mut description: Value = serde_json::from_slice(&small_file()).unwrap();
        change(&mut description);
        let (folder, name) = place(description.to_string().as_bytes(), "leaf");
        why_not(folder.path(), &name)
    };
    let why = changed(|description| description["capacity"] = json!(16));
    assert!(why.contains("capacity 16"), "{why}");
    let why = changed(|description| description["curve"] = json!("bn254"));
    assert!(why.contains("bn254"), "{why}");
    let why = changed(|description| description["leaf_verifying_key"] = json!("00"));
    assert!(why.contains("leaf_verifying_key"), "{why}");
    let why = changed(|description| description["more"] = json!(1));
    assert!(why.contains("unknown field"), "{why}");
    // A verifying key for more public inputs, or with a point that is not one.
    let grown = |description: &mut Value| {
        let text = description["verifying_key"].as_str().unwrap();
        let mut key = hex::decode(text).unwrap();
        let count_at = 48 + 3 * 96;
        assert_eq!(key[count_at], 5);
        key[count_at] = 6;
        let last = key[key.len() - 48..].to_vec();
        key.extend(last);
        description["verifying_key"] = json!(hex::encode(key));
    };
    let why = changed(grown);
    assert!(why.contains("for 5 public inputs, expected 4"), "{why}");
    let why = changed(|description| {
        let text = description["verifying_key"].as_str().unwrap();
        description["verifying_key"] = json!(format!("ff{}", &text[2..]));
    });
    assert!(why.contains(".leaf.key"), "{why}");
    let (folder, name) = place(b"{}\n", "leaf");
    assert!(why_not(folder.path(), &name).contains("missing field"));
}

#[test]
fn names_are_hashes_and_nothing_else() {
    for name in ["", "sha256:", "sha256:../../etc/passwd", &leaf_key().to_uppercase(), &leaf_key()[..70]] {
        let why = why_not(folder(), name);
        assert!(why.contains("is no key's name"), "{name:?}: {why}");
    }
}

#[test]
fn a_damaged_proving_key_proves_nothing() {
    let proved = proved();
    let content = small_file();
    let description: Value = serde_json::from_slice(&content).unwrap();
    let hash = description["proving_key"].as_str().unwrap();
    let file = format!("{hash}.leaf.proving-key");
    let mut large = fs::read(folder().join(&file)).unwrap();
    let middle = large.len() / 2;
    large[middle] ^= 1;
    let out = tempfile::tempdir().unwrap();
    let request = prove(&proved.block_inputs[..1], out.path());
    for content_of_large in [&large[..], &large[..middle]] {
        let folder = folder_with(&content);
        fs::write(folder.path().join(&file), content_of_large).unwrap();
        let arguments = json!({"keys": folder.path(), "key": leaf_key()});
        let answers = ask("block", arguments, std::slice::from_ref(&request));
        let why = refusal(&answers[1]);
        assert!(why.contains(&file) && why.contains("damaged") && why.contains(hash), "{why}");
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing was written");
}

/// Keys that were really set up: secret randomness, so another key each time; proofs under the one are none under the
/// other.
#[test]
fn setup_makes_a_key_of_its_own() {
    let proved = proved();
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["setup", "--leaf-only", "--keys", folder.path().to_str().unwrap()], "");
    assert!(output.status.success(), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["circuit"], &made["randomness"]), (&json!("leaf"), &json!("operating-system")));
    assert_ne!(made["verification_key"], *proved.leaf_id);
    let mut files: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_by_key(String::len);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let hash = sha256(&fs::read(folder.path().join(&file)).unwrap());
        assert!(file.starts_with(&hash), "{file}");
    }

    let arguments = json!({"keys": folder.path(), "key": made["key"]});
    let request = verify(&proved.leaf_proofs[0], None, &proved.block_inputs[..1]);
    let answers = ask("block", arguments, &[request]);
    assert_eq!(answers[0]["ok"]["verification_key"], made["verification_key"]);
    let why = refusal(&answers[1]);
    assert!(why.contains(&proved.leaf_id), "{why}");
    assert!(why.contains(made["verification_key"].as_str().unwrap()), "{why}");
}
