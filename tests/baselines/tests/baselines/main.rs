//! The baselines as somebody runs them, by themselves and with `proofyard bench`, with whatever servers are installed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on is over")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_programs::programs;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_proofyard-baselines");
/// Far beyond what anything here takes, also on a machine that is busy with other work.
const DEADLINE: Duration = Duration::from_secs(120);

fn baselines(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--dir").arg(folder).stdin(Stdio::null());
    command
}

/// In `/tmp` whatever TMPDIR says: a server's own account has to get there.
fn folder() -> TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expect_empty(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let running: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|process| fs::read_to_string(process.ok()?.path().join("cmdline")).ok())
        .filter(|words| words.contains(&folder.display().to_string()))
        .collect();
    assert!(running.is_empty(), "left running: {running:?}");
}

/// Figures depend on the machine; that each task was done once, and that they can be times, does not. The program itself fails
/// where a task was done twice, or joined what was not proved.
fn expect_measured_or_left_out(row: &Value, tasks: u64) {
    if let Some(why) = row["left_out"].as_str() {
        let known = ["apt-get install", "sync_interval", "does not run as root", "cannot enter"];
        assert!(known.iter().any(|known| why.contains(known)), "{row}");
        return;
    }
    let measured = &row["measured"];
    assert_eq!(measured["tasks"], tasks, "{row}");
    for times in ["acknowledgement", "waiting", "around_provers", "overhead"] {
        let at = |what: &str| measured[times][what].as_f64().unwrap();
        let ranks = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(at);
        assert!(ranks.is_sorted() && ranks[0] >= 0.0 && measured[times]["samples"] != 0, "{times}: {row}");
    }
    assert!(measured["tasks_a_second"].as_f64().unwrap() > 0.0, "{row}");
    assert!(!measured["version"].as_str().unwrap().is_empty(), "{row}");
    assert!(row["durability"].as_str().unwrap().contains("durable"), "{row}");
}

fn systems(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["system"].as_str().unwrap()).collect()
}

const ALL: [&str; 4] = ["nats", "nats-synced", "postgresql", "redis"];

#[test]
fn each_task_is_done_once_and_joins_come_after_their_segments() {
    let folder = folder();
    for load in [["--rate", "200", "--segments", "3"], ["--rate", "0", "--segments", "1"]] {
        let all = [load.as_slice(), &["--workers", "2", "--tasks", "40", "--runs", "1", "--json"]].concat();
        let rows = rows(&baselines(folder.path(), &all).output().unwrap());
        assert_eq!(systems(&rows), ALL);
        rows.iter().for_each(|row| expect_measured_or_left_out(row, 40));
        expect_empty(folder.path());
    }
}

#[test]
fn a_server_that_is_missing_is_named_and_so_is_a_load_that_cannot_be() {
    let (folder, nothing) = (folder(), folder());
    let nothing = nothing.path().display().to_string();
    let arguments = ["--runs", "1", "--programs", &nothing, "--json"];
    let rows = rows(&baselines(folder.path(), &arguments).output().unwrap());
    let packages = ["nats-server", "nats-server", "postgresql", "redis-server"];
    assert_eq!(systems(&rows), ALL);
    for (row, package) in rows.iter().zip(packages) {
        assert!(row["left_out"].as_str().unwrap().contains(&format!("apt-get install {package}")), "{row}");
    }
    let table = baselines(folder.path(), &["--programs", &nothing]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&table.stdout).contains("left out: postgres is not installed"),
        "{table:?}"
    );
    let refused = baselines(folder.path(), &["--workers", "0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    expect_empty(folder.path());
}

/// Waits until a server of the program has a log, or the program has ended: then there is no server here.
fn wait_for_server(child: &mut Child, folder: &Path) -> bool {
    let began = Instant::now();
    loop {
        let runs = fs::read_dir(folder).unwrap().flatten();
        let mut servers = runs.filter_map(|run| fs::read_dir(run.path()).ok()).flatten().flatten();
        if servers.any(|server| server.path().join("log").is_file()) {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < DEADLINE, "no server was started");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stopped_it_leaves_nothing_behind() {
    for ask in ["signal", "end of input"] {
        let folder = folder();
        let endless = ["--tasks", "1000000", "--json", "--until-input-ends"];
        let mut command = baselines(folder.path(), &endless);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        if wait_for_server(&mut child, folder.path()) {
            match ask {
                "signal" => {
                    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
                    kill_process(pid, Signal::TERM).unwrap();
                }
                _ => drop(child.stdin.take()),
            }
            let status = child.wait().unwrap();
            let expected = if ask == "signal" { 128 + Signal::TERM.as_raw() } else { 1 };
            assert_eq!(status.code(), Some(expected), "{ask}");
        }
        expect_empty(folder.path());
    }
}

/// The program is found in PATH where it is not beside the command.
#[test]
fn the_bench_shows_them_beside_the_yard_and_goes_on_without_them() {
    let folder = folder();
    let (with, without) = (Path::new(PROGRAM).parent().unwrap(), folder.path().join("without"));
    // A name of its own for the command, beside which there is nothing: in the folder of the build, where it can be linked.
    let alone = tempfile::tempdir_in(with).unwrap();
    let command = alone.path().join("proofyard");
    fs::hard_link(programs().join("proofyard"), &command).unwrap();
    fs::create_dir(&without).unwrap();
    let bench = |path: &Path| {
        let arguments = ["bench", "--rate", "0", "--tasks", "20", "--runs", "1", "--baselines", "--json"];
        let mut command = Command::new(&command);
        command.args(arguments).arg("--dir").arg(&without).env("PATH", path).stdin(Stdio::null());
        command.output().unwrap()
    };

    let output = bench(&without);
    let documents = rows(&output);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0]["measured"]["tasks"], 20);
    assert_eq!(documents[0]["baselines"], Value::Array(Vec::new()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cargo build --release --locked -p proofyard-baselines"), "{said}");

    let documents = rows(&bench(with));
    let compared = documents[0]["baselines"].as_array().unwrap();
    assert_eq!(systems(compared), ALL);
    for row in compared {
        expect_measured_or_left_out(row, 20);
        let ratio = row["yard"]["overhead_p50"].as_f64();
        assert_eq!(ratio.is_some_and(|ratio| ratio > 0.0), row["measured"].is_object(), "{row}");
    }
    expect_empty(&without);
}
