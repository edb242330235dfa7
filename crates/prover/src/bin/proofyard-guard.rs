//! The guard as a program of its own, for tests and for those who run provers without the `proofyard` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    proofyard_prover::guard_main(std::env::args_os().skip(1))
}
