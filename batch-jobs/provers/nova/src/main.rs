//! The program: `block` and `range` speak the prover protocol.

use std::process::ExitCode;

use proofyard_nova::serve::NovaProver;
use proofyard_nova::statement::Kind;

const USAGE: &str = "\
usage: proofyard-nova block   prove and verify whole blocks; the prover protocol on stdin and stdout
       proofyard-nova range   prove and verify whole blocks that follow each other, as one; the prover protocol";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["block"] => proofyard_prover::serve(NovaProver::new(Kind::Block)),
        ["range"] => proofyard_prover::serve(NovaProver::new(Kind::Range)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => usage("nothing was asked for"),
        [verb, ..] => usage(&format!("{verb:?} is not understood here")),
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("proofyard-nova: {why}\n{USAGE}");
    ExitCode::from(2)
}
