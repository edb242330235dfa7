//! `proofyard-states`: completes a blocks file, from stdin to stdout, with each block's states and segments.

use std::io;
use std::process::ExitCode;

use proofyard_statement::Digest;
use proofyard_statement::complete::{Cut, complete};
use proofyard_statement::digest::bytes_from_hex;

const USAGE: &str = "\
usage: proofyard-states [--genesis 0x...] [--segment-transactions N]
       completes a blocks file, from stdin to stdout, with the states before and after each block
       --genesis               the state before the first block; zeros if it is left out
       --segment-transactions  cut each block into segments of at most N transactions, an even number;
                               left out, each line keeps the segments that it has";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["help" | "--help" | "-h"] = arguments.as_slice() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let (genesis, cut) = match options(&arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("proofyard-states: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match complete(io::stdin().lock(), io::stdout().lock(), cut, genesis) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proofyard-states: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut options: &[&str]) -> Result<(Digest, Cut), String> {
    let (mut genesis, mut cut) = ([0; 32], Cut::AsGiven);
    loop {
        options = match options {
            [] => return Ok((genesis, cut)),
            ["--genesis", state, rest @ ..] => {
                genesis = bytes_from_hex(state).map_err(|e| format!("--genesis: {e}"))?;
                rest
            }
            ["--segment-transactions", size, rest @ ..] => {
                let size = size.parse().ok().filter(|size: &u32| *size > 0 && size.is_multiple_of(2));
                cut = Cut::Every(size.ok_or("--segment-transactions needs an even number")?);
                rest
            }
            [option, ..] => return Err(format!("{option:?} is not an option, or has no value")),
        };
    }
}
