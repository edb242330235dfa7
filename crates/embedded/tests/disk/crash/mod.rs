//! SIGKILL and power loss at any moment: what was answered is there at the next start, and every batch is there as a
//! whole or not at all.

mod power_loss;
mod workload;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use self::workload::{Plan, last_batches, parse_answer};

const KILLS: usize = 20;
const LANES: usize = 4;

#[test]
fn what_was_answered_is_there_after_each_of_twenty_kills() {
    let temp = tempfile::tempdir().unwrap();
    let plan = Plan { lanes: LANES, answers: u64::MAX, lazy_each: 3 };
    let mut answered = vec![0; LANES];
    for kill in 0..KILLS {
        // From before the first answer to well after the log was copied.
        let answers = [0, 1, 7, 40, 200, 700, 1_500][kill % 7];
        run_and_kill(plan.command(temp.path()), answers, |lane, n| answered[lane] = n);
        let found = last_batches(temp.path(), LANES);
        for (lane, (found, answered)) in found.iter().zip(&answered).enumerate() {
            assert!(found - answered <= 1, "lane {lane}: {found} is there, {answered} was answered");
        }
        answered = found;
    }
    assert!(answered.iter().sum::<u64>() > 1_000, "{answered:?}");
}

/// Lets the other process work until it has given so many answers, kills it, and notes all the answers it gave.
fn run_and_kill(mut command: Command, answers: usize, mut note: impl FnMut(usize, u64)) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut found = lines.filter_map(|line| parse_answer(&line.unwrap()));
    for _ in 0..answers {
        let (lane, n) = found.next().expect("it works until it is killed");
        note(lane, n);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    found.for_each(|(lane, n)| note(lane, n));
}
