//! `proofyard bench`: what somebody who measures a machine types and reads.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::support::{Done, Running, until};

fn bench(arguments: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
    command.arg("bench").args(arguments).arg("--dir").arg(folder.path());
    let done = Done::of(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    done
}

fn documents(done: &Done) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Figures depend on the machine; that each task was done once, and that they can be times, does not.
fn expect_measured(document: &Value, tasks: u64) {
    let measured = &document["measured"];
    assert_eq!(measured["tasks"], tasks, "{document}");
    // Blocks that are all there at once wait for each other.
    let blocks = if document["rate"] == 0 { None } else { Some("block_overhead") };
    for times in ["acknowledgement", "waiting", "around_provers", "overhead"].into_iter().chain(blocks) {
        let at = |what: &str| measured[times][what].as_f64().unwrap();
        let ranks = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(at);
        assert!(
            ranks.is_sorted() && ranks[0] >= 0.0 && measured[times]["samples"] != 0,
            "{times}: {document}"
        );
    }
    assert!(measured["tasks_a_second"].as_f64().unwrap() > 0.0, "{document}");
    assert!(measured["busy"].as_f64().unwrap() <= 1.01, "{document}");
    let (waited, done) = (&measured["syncs_waited_a_task"], &measured["syncs_done_a_task"]);
    assert!(done.as_f64() > Some(0.0) && waited.as_f64() >= done.as_f64(), "{document}");
    assert!(document["fdatasync"]["p50_ms"].as_f64().unwrap() > 0.0, "{document}");
}

#[test]
fn each_task_of_a_load_is_done_once_and_measured() {
    let open = bench(&["--rate", "50", "--tasks", "40", "--runs", "2", "--json"]).expect_code(0);
    let runs = documents(&open);
    assert_eq!(runs.len(), 2);
    runs.iter().for_each(|run| expect_measured(run, 40));
    let closed = ["--rate", "0", "--tasks", "20", "--runs", "1", "--workers", "1,4", "--segments", "3"];
    let closed = bench(&[closed.as_slice(), &["--prove-ms", "5", "--json"]].concat()).expect_code(0);
    let runs = documents(&closed);
    assert_eq!(runs.iter().map(|run| run["workers"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(4)]);
    runs.iter().for_each(|run| expect_measured(run, 20));
}

#[test]
fn files_provers_and_tasks_without_any_are_done_once_too() {
    let both = ["--prover", "files,in-process", "--rate", "50", "--tasks", "15", "--segments", "4"];
    let runs = documents(&bench(&[both.as_slice(), &["--runs", "1", "--json"]].concat()).expect_code(0));
    assert_eq!(
        runs.iter().map(|run| run["prover"].as_str()).collect::<Vec<_>>(),
        [Some("files"), Some("in-process")]
    );
    runs.iter().for_each(|run| expect_measured(run, 15));
    let waited = |run: usize| runs[run]["measured"]["syncs_waited_a_task"].as_f64().unwrap();
    assert!(waited(0) > waited(1) + 1.0, "only those of the files prover have artifacts: {runs:?}");
}

#[test]
fn what_is_open_behind_the_load_and_what_is_committed_before_it_is_not_counted() {
    let grown = ["--prover", "in-process", "--backlog", "300", "--committed", "50", "--tasks", "40"];
    let runs = documents(&bench(&[grown.as_slice(), &["--runs", "1", "--json"]].concat()).expect_code(0));
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    assert_eq!((&run["open"], &run["committed"], &run["rate"]), (&300.into(), &50.into(), &0.into()));
    expect_measured(run, 40);
    for figure in ["taken_in_a_second", "database_bytes", "restart_to_claim_ms"] {
        assert!(run["measured"]["growth"][figure].as_f64() > Some(0.0), "{figure}: {run}");
    }
}

#[test]
fn a_person_reads_a_table_and_an_impossible_load_is_refused() {
    let table = bench(&["--rate", "0", "--tasks", "10", "--runs", "1"]).expect_code(0).out;
    for row in ["the disk's fdatasync", "acknowledging a block", "overhead of a task", "CPU a task"] {
        assert!(table.contains(row), "{table}");
    }
    bench(&["--workers", "0"]).expect_code(2).expect_error("0 is not in 1..=1024");
    bench(&["--rate", "90000"]).expect_code(2).expect_error("90000 is not in 0..=50000");
    let waiting = bench(&["--rate", "10", "--backlog", "5"]).expect_code(2);
    waiting.expect_error("behind open blocks no worker ever waits");
}

#[test]
fn several_loads_are_shown_as_a_page_too() {
    let place = tempfile::tempdir().unwrap();
    let page = place.path().join("page.html");
    let two = ["--prover", "in-process", "--workers", "1,2", "--rate", "0", "--tasks", "20", "--runs", "2"];
    let table = bench(&[&two[..], &["--page", page.to_str().unwrap()]].concat()).expect_code(0).out;
    assert!(table.contains("scaling efficiency") && table.contains("no verifier and no artifact"), "{table}");
    let page = std::fs::read_to_string(page).unwrap();
    for id in ["distribution", "by-workers", "throughput", "figures"] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    assert!(page.contains("default-src 'none'") && !page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn interrupted_it_tells_what_it_has_and_leaves_nothing() {
    let (folder, told) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard"));
    command.args(["bench", "--prover", "in-process", "--prove-ms", "0,60000", "--tasks", "5", "--runs", "1"]);
    command.args(["--rate", "0", "--json", "--dir"]).arg(folder.path());
    let run = Running::of({
        command.stdin(Stdio::null()).stdout(told.reopen().unwrap()).stderr(Stdio::null());
        command
    });
    let lines = || std::fs::read_to_string(told.path()).unwrap().lines().count();
    let sleeps = || {
        let found = std::fs::read_dir(folder.path()).unwrap().flatten();
        lines() == 1 && found.into_iter().any(|run| run.path().join("yard/socket").exists())
    };
    until("the first load is told, and the second one sleeps", sleeps);
    run.signal(Signal::INT);
    assert_eq!((run.exit_code(), lines()), (Some(130), 1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

/// A limit of open files stands for whatever a machine has too little of.
#[test]
fn a_load_for_which_the_machine_is_too_small_is_left_out_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 512 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_proofyard")]);
    command.args(["bench", "--workers", "1024,2", "--tasks", "10", "--rate", "0", "--runs", "1", "--json"]);
    command.arg("--dir").arg(folder.path());
    let done = Done::of(command.stdin(Stdio::null()).output().unwrap()).expect_code(1);
    let runs = documents(&done);
    assert_eq!(runs.len(), 1, "{runs:?}");
    expect_measured(&runs[0], 10);
    done.expect_error("1024 workers need about");
}
