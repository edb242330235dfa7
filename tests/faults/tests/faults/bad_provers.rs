//! Provers that fail in every way that a program can: tried again if they fail once, parked with what they said if
//! they go on, while the chain waits.

use std::process::Command;
use std::thread;

use proofyard_core::state::Task;
use proofyard_faults::replay::replay;
use proofyard_faults::{BlocksFile, Ended, Place, State, ToyPipeline, Witness, final_chain, program};

struct BadProver {
    does: &'static [&'static str],
    limits: &'static [&'static str],
    /// What its failed attempts are told as.
    told_as: &'static str,
    /// What its log says, where it is the log of the prover or the verifier.
    log_line: Option<&'static str>,
}

const FAULT_IS_DUE: Option<&str> = Some("toy prover: a fault is due");

const BAD_PROVERS: &[BadProver] = &[
    BadProver {
        does: &["--exit-code", "1"],
        limits: &[],
        told_as: "it ended with exit code 1",
        log_line: FAULT_IS_DUE,
    },
    BadProver {
        does: &["--die-by-signal"],
        limits: &[],
        told_as: "it was killed by signal 6",
        log_line: FAULT_IS_DUE,
    },
    BadProver {
        does: &["--hang"],
        limits: &["time_limit_ms = 5000"],
        told_as: "it took longer than 5000 ms",
        log_line: FAULT_IS_DUE,
    },
    BadProver { does: &["--rubbish"], limits: &[], told_as: "rubbish, not JSON", log_line: FAULT_IS_DUE },
    BadProver {
        does: &["--huge-output", "1000000000"],
        limits: &["output_bytes = 4000000"],
        told_as: "4000000 bytes",
        log_line: FAULT_IS_DUE,
    },
    BadProver {
        does: &["--memory", "400000000", "--hang"],
        limits: &["memory_bytes = 200000000"],
        told_as: "200000000 are allowed",
        log_line: FAULT_IS_DUE,
    },
    BadProver {
        does: &["--claim-wrong-values"],
        limits: &[],
        told_as: "the prover claims public values",
        log_line: None,
    },
    BadProver {
        does: &["--false-proof"],
        limits: &[],
        told_as: "this proof is not about these inputs",
        log_line: Some("toy prover: verifies"),
    },
    BadProver {
        does: &["--fork-children", "--exit-code", "1"],
        limits: &[],
        told_as: "it ended with exit code 1",
        log_line: Some("toy prover: has left children"),
    },
];

const ATTEMPTS: u32 = 2;
const BACKOFF_MS: u64 = 200;
const BLOCKS: usize = 5;

impl BadProver {
    /// It does so only where these further arguments say.
    fn place(&self, only: &[&str]) -> Place {
        let toy = self.does.iter().chain(only).map(|argument| (*argument).to_owned()).collect();
        let limits = [&["max_attempts = 2", "max_crashes = 2", "backoff_ms = 200"], self.limits].concat();
        let pipeline = ToyPipeline { toy, limits, ..ToyPipeline::default() };
        Place::new(pipeline, &BlocksFile::Chain.lines()[..BLOCKS])
    }

    fn crashes(&self) -> bool {
        self.does.contains(&"--die-by-signal")
    }

    /// Why its task is parked.
    fn parked_as(&self) -> &'static str {
        if self.crashes() { "its prover crashed 2 times: \"" } else { "all 2 attempts failed: \"" }
    }

    fn look_at_notes(&self, task: &Task, failures: u32) {
        let counted = if self.crashes() { task.crashes() } else { task.failures() };
        assert_eq!(
            (counted, task.failures() + task.crashes()),
            (failures, failures),
            "{:?}: {task:?}",
            self.does
        );
        assert_eq!(task.notes().len(), failures as usize, "{:?}: {task:?}", self.does);
        for note in task.notes() {
            assert!(note.message.contains(self.told_as), "{:?}: {note:?}", self.does);
            let logged = |wanted| note.log.iter().any(|line| line.starts_with(wanted));
            assert!(self.log_line.is_none_or(logged), "{:?}: {note:?}", self.does);
        }
    }
}

/// Some side by side: they mostly wait.
fn for_each(test: impl Fn(&BadProver) + Sync) {
    let test = &test;
    for group in BAD_PROVERS.chunks(3) {
        thread::scope(|scope| group.iter().for_each(|bad| _ = scope.spawn(move || test(bad))));
    }
}

#[test]
fn a_prover_that_fails_once_is_tried_again() {
    for_each(|bad| {
        let place = bad.place(&["--times", "1", "--state", "{place}/state"]);
        assert_eq!(place.start().wait(), Ended::Code(0), "{:?}: {}", bad.does, place.log());
        let state = Witness::default().look(&place).unwrap();
        assert_eq!(state.committed(), final_chain(&BlocksFile::Chain.lines()[..BLOCKS]));
        let failed: Vec<_> =
            state.tasks.values().filter(|task| task.failures() + task.crashes() > 0).collect();
        assert_eq!(failed.len(), 1, "{:?}: {failed:?}", bad.does);
        bad.look_at_notes(failed[0], 1);
    });
}

#[test]
fn a_prover_that_goes_on_failing_is_parked_and_the_chain_waits() {
    for_each(|bad| {
        let place = bad.place(&["--only", ":b:2:"]);
        assert_eq!(place.start().wait(), Ended::Code(1), "{:?}: {}", bad.does, place.log());
        let state = Witness::default().look(&place).unwrap();
        let parked = state.parked();
        assert!(!parked.is_empty());
        for task in parked {
            assert_eq!(task.height(), 2);
            let reason = task.parked().unwrap();
            assert!(reason.starts_with(bad.parked_as()), "{:?}: {reason}", bad.does);
            bad.look_at_notes(task, ATTEMPTS);
            let waited_ms = task.notes()[1].at_ms - task.notes()[0].at_ms;
            assert!(waited_ms >= BACKOFF_MS, "{:?}: tried again after {waited_ms} ms", bad.does);
        }
        assert_waits_at(&place, &state, 2);
        let explained = explain(&place, 2);
        assert!(explained.contains(bad.parked_as()), "{:?}: {explained}", bad.does);
        assert!(explained.contains(bad.told_as), "{:?}: {explained}", bad.does);
    });
}

/// Before it was ever asked to prove.
#[test]
fn a_prover_that_hangs_while_it_loads_its_keys_is_parked() {
    let bad = BadProver {
        does: &["--hang", "--verb", "setup"],
        limits: &["time_limit_ms = 3000"],
        told_as: "it took longer than 3000 ms",
        log_line: FAULT_IS_DUE,
    };
    let place = bad.place(&[]);
    assert_eq!(place.start().wait(), Ended::Code(1), "{}", place.log());
    let state = Witness::default().look(&place).unwrap();
    assert!(!state.parked().is_empty());
    state.parked().into_iter().for_each(|task| bad.look_at_notes(task, ATTEMPTS));
}

/// What an operator is told.
fn explain(place: &Place, height: u64) -> String {
    let mut command = Command::new(program("proofyard"));
    let output =
        command.args(["explain", &height.to_string(), "--data"]).arg(place.data_dir()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn assert_waits_at(place: &Place, state: &State, height: u64) {
    assert_eq!(state.frontier.height, height);
    let last = replay(&place.sink_entries("blocks"), 1).pop().unwrap();
    assert_eq!(last.to, height - 1);
}

/// What it leaves behind ends with it, also when it succeeds.
#[test]
fn children_of_a_prover_end_with_it() {
    let toy = vec!["--fork-children".to_owned()];
    let place =
        Place::new(ToyPipeline { toy, ..ToyPipeline::default() }, &BlocksFile::Chain.lines()[..BLOCKS]);
    assert_eq!(place.start().wait(), Ended::Code(0), "{}", place.log());
    assert!(Witness::default().look(&place).unwrap().is_all_committed());
}
