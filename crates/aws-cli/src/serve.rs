//! `proofyard serve --aws NAME --roles ...`: the functions' work without Lambda.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use proofyard_aws::serve::{Role, serve};
use proofyard_batch_worker::log_in_json;
use proofyard_cli::failure::Failure;
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
    /// What to do of it all.
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
}

impl Serve {
    pub fn run(&self) -> Result<(), Failure> {
        log_in_json();
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&stop)).map_err(|error| {
                Failure::work_as(Code::ProcessFault, "signals cannot be listened to").caused_by(&error)
            })?;
        }
        let mut roles: Vec<Role> = self.roles.iter().map(|role| Role::from(*role)).collect();
        roles.sort_unstable();
        roles.dedup();
        let yard = OnAws::named(Some(&self.aws))?;
        serve(&yard.home, yard.runtime.handle(), &roles, self.pollers.into(), &stop);
        Ok(())
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Dispatcher => Self::Dispatcher,
            RoleName::Collector => Self::Collector,
            RoleName::Sweeper => Self::Sweeper,
        }
    }
}
