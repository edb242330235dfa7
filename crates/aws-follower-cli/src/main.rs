//! `proofyard-aws-follower`: the half of the command that follows nodes into a yard on AWS. `proofyard-aws` runs it for
//! `serve --roles follower`, with the arguments that it was given.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand, ValueEnum};
use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::clients::log_lines::log_in_json;
use proofyard_cli::failure::Failure;
use proofyard_core::error::Code;
use proofyard_follower::serve;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

#[derive(Subcommand)]
enum Verb {
    Serve(Serve),
}

/// Follows the nodes of a yard's chains, notified of new blocks by WebSocket, until it is asked to stop. Its log is JSON.
#[derive(Args)]
struct Serve {
    /// The yard on AWS, by its name.
    #[arg(long, value_name = "NAME")]
    aws: String,
    /// What to do of it all.
    #[arg(long, value_delimiter = ',', default_value = "follower")]
    roles: Vec<RoleName>,
    /// Of the other roles; one thread for each chain follows its nodes.
    #[arg(long, value_name = "N", hide = true)]
    pollers: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Follower,
}

fn main() -> ExitCode {
    proofyard_cli::main(|verb: Verb, _| match verb {
        Verb::Serve(arguments) => arguments.run(),
    })
}

impl Serve {
    fn run(&self) -> Result<(), Failure> {
        log_in_json(std::io::stderr);
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&stop)).map_err(|error| {
                Failure::work_as(Code::ProcessFault, "signals cannot be listened to").caused_by(&error)
            })?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::work_as(Code::ProcessFault, "no threads can be started").caused_by(&error)
        })?;
        let home = block_on(runtime.handle(), AwsHome::connect(&self.aws)).map_err(Failure::usage)?;
        serve(&home.on_a_host_of_its_own(), runtime.handle(), &stop);
        Ok(())
    }
}
