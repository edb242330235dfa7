//! `proofyard prover ...`: for those who write provers.

use clap::{Args, Subcommand};

use super::prover_check::ProverCheck;
use crate::failure::Failure;

/// For those who write provers.
#[derive(Args)]
pub struct Prover {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(ProverCheck),
}

impl Prover {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        match &self.verb {
            Verb::Check(check) => check.run(json),
        }
    }
}
