//! Programs written for push0, run unmodified by the pipeline of `examples/push0.toml`: what they are given, what is
//! taken from them, and what is said when they do not keep to their contract.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::support::Done;

const BLOCKS: usize = 4;

struct Push0 {
    folder: TempDir,
}

impl Push0 {
    /// The example's pipeline over the first recorded blocks; `change` sees its text.
    fn new(change: impl Fn(&Push0, String) -> String) -> Push0 {
        let place = Push0 { folder: tempfile::tempdir().unwrap() };
        let recorded = fs::read_to_string(root().join("examples/blocks/chain.jsonl")).unwrap();
        let lines: String = recorded.split_inclusive('\n').take(BLOCKS).collect();
        fs::write(place.path("blocks.jsonl"), lines).unwrap();
        let text = fs::read_to_string(root().join("examples/push0.toml")).unwrap();
        fs::write(place.path("push0.toml"), change(&place, text)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of the contract that runs `script` with `$in`, `$out` and the example's prover as `"$@"`.
    fn program(&self, name: &str, script: &str) -> String {
        let path = self.path(name);
        let text = format!(
            "#!/bin/sh\nset -e\nverb=$1\nin=$3\nout=$5\nplace={}\nset -- examples/push0/prover.py \"$@\"\n{script}\n",
            self.folder.path().display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// The pipeline with one of its programs replaced by a script.
    fn with(verb: &str, script: &str) -> Push0 {
        Push0::new(|place, text| {
            let program = place.program(verb, script);
            let (old, new) =
                (format!("\"examples/push0/prover.py\", \"{verb}\""), format!("\"{program}\", \"{verb}\""));
            assert!(text.contains(&old), "{text}");
            text.replace(&old, &new).replace("strategy =", "max_attempts = 1\nstrategy =")
        })
    }

    fn verb(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
        command.args(arguments).arg("--data").arg(self.path("yard"));
        if ["partition", "prove-step", "join"].iter().any(|script| self.path(script).exists()) {
            // It notes what it was given, for the test to see.
            command.env("PROOFYARD_ISOLATION", "none");
        }
        Done::of(command.current_dir(root()).stdin(Stdio::null()).output().unwrap())
    }

    fn run(&self) -> Done {
        let (pipeline, blocks) = (self.path("push0.toml"), self.path("blocks.jsonl"));
        self.verb(&["run", pipeline.to_str().unwrap(), "--blocks", blocks.to_str().unwrap()])
    }

    fn committed(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("push0-committed.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn a_partitioner_step_provers_and_a_joiner_prove_recorded_blocks() {
    let place = Push0::new(|_, text| text);
    let done = place.run().expect_code(0).expect_output("4 blocks committed, 0 missed");
    assert!(!done.err.contains("warning"), "{done:#?}");
    let recorded = fs::read_to_string(place.path("blocks.jsonl")).unwrap();
    let committed = place.committed();
    assert_eq!(committed.len(), BLOCKS);
    for (line, entry) in recorded.lines().zip(&committed) {
        let block: Value = serde_json::from_str(line).unwrap();
        let number = u64::from_str_radix(&block["block"]["number"].as_str().unwrap()[2..], 16).unwrap();
        // Chain id, number, transactions, and the block's hash: what the verifier read, for this very block.
        let transactions = block["block"]["transactions"].as_array().unwrap().len();
        let hash = block["block"]["hash"].as_str().unwrap();
        let expected = format!("{:016x}{number:016x}{transactions:016x}{}", 31337, &hash[2..]);
        let found = entry.to_string();
        assert!(found.contains(&expected), "{expected} is not in {found}");
    }
    place.verb(&["verify"]).expect_code(0).expect_output("4 of 4 committed proofs verified");
}

#[test]
fn a_partitioner_gets_the_number_alone_and_each_step_prover_one_element() {
    let place = Push0::with("partition", r#"cp "$in" "$place/number-$(cat "$in")"; exec "$@""#);
    place.run().expect_code(0);
    for number in 1..=BLOCKS {
        assert_eq!(fs::read_to_string(place.path(&format!("number-{number}"))).unwrap(), number.to_string());
    }
    let script = r#"mkdir "$place/step-$$"; cp "$in" "$place/step-$$/in"; exec "$@""#;
    let place = Push0::with("prove-step", script);
    place.run().expect_code(0);
    let mut steps: Vec<(u64, u64)> = fs::read_dir(place.folder.path())
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("in")).ok())
        .map(|content| serde_json::from_slice::<Value>(&content).unwrap())
        .map(|step| (step["block"].as_u64().unwrap(), step["step_id"].as_u64().unwrap()))
        .collect();
    steps.sort_unstable();
    let recorded = fs::read_to_string(place.path("blocks.jsonl")).unwrap();
    let expected: Vec<(u64, u64)> = recorded
        .lines()
        .zip(1..)
        .flat_map(|(line, number)| {
            let block: Value = serde_json::from_str(line).unwrap();
            let count = block["block"]["transactions"].as_array().unwrap().len().div_ceil(8).max(1);
            (0..count as u64).map(move |step| (number, step))
        })
        .collect();
    assert_eq!(steps, expected);
}

#[test]
fn the_joiner_gets_the_list_of_the_step_proofs_in_order() {
    let place = Push0::with("join", r#"cp "$in" "$place/list-$$"; exec "$@""#);
    place.run().expect_code(0);
    let lists: Vec<Value> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("list-"))
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    assert_eq!(lists.len(), BLOCKS);
    for list in lists {
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|proof| proof["task_id"].as_u64()).collect();
        assert_eq!(ids, (0..ids.len() as u64).map(Some).collect::<Vec<_>>());
    }
}

/// Nothing verifies these step proofs, as with push0, so only the field tells that one is of another group.
#[test]
fn a_step_proof_of_another_group_is_caught_and_explained() {
    let script =
        r#""$@"; grep -q '"from":8' "$in" && sed -i 's/"group_id":3/"group_id":999/' "$out"; exit 0"#;
    let place = Push0::new(|place, text| {
        let program = place.program("prove-step", script);
        let text = text.replace(
            "\"examples/push0/prover.py\", \"prove-step\"",
            &format!("\"{program}\", \"prove-step\""),
        );
        let (before, after) = text.split_once("verify = [").unwrap();
        let (_, after) = after.split_once(']').unwrap();
        format!("{before}verify = \"none\"{after}")
    });
    let done = place.run().expect_code(1).expect_error("2 blocks committed");
    let said = "its inputs differ in `group_id`: 3 and 999";
    done.expect_error(said).expect_error("prover \"step-prover\" is believed without a verifier");
    place.verb(&["explain", "3"]).expect_code(0).expect_output(said);
}

#[test]
fn a_step_proof_without_its_group_is_told() {
    let place = Push0::with("prove-step", r#"exec /bin/cp "$in" "$out""#);
    let text = fs::read_to_string(place.path("push0.toml")).unwrap();
    let (before, after) = text.split_once("verify = [").unwrap();
    let (_, after) = after.split_once(']').unwrap();
    fs::write(place.path("push0.toml"), format!("{before}verify = \"none\"{after}")).unwrap();
    place.run().expect_code(1).expect_error("it reports no match field `group_id`");
}

#[test]
fn a_partition_that_is_no_list_or_has_no_fit_length_is_told() {
    let many = r#"printf '[0' > "$out"; i=1; while [ $i -lt 5000 ]; do i=$((i+1)); printf ',0'; done >> "$out"; printf ']' >> "$out""#;
    let cases = [
        (r#"echo '{"block":1}' > "$out""#, "the next stage splits its output, and it is not a list"),
        (r#"echo '[{"block":1}' > "$out""#, "the next stage splits its output, and it is not a list"),
        (r#"echo '[]' > "$out""#, "its list has 0 elements; from 1 to 4096 may be"),
        (many, "its list has 5000 elements; from 1 to 4096 may be"),
        ("exec \"$@\" --blocks /dev/null", "it ended with exit code 1"),
        (":", "No such file"),
    ];
    for (script, said) in cases {
        let place = Push0::with("partition", script);
        place.run().expect_code(1).expect_error("0 blocks committed").expect_error(said);
    }
}

/// The joined proof is checked against the block itself, so that a partition that leaves a transaction out is found.
#[test]
fn a_partition_of_something_else_does_not_pass_the_joiners_verifier() {
    let script = r#""$@"; sed -i 's/"transactions":\["0x......../"transactions":["0xdeadbeef/' "$out""#;
    let place = Push0::with("partition", script);
    let done = place.run().expect_code(1).expect_error("0 blocks committed");
    done.expect_error("the verifier did not accept it");
}

/// The provers' own refusals, and both spellings of their options.
#[test]
fn the_example_keeps_to_its_contract() {
    let run = |verb: &str, input: &str, options: [&str; 2]| {
        let folder = tempfile::tempdir().unwrap();
        let (given, made) = (folder.path().join("in.json"), folder.path().join("out.json"));
        fs::write(&given, input).unwrap();
        let mut command = Command::new(root().join("examples/push0/prover.py"));
        command.arg(verb).arg(options[0]).arg(given).arg(options[1]).arg(&made);
        command.env("PUSH0_BLOCKS", root().join("examples/blocks/chain.jsonl"));
        let done = Done::of(command.output().unwrap());
        (done, fs::read_to_string(made).ok())
    };
    let (done, steps) = run("partition", "3", ["--input-path", "--output-path"]);
    done.expect_code(0);
    let steps = steps.unwrap();
    assert_eq!(run("partition", "3", ["-i", "-o"]).1.as_ref(), Some(&steps));
    let listed: Vec<Value> = serde_json::from_str(&steps).unwrap();
    let mut proofs = Vec::new();
    for step in &listed {
        let (done, proof) = run("prove-step", &step.to_string(), ["-i", "-o"]);
        done.expect_code(0);
        proofs.push(proof.unwrap());
    }
    let joined = run("join", &format!("[{}]", proofs.join(",")), ["-i", "-o"]).1.unwrap();
    let joined: Value = serde_json::from_str(&joined).unwrap();
    assert_eq!((joined["block"].as_u64(), joined["prover"].as_str()), (Some(3), Some("push0-example")));
    proofs.reverse();
    let swapped = format!("[{}]", proofs.join(","));
    let refusals = [
        ("partition", "65", "has no block 65"),
        ("partition", "true", "no block number"),
        ("partition", "{", "no JSON"),
        ("prove-step", steps.as_str(), "`payload` is missing"),
        ("join", "[]", "no list of step proofs"),
        ("join", &swapped, "out of order"),
        ("verify", "{}", "`inputs` is missing"),
    ];
    for (verb, input, said) in refusals {
        let (done, made) = run(verb, input, ["-i", "-o"]);
        done.expect_code(1).expect_error(said);
        assert_eq!(made, None);
    }
}
