//! The program: speaks the prover protocol on stdin and stdout, and a proving service's protocol over HTTP.

use std::process::ExitCode;

use proofyard_remote::RemoteProver;

const USAGE: &str = "\
usage: proofyard-remote   the prover protocol on stdin and stdout; which service proves, and how it is spoken to, stands
                          in the prover's `arguments` in the pipeline";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => proofyard_prover::serve(RemoteProver::default()),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [argument, ..] => {
            eprintln!("proofyard-remote: {argument:?} is not understood here\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
