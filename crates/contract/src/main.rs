//! `proofyard-contract`: calls a contract for one entry of an out log, `{"target": ..., "message": ...}` on its input. Exit code
//! 0: it is done; 75: not now; 65: an operator has to look. The last line that it prints says why. With `--check` only what the
//! pipeline says is looked at. With `--stage` it is a prover, whose output is what a call came to.

mod prover;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofyard_contract::{Journals, Kms, Place, Surroundings, check, submit};
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::sinks::Trouble;
use proofyard_sinks::{EXIT_LATER, EXIT_REFUSED, Outcome, ToNotify, WaitLine};

const USAGE: &str = "\
usage: proofyard-contract --journal FOLDER --sink NAME
       proofyard-contract --journal FOLDER --stage NAME
       proofyard-contract --check
       proofyard-contract --address KEY

Calls a contract for one entry: {\"target\": ..., \"message\": ...} on its input; with --check, the target alone; with --stage,
for each task of the prover protocol. --address shows the account of a key of AWS KMS, by its ARN. `proofyard run` and `proofyard serve` run it for the pipeline's sinks and stages; docs/sinks.md.";

/// More than any message has: entries name their proofs, and do not hold them.
const INPUT_BYTES: u64 = 16 << 20;

/// This process and its environment.
#[derive(Default)]
struct Here {
    kms: Kms,
}

impl Surroundings for Here {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
    fn kms(&self) -> &Kms {
        &self.kms
    }
    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["--check"] => checked(),
        ["--address", key] => address(key),
        ["--journal", journal, "--sink", sink] => {
            told(&Place { sink: sink.to_owned(), journals: folder(journal) })
        }
        ["--journal", journal, "--stage", stage] => {
            return prover::run(Place::of_stage(stage, folder(journal)));
        }
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Later(Trouble { reason, wait_ms, nothing_sent, is_wait }) => {
            let line = WaitLine::saying(wait_ms.unwrap_or(0), reason);
            say(EXIT_LATER, &WaitLine { nothing_sent, is_wait, ..line })
        }
        Outcome::Refused(reason) => say(EXIT_REFUSED, &WaitLine::saying(0, reason)),
        Outcome::Interrupted => ExitCode::from(EXIT_LATER),
    }
}

fn folder(path: &str) -> Journals {
    Journals::Folder(PathBuf::from(path))
}

fn checked() -> Outcome {
    let target: SinkTarget = match input() {
        Ok(target) => target,
        Err(reason) => return Outcome::Refused(reason),
    };
    let SinkTarget::Contract(contract) = target else {
        return Outcome::Refused("it calls contracts, and nothing else".to_owned());
    };
    match check(&contract, &Here::default()) {
        Ok(account) => {
            println!("{account}");
            Outcome::Done
        }
        Err(failure) => Outcome::Refused(failure.reason()),
    }
}

fn address(key: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = match runtime {
        Ok(runtime) => runtime.block_on(Kms::default().address(key)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match address {
        Ok(address) => {
            println!("{address}");
            Outcome::Done
        }
        Err(error) => Outcome::Refused(format!("{key}: {error}")),
    }
}

fn told(place: &Place) -> Outcome {
    let told: ToNotify = match input() {
        Ok(told) => told,
        Err(reason) => return later(reason),
    };
    let SinkTarget::Contract(contract) = &told.target else {
        return Outcome::Refused("it calls contracts, and nothing else".to_owned());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(submit(contract, &told.message, place, &Here::default())),
        Err(error) => later(error.to_string()),
    }
}

fn later(reason: String) -> Outcome {
    Outcome::Later(Trouble::saying(reason))
}

fn input<T: serde::de::DeserializeOwned>() -> Result<T, String> {
    let mut line = Vec::new();
    let read = io::stdin().take(INPUT_BYTES).read_to_end(&mut line);
    read.map_err(|error| error.to_string())?;
    serde_json::from_slice(&line)
        .map_err(|error| format!("its input is not what `proofyard` of this version says: {error}"))
}

fn say(code: u8, line: &WaitLine) -> ExitCode {
    // Who does not listen has the exit code.
    let _ = writeln!(io::stdout(), "{}", serde_json::to_string(line).unwrap_or_default());
    ExitCode::from(code)
}
