//! `proofyard serve --aws NAME --roles ...`: the functions' work without Lambda.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use proofyard_aws::serve::{Role, serve};
use proofyard_batch_worker::log_in_json;
use proofyard_cli::failure::Failure;
use proofyard_cli::siblings::Sibling;
use proofyard_core::error::Code;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::yard::OnAws;

/// Polls a yard's queues itself, for those who do not want Lambda, until it is asked to stop. Its log is JSON.
#[derive(Args)]
pub struct Serve {
    /// The yard on AWS, by its name.
    #[arg(long, value_name = "NAME")]
    aws: String,
    /// What to do of it all. `follower` follows the chains' nodes, in a process of its own: name it alone.
    #[arg(long, value_delimiter = ',', default_value = "dispatcher,collector,sweeper")]
    roles: Vec<RoleName>,
    /// Groups that go side by side, for each queue.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pollers: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Dispatcher,
    Collector,
    Sweeper,
    Follower,
}

impl Serve {
    pub fn run(&self) -> Result<(), Failure> {
        let roles: Vec<Role> = self.roles.iter().filter_map(|role| role.here()).collect();
        match (roles.is_empty(), roles.len() == self.roles.len()) {
            (true, _) => return Err(Sibling::AwsFollower.take_over()),
            (false, false) => {
                let message = "`follower` is the work of another program: serve it in a process of its own, with --roles \
                               follower, and the others in another";
                return Err(Failure::usage_as(Code::BadArguments, message));
            }
            (false, true) => {}
        }
        log_in_json();
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&stop)).map_err(|error| {
                Failure::work_as(Code::ProcessFault, "signals cannot be listened to").caused_by(&error)
            })?;
        }
        let mut roles = roles;
        roles.sort_unstable();
        roles.dedup();
        let yard = OnAws::named(Some(&self.aws))?;
        serve(&yard.home, yard.runtime.handle(), &roles, self.pollers.into(), &stop);
        Ok(())
    }
}

impl RoleName {
    /// What this program does; `None` for what another one does.
    fn here(self) -> Option<Role> {
        match self {
            Self::Dispatcher => Some(Role::Dispatcher),
            Self::Collector => Some(Role::Collector),
            Self::Sweeper => Some(Role::Sweeper),
            Self::Follower => None,
        }
    }
}
