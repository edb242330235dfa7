//! Blocks sent to the queue come out as verified proofs, through real mappings, real functions, real workers and real
//! Miden proofs; and the same blocks on one machine give the same chain and the same proofs.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use proofyard_aws_tests::local::{LocalAws, programs};
use proofyard_aws_tests::wait_for;
use serde_json::{Value, json};

/// Of 2 segments each at least: enough for order, and for work that is there when workers vanish.
const BLOCKS: usize = 3;

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))
}

/// The first blocks of the example chain, in a file.
fn some_blocks(folder: &std::path::Path, count: usize) -> PathBuf {
    let all = fs::read_to_string(examples().join("blocks/chain.jsonl")).unwrap();
    let some: Vec<&str> = all.lines().take(count).collect();
    let file = folder.join("blocks.jsonl");
    fs::write(&file, some.join("\n") + "\n").unwrap();
    file
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}\n{complained}");
    said.into_owned()
}

/// Heights and artifacts of what is committed, each verified again.
fn verified(command: &mut Command) -> Vec<(u64, String)> {
    let lines = run(command);
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let proofs = rows.filter(|row| row.get("artifact").is_some()).map(|row| {
        assert_eq!(row["verdict"], "verified", "{row}");
        (row["from"].as_u64().unwrap(), row["artifact"].as_str().unwrap().to_owned())
    });
    proofs.collect()
}

fn started(aws: &LocalAws, blocks: &std::path::Path) -> Child {
    let mut command = aws.program("proofyard");
    command.args(["run", "--aws", &aws.yard]).arg(examples().join("demo.toml")).arg("--blocks").arg(blocks);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn running_jobs(aws: &LocalAws) -> Vec<String> {
    let queue = format!("proofyard-{}-cpu", aws.yard);
    let listed = aws.batch("/v1/listjobs", &json!({ "jobQueue": queue, "jobStatus": "RUNNING" }));
    let jobs = listed["jobSummaryList"].as_array().unwrap();
    jobs.iter().map(|job| job["jobId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn blocks_become_the_same_proofs_on_aws_as_on_one_machine() {
    let aws = LocalAws::whole_or_named();
    let here = tempfile::tempdir().unwrap();
    let blocks = some_blocks(here.path(), BLOCKS);
    let output = started(&aws, &blocks).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{BLOCKS} blocks committed")), "{said}");
    let there = verified(aws.program("proofyard").args(["verify", "--json", "--aws", &aws.yard]));
    let data = here.path().join("yard");
    // Its sink writes beside it.
    let pipeline = here.path().join("demo.toml");
    fs::copy(examples().join("demo.toml"), &pipeline).unwrap();
    let mut one_machine = Command::new(programs().join("proofyard"));
    one_machine.arg("run").arg(&pipeline).arg("--blocks").arg(&blocks).arg("--data").arg(&data);
    run(&mut one_machine);
    let mut verify = Command::new(programs().join("proofyard"));
    let one_machine = verified(verify.args(["verify", "--json", "--data"]).arg(&data));
    assert_eq!(there, one_machine);
    assert_eq!(
        there.iter().map(|(height, _)| *height).collect::<Vec<_>>(),
        (1..=BLOCKS as u64).collect::<Vec<_>>()
    );
    let status = run(aws.program("proofyard").args(["status", "--json", "--aws", &aws.yard]));
    let status: Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
    assert_eq!(status["frontier"], BLOCKS + 1);
    assert_eq!(status["sinks"][0]["behind"], 0, "{status}");
    let report = run(aws.program("proofyard").args(["report", "--json", "--aws", &aws.yard]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["blocks_committed"], &report["proofs"]["proofs"]), (&BLOCKS.into(), &BLOCKS.into()));
    assert_eq!(report["proofs"]["trusted_setup"], "no", "what the prover states comes all the way");
}

/// The functions are told of a judge, submit one, and commit what it lets stand.
#[test]
fn blocks_become_proofs_where_a_judge_looks_at_each() {
    let aws = LocalAws::whole(&["--judge"]);
    let here = tempfile::tempdir().unwrap();
    let blocks = some_blocks(here.path(), 2);
    let output = started(&aws, &blocks).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("2 blocks committed"), "{said}");
    let proofs = verified(aws.program("proofyard").args(["verify", "--json", "--aws", &aws.yard]));
    assert_eq!(proofs.len(), 2);
    let queue = format!("proofyard-{}-judge", aws.yard);
    let listed = aws.batch("/v1/listjobs", &json!({ "jobQueue": queue, "jobStatus": "RUNNING" }));
    assert_eq!(listed["jobSummaryList"].as_array().map(Vec::len), Some(1), "{listed}");
}

/// Jobs are reclaimed with their machines, and one is said to have failed although it lives, while blocks are proved.
#[test]
fn workers_that_vanish_and_one_that_only_seems_to_lose_nothing() {
    let aws = LocalAws::whole(&[]);
    let here = tempfile::tempdir().unwrap();
    let blocks = some_blocks(here.path(), BLOCKS);
    let run = started(&aws, &blocks);
    for control in ["/local/spot-reclaim", "/local/say-failed", "/local/spot-reclaim"] {
        let job = wait_for("a running job", || running_jobs(&aws).into_iter().next());
        // So that it holds something.
        thread::sleep(Duration::from_millis(700));
        if running_jobs(&aws).contains(&job) {
            aws.batch(control, &json!({ "jobId": job }));
        }
    }
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let there = verified(aws.program("proofyard").args(["verify", "--json", "--aws", &aws.yard]));
    assert_eq!(
        there.iter().map(|(height, _)| *height).collect::<Vec<_>>(),
        (1..=BLOCKS as u64).collect::<Vec<_>>()
    );
}

/// A worker's machine has no file but those that it fetches from the bucket.
#[test]
fn workers_have_the_files_that_their_provers_need() {
    let aws = LocalAws::whole(&[]);
    let here = tempfile::tempdir().unwrap();
    let blocks = some_blocks(here.path(), 2);
    let key = here.path().join("proving.key");
    fs::write(&key, "a key").unwrap();
    let kept = run(aws.program("proofyard").args(["keep", "--aws", &aws.yard]).arg(&key));
    fs::remove_file(&key).unwrap();
    let pipeline = here.path().join("pipeline.toml");
    let text = format!(
        r#"
        [chain]
        name = "files"
        start_height = 1
        window = 2

        [stage.prove]
        strategy = "match"
        from = "block"
        prover = "copier"
        pool = "cpu"

        [prover.copier]
        command = ["sh", "-c", "test -s {{input}} && cp \"$KEYS/proving.key\" {{output}}"]
        environment = {{ KEYS = "{{files}}" }}
        protocol = "files"
        verify = "none"
        {kept}

        [pool.cpu]

        [sink.file]
        file = "out.jsonl"
        "#
    );
    fs::write(&pipeline, text).unwrap();
    let said = run(aws
        .program("proofyard")
        .args(["run", "--aws", &aws.yard])
        .arg(&pipeline)
        .arg("--blocks")
        .arg(&blocks));
    assert!(said.contains("2 blocks committed"), "{said}");
    let proofs = run(aws.program("proofyard").args(["verify", "--json", "--aws", &aws.yard]));
    let sha256 = kept.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(proofs.matches(sha256).count(), 2, "{proofs}");
}
