//! The program that a yard runs for each message that goes over HTTP: one line of JSON on its input, `{"target": ...,
//! "message": ...}`. Exit code 0: it was taken; 75: not now; 65: never. The last line that it prints says why.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use proofyard_notify::{Surroundings, tell};
use proofyard_sinks::{EXIT_LATER, EXIT_REFUSED, Outcome, ToNotify, WaitLine};

const USAGE: &str = "\
usage: proofyard-notify

Tells one message over HTTP: {\"target\": ..., \"message\": ...} on its input. `proofyard run` and `proofyard serve` run it for
the pipeline's sinks; docs/sinks.md.";

/// More than any message has: entries name their proofs, and do not hold them.
const MESSAGE_BYTES: u64 = 16 << 20;

/// Who reads the line cuts it at 512 bytes, and what is cut is no JSON.
const REASON_BYTES: usize = 350;

struct Here;

impl Surroundings for Here {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn now_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some() {
        println!("{USAGE}");
        return ExitCode::from(2);
    }
    let mut line = Vec::new();
    if let Err(error) = io::stdin().take(MESSAGE_BYTES).read_to_end(&mut line) {
        return say(EXIT_LATER, WaitLine::saying(0, error.to_string()));
    }
    let told: ToNotify = match serde_json::from_slice(&line) {
        Ok(told) => told,
        Err(error) => {
            let reason = format!("its input is not what `proofyard` of this version says: {error}");
            return say(EXIT_LATER, WaitLine::saying(0, reason));
        }
    };
    match tell(&told, &Here) {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Later(trouble) => {
            say(EXIT_LATER, WaitLine::saying(trouble.wait_ms.unwrap_or(0), trouble.reason))
        }
        Outcome::Refused(reason) => say(EXIT_REFUSED, WaitLine::saying(0, reason)),
        Outcome::Interrupted => ExitCode::from(EXIT_LATER),
    }
}

fn say(code: u8, mut line: WaitLine) -> ExitCode {
    line.reason = line.reason.map(|reason| cut(&reason));
    let line = serde_json::to_string(&line).unwrap_or_default();
    // Who does not listen has the exit code.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::from(code)
}

/// As much of a reason as the line has room for, by the bytes that each letter has in it.
fn cut(reason: &str) -> String {
    let mut bytes = 0;
    let fits = |letter: &char| {
        bytes += serde_json::to_string(letter).map_or(0, |text| text.len() - 2);
        bytes <= REASON_BYTES
    };
    let fitting: String = reason.chars().take_while(fits).collect();
    if fitting.len() < reason.len() { format!("{fitting}...") } else { fitting }
}
