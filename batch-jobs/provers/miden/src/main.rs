//! The Miden prover; `proofyard-miden --help` lists what it does.
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    proofyard_miden::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
