//! Verbs with heavy dependencies live in programs of their own, which this one replaces itself with (exec), as git does:
//! `proofyard-aws` for yards on AWS, `proofyard-node` for pipelines that follow a node; `proofyard-aws` itself becomes
//! `proofyard-aws-follower`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use proofyard_core::error::Code;

use crate::failure::Failure;

/// Another program of the command, with the verbs of this one that are its work.
#[derive(Clone, Copy)]
pub enum Sibling {
    Aws,
    /// Follows nodes into a yard on AWS.
    AwsFollower,
    Node,
}

/// A verb that only a yard on AWS has; that program reads its arguments, `--help` included.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct OnlyOnAws {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

impl Sibling {
    const fn program(self) -> &'static str {
        match self {
            Self::Aws => "proofyard-aws",
            Self::AwsFollower => "proofyard-aws-follower",
            Self::Node => "proofyard-node",
        }
    }

    /// Becomes that program, with this one's arguments; returns only if there is none.
    pub fn take_over(self) -> Failure {
        let name = self.program();
        let beside = std::env::current_exe().ok().map(|this| this.with_file_name(name));
        let program = beside.filter(|program| program.is_file()).unwrap_or_else(|| PathBuf::from(name));
        let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
        let (code, lacks) = match self {
            Self::Aws => (Code::NoAwsProgram, "has no AWS"),
            Self::AwsFollower | Self::Node => (Code::NoNodeProgram, "follows no node"),
        };
        match error.kind() {
            ErrorKind::NotFound => Failure::usage_as(
                code,
                format!(
                    "this build {lacks}: {name} is neither beside this program nor in PATH; build it with `cargo build \
                     --release -p {name}-cli`"
                ),
            ),
            _ => Failure::usage_as(code, format!("{} cannot be run", program.display())).caused_by(&error),
        }
    }
}
