//! A program that is told one thing: it is started for it, reads it from its input, and ends.
//!
//! Exit code 0 means that it is done, 75 (`EX_TEMPFAIL` of `sysexits`) that it cannot now; what it prints is its log. It is
//! guarded and limited as a prover is.

use std::time::Duration;

use super::error::{ErrorKind, Fault, ProverError};
use super::files::EXIT_UNAVAILABLE;
use super::guarded::{Guarded, Stdin, how_it_ended};
use super::launch::Launch;
use super::log::Log;
use super::watch::{Cancel, Watch};

const LOG_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs it to its end; answers the last lines that it printed. It has `limits.time_ms`, and the same again as its grace
/// period, since it goes on when its input has ended.
///
/// # Errors
/// [`ErrorKind::Unavailable`] for exit code 75, [`ErrorKind::Died`] for every other but 0; the error has the last lines.
pub fn run_program(launch: &Launch, input: &[u8], cancel: &Cancel) -> Result<Vec<String>, ProverError> {
    let mut log = Log::new(launch.limits.log_lines);
    let ended = run(launch, input, cancel, &mut log);
    log.wait_for_end(LOG_TIMEOUT);
    let log = log.last_lines();
    match ended {
        Ok(()) => Ok(log),
        Err(Fault { kind, message, .. }) => {
            Err(ProverError { kind, message, command: launch.command_line(), log })
        }
    }
}

fn run(launch: &Launch, input: &[u8], cancel: &Cancel, log: &mut Log) -> Result<(), Fault> {
    let cannot = |error| Fault::new(ErrorKind::CouldNotStart, error);
    let (mut guarded, stdout, stderr) = Guarded::start(launch, &launch.command, Stdin::Open)?;
    log.follow(stdout).map_err(cannot)?;
    log.follow(stderr).map_err(cannot)?;
    let mut watch = Watch::new(&launch.limits, cancel, guarded.pid()?, launch.limits.time_ms, None);
    guarded.send(input, &mut watch)?;
    guarded.end_input();
    let status = loop {
        watch.check()?;
        if let Some(status) = guarded.wait(watch.next_check_in()) {
            break status;
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(EXIT_UNAVAILABLE) => {
            let message = format!("it cannot now (exit code {EXIT_UNAVAILABLE})");
            Err(Fault::new(ErrorKind::Unavailable, message))
        }
        _ => Err(how_it_ended(Some(status), false, &launch.limits)),
    }
}
