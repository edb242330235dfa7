//! The program: `segment` and `join` speak the prover protocol, `states` completes a blocks file.
use std::io;
use std::process::ExitCode;

use miden_core::Word;
use proofyard_miden::error::Error;
use proofyard_miden::serve::{Joiner, SegmentProver};
use proofyard_miden::states::{Cut, complete};
use proofyard_miden::vm::{MAX_SEGMENT_TRANSACTIONS, SegmentVm};
use proofyard_miden::word::word_from_hex;

const USAGE: &str = "\
usage: proofyard-miden segment   prove and verify segments; the prover protocol on stdin and stdout
       proofyard-miden join      bundle and check a block's segment proofs; the prover protocol
       proofyard-miden states [--genesis 0x...] [--segment-transactions N]
                                 complete a blocks file, from stdin to stdout, with the states of its segments";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["segment"] => serve_with(SegmentProver),
        ["join"] => serve_with(Joiner),
        ["states", options @ ..] => match states_options(options) {
            Ok((genesis, cut)) => done(complete(io::stdin().lock(), io::stdout().lock(), cut, genesis)),
            Err(why) => usage(&why),
        },
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => usage("nothing was asked for"),
        [verb, ..] => usage(&format!("{verb:?} is not understood here")),
    }
}

fn serve_with<P: proofyard_prover::Prover>(prover: impl FnOnce(SegmentVm) -> P) -> ExitCode {
    match SegmentVm::new() {
        Ok(vm) => proofyard_prover::serve(prover(vm)),
        Err(error) => done(Err(error)),
    }
}

fn states_options(mut options: &[&str]) -> Result<(Word, Cut), String> {
    let (mut genesis, mut cut) = (Word::empty(), Cut::AsGiven);
    loop {
        options = match options {
            [] => return Ok((genesis, cut)),
            ["--genesis", state, rest @ ..] => {
                genesis = word_from_hex(state).map_err(|e| format!("--genesis: {e}"))?;
                rest
            }
            ["--segment-transactions", size, rest @ ..] => {
                let size =
                    size.parse().ok().filter(|size| (1..=MAX_SEGMENT_TRANSACTIONS as u32).contains(size));
                let why = || format!("--segment-transactions needs 1 to {MAX_SEGMENT_TRANSACTIONS}");
                cut = Cut::Every(size.ok_or_else(why)?);
                rest
            }
            [option, ..] => return Err(format!("{option:?} is not an option, or has no value")),
        };
    }
}

fn done(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proofyard-miden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("proofyard-miden: {why}\n{USAGE}");
    ExitCode::from(2)
}
