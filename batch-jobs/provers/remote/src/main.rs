//! The program: speaks the prover protocol on stdin and stdout, and a proving service's protocol over HTTP or gRPC.

use std::process::ExitCode;

use proofyard_remote::RemoteProver;

const USAGE: &str = "\
usage: proofyard-remote [--files FOLDER]

The prover protocol on stdin and stdout. Which service proves, and how it is spoken to, stands in the prover's `arguments` in
the pipeline. Files that these name are in FOLDER, which the pipeline's `{files}` stands for.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => proofyard_prover::serve(RemoteProver::default()),
        ["--files", folder] => proofyard_prover::serve(RemoteProver::with_files(folder)),
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
