//! The program: `block`, `aggregate` and `range` speak the prover protocol, `setup` makes keys, `solidity` contracts.

use std::path::PathBuf;
use std::process::ExitCode;

use proofyard_groth16::keys::{
    DEVELOPMENT_WARNING, Made, Randomness, default_folder, make_aggregate, make_leaf, make_range,
};
use proofyard_groth16::provers::{AggregateProver, BlockProver, RangeProver, Settings};
use proofyard_groth16::solidity::{DEFAULT_NAME, contract};
use proofyard_groth16::system::{AggregateSystem, LeafSystem, RangeSystem, System};
use proofyard_statement::Error;

const USAGE: &str = "\
usage: proofyard-groth16 setup [--keys DIR] [--leaf-only | --range] [--development]
           make keys, a leaf's and an aggregate's for it, from the operating system's randomness; prints a line of
           JSON for each. Whoever ran it, or could read this process's memory, can forge proofs.
           --leaf-only    no aggregate's key
           --range        a range's key, and no other
           --development  from a published seed instead, so that everyone has the same keys. ANYONE CAN FORGE PROOFS
                          under these: they are for tests and demonstrations
       proofyard-groth16 block [--keys DIR] [--key KEY]
           prove and verify blocks; the prover protocol on stdin and stdout
       proofyard-groth16 aggregate [--keys DIR] [--key KEY]
           prove and verify that two block proofs hold and follow each other; the prover protocol
       proofyard-groth16 range [--keys DIR] [--key KEY]
           prove and verify blocks in a row, one or two, for a contract; the prover protocol
       proofyard-groth16 solidity [--keys DIR] [--key KEY] [--name NAME]
           print the contract that verifies a range key's proofs
       DIR  the folder of key files; $PROOFYARD_KEYS, or ~/.cache/proofyard/keys, if it is left out
       KEY  sha256:HEX, as setup prints it, or `development`. A setup request's arguments \"keys\" and \"key\" override
            these options
       NAME the contract's; RangeVerifier if it is left out";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["setup", options @ ..] => match setup_options(options) {
            Ok(options) => done(setup(&options)),
            Err(why) => usage(&why),
        },
        ["block", options @ ..] => match settings(options) {
            Ok(settings) => proofyard_prover::serve(BlockProver::new(settings)),
            Err(why) => usage(&why),
        },
        ["aggregate", options @ ..] => match settings(options) {
            Ok(settings) => proofyard_prover::serve(AggregateProver::new(settings)),
            Err(why) => usage(&why),
        },
        ["range", options @ ..] => match settings(options) {
            Ok(settings) => proofyard_prover::serve(RangeProver::new(settings)),
            Err(why) => usage(&why),
        },
        ["solidity", options @ ..] => match named_settings(options) {
            Ok((name, settings)) => done(solidity(name, &settings)),
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

#[derive(Default)]
struct SetupOptions {
    folder: Option<PathBuf>,
    leaf_only: bool,
    range: bool,
    development: bool,
}

fn setup_options(mut options: &[&str]) -> Result<SetupOptions, String> {
    let mut read = SetupOptions::default();
    loop {
        options = match options {
            [] if read.leaf_only && read.range => {
                return Err("--leaf-only and --range are of different keys".into());
            }
            [] => return Ok(read),
            ["--keys", folder, rest @ ..] => {
                read.folder = Some(folder.into());
                rest
            }
            ["--leaf-only", rest @ ..] => {
                read.leaf_only = true;
                rest
            }
            ["--range", rest @ ..] => {
                read.range = true;
                rest
            }
            ["--development", rest @ ..] => {
                read.development = true;
                rest
            }
            [option, ..] => return Err(format!("{option:?} is not an option, or has no value")),
        };
    }
}

fn settings(mut options: &[&str]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    loop {
        options = match options {
            [] => return Ok(settings),
            ["--keys", folder, rest @ ..] => {
                settings.folder = Some(folder.into());
                rest
            }
            ["--key", key, rest @ ..] => {
                settings.key = Some(key.to_string());
                rest
            }
            [option, ..] => return Err(format!("{option:?} is not an option, or has no value")),
        };
    }
}

/// The options of `solidity`: a name besides those of a prover.
fn named_settings<'a>(options: &[&'a str]) -> Result<(&'a str, Settings), String> {
    match options.iter().position(|option| *option == "--name") {
        None => Ok((DEFAULT_NAME, settings(options)?)),
        Some(at) => match options.get(at + 1) {
            None => Err("\"--name\" is not an option, or has no value".into()),
            Some(name) => Ok((name, settings(&[&options[..at], &options[at + 2..]].concat())?)),
        },
    }
}

fn solidity(name: &str, settings: &Settings) -> Result<(), Error> {
    print!("{}", contract(name, &settings.load_range()?)?);
    Ok(())
}

fn setup(options: &SetupOptions) -> Result<(), Error> {
    let folder = match &options.folder {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    let randomness = if options.development {
        eprintln!("proofyard-groth16: {DEVELOPMENT_WARNING}");
        Randomness::Published
    } else {
        eprintln!(
            "proofyard-groth16: whoever could read this process's memory can forge proofs under these keys"
        );
        Randomness::OperatingSystem
    };
    if options.range {
        return print(&make_range(&folder, randomness)?, RangeSystem::DEVELOPMENT_KEY);
    }
    let leaf = make_leaf(&folder, randomness)?;
    print(&leaf, LeafSystem::DEVELOPMENT_KEY)?;
    if !options.leaf_only {
        print(&make_aggregate(&folder, &leaf.key, randomness)?, AggregateSystem::DEVELOPMENT_KEY)?;
    }
    Ok(())
}

fn print(made: &Made, published: &str) -> Result<(), Error> {
    println!("{}", serde_json::to_string(made).map_err(|e| Error::Key(e.to_string()))?);
    if made.randomness == Randomness::Published && made.key != format!("sha256:{published}") {
        eprintln!("proofyard-groth16: this is not the published development key, sha256:{published}");
    }
    Ok(())
}

fn done(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proofyard-groth16: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("proofyard-groth16: {why}\n{USAGE}");
    ExitCode::from(2)
}
