//! Whichever process dies, and however: nothing that a prover started is left running.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proofyard_prover::confinement::{Confinement, Sandbox};
use proofyard_prover::runner::{Cancel, ErrorKind, Launch, Session, try_confinement};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, Place, TOY, launch, wait_for};

/// The guard's aim is milliseconds; a busy machine gets more.
const AT_ONCE: Duration = Duration::from_secs(5);

const OWNER: &str = "PROOFYARD_TEST_OWNER";

/// Not a test: the process that plays the yard, started by the tests below with a mark for its processes.
#[test]
#[ignore = "run by other tests as a process of its own"]
fn owner() {
    let Ok(mark) = env::var(OWNER) else { return };
    let place = Place::new();
    let launch = launch(&[TOY, "--fork-children", "--hang"], &mark);
    let mut session = Session::start(&launch).unwrap();
    let _ = session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {});
}

fn start_owner(place: &Place) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "guard::owner", "--ignored"]).env(OWNER, place.mark());
    let owner = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_children(place);
    owner
}

/// Until the prover, its child and its orphans are all there.
fn wait_for_children(place: &Place) {
    let orphans = |found: &Vec<String>| found.iter().filter(|one| one.ends_with(" sleep 1000 ")).count();
    wait_for(PATIENCE, || place.processes(), |found| orphans(found) >= 4);
}

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn pid_of_guard(place: &Place) -> String {
    let all = place.processes();
    let guard = all.iter().find(|one| one.contains("--grace-ms")).unwrap();
    guard.split(' ').next().unwrap().into()
}

#[test]
fn nothing_is_left_when_the_owner_is_killed() {
    let place = Place::new();
    let mut owner = start_owner(&place);
    owner.kill().unwrap();
    owner.wait().unwrap();
    place.wait_for_no_process(AT_ONCE);
}

#[test]
fn nothing_is_left_when_the_guard_is_killed() {
    let place = Place::new();
    // These orphans hold the prover's stdout too.
    let script = "for i in 1 2 3 4; do setsid sleep 1000 & done; wait";
    for launch in [place.toy(&["--fork-children", "--hang"]), place.shell(script)] {
        guard_is_killed(&place, &launch);
    }
}

fn guard_is_killed(place: &Place, launch: &Launch) {
    let mut session = Session::start(launch).unwrap();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_children(place);
            kill(&pid_of_guard(place));
        });
        session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err()
    });
    assert!(matches!(error.kind, ErrorKind::Died { .. }), "{error}");
    assert_eq!(place.processes(), [""; 0]);
}

/// With both dead, no process finds orphans; but the prover itself is killed by its parent-death signal.
#[test]
fn the_prover_dies_when_owner_and_guard_are_killed() {
    let place = Place::new();
    let mut owner = start_owner(&place);
    // Stopped, so that it cannot clean up after the guard.
    kill_process(Pid::from_child(&owner), Signal::STOP).unwrap();
    kill(&pid_of_guard(&place));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let provers =
        || place.processes().into_iter().filter(|one| one.contains("toy-prover")).collect::<Vec<_>>();
    wait_for(AT_ONCE, provers, |left| left.is_empty());
    for orphan in place.processes() {
        kill(orphan.split(' ').next().unwrap());
    }
    place.wait_for_no_process(AT_ONCE);
}

fn guard(place: &Place, script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofyard-guard"));
    command.args(["--grace-ms", "20000", "--", "sh", "-c", script]).env("PROOFYARD_TEST", place.mark());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn its_exit_code_is_the_provers() {
    let place = Place::new();
    let cases = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("exec /no/such", 127),
    ];
    for (script, code) in cases {
        let mut guard = guard(&place, script).spawn().unwrap();
        let _stdin = guard.stdin.take();
        assert_eq!(guard.wait().unwrap().code(), Some(code), "{script}");
    }
}

/// As [`its_exit_code_is_the_provers`], and so is what is left of it: nothing.
#[test]
fn a_confined_prover_ends_as_any_other() {
    for sandbox in [Sandbox::Landlock, Sandbox::Namespaces] {
        let place = Place::new();
        let confinement = Confinement {
            sandbox: Some(sandbox),
            writable: vec![place.output_dir()],
            ..Confinement::default()
        };
        let Ok(_) = try_confinement(&place.toy(&[]).guard, confinement.clone(), &place.output_dir(), &[])
        else {
            eprintln!("skipped: {sandbox:?} is not offered here");
            continue;
        };
        let confined = |launch: Launch| Launch { confinement: confinement.clone(), ..launch };
        let end = |script: &str| {
            let mut session = Session::start(&confined(place.shell(script))).unwrap();
            session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err().kind
        };
        assert_eq!(end("exit 7"), ErrorKind::Died { exit: Some(7), signal: None }, "{sandbox:?}");
        assert_eq!(end("kill -TERM $$"), ErrorKind::Died { exit: None, signal: Some(15) }, "{sandbox:?}");
        assert_eq!(
            end("setsid sleep 1000 & exit 1"),
            ErrorKind::Died { exit: Some(1), signal: None },
            "{sandbox:?}"
        );
        assert_eq!(place.processes(), [""; 0], "{sandbox:?}");
        let mut session = Session::start(&confined(place.launch(&["/no/such/program"]))).unwrap();
        let error = session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CouldNotStart, "{sandbox:?}: {error}");
        let mut session = Session::start(&confined(place.toy(&["--fork-children"]))).unwrap();
        session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap();
        wait_for_children(&place);
        drop(session);
        assert_eq!(place.processes(), [""; 0], "{sandbox:?}");
        // Memory is counted, and time is kept, over all that is in there.
        let mut greedy = confined(place.toy(&["--memory", "300000000", "--work-ms", "50000"]));
        greedy.limits.memory_bytes = Some(150_000_000);
        let error = Session::start(&greedy)
            .unwrap()
            .prove(&place.prove_segment(), &Cancel::new(), &mut |_| {})
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::MemoryExceeded { limit_bytes: 150_000_000 }, "{sandbox:?}");
        nothing_is_left_of_a_confined_one_when_its_guard_is_killed(&place, &confined);
    }
}

fn nothing_is_left_of_a_confined_one_when_its_guard_is_killed(
    place: &Place,
    confined: &dyn Fn(Launch) -> Launch,
) {
    guard_is_killed(place, &confined(place.toy(&["--fork-children", "--hang"])));
    assert_eq!(place.processes(), [""; 0]);
}

/// Also when requests that it never read still wait in front of it.
#[test]
fn a_prover_that_reads_nothing_dies_with_the_owner() {
    let place = Place::new();
    let mut guard = guard(&place, "exec sleep 1000").spawn().unwrap();
    let mut stdin = guard.stdin.take().unwrap();
    // More than the prover's pipe holds, less than that, the guard's buffer and the guard's pipe together.
    stdin.write_all(&[b'x'; 150_000]).unwrap();
    drop(stdin);
    place.wait_for_no_process(AT_ONCE);
    assert_eq!(guard.wait().unwrap().code(), Some(137));
}

/// Orphans go with the prover, also those that hold its stdout.
#[test]
fn orphans_end_with_the_prover() {
    let place = Place::new();
    let mut guard = guard(&place, "setsid sleep 1000 & (sleep 1000 &) ; read -r line; echo \"got $line\"")
        .spawn()
        .unwrap();
    let mut stdin = guard.stdin.take().unwrap();
    stdin.write_all(b"it\n").unwrap();
    let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "got it");
    assert!(lines.next().is_none(), "stdout ends, since nobody holds it any more");
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    assert_eq!(place.processes(), [""; 0]);
}
