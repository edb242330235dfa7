//! What is on AWS is the work of another program, `proofyard-aws`, which this one runs as git runs its own: AWS's clients
//! take longer to build than all the rest of the command, and who proves on one machine needs none of them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::failure::Failure;
use proofyard_core::error::Code;

const PROGRAM: &str = "proofyard-aws";

/// A verb that only a yard on AWS has; that program reads its arguments, `--help` included.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct OnlyOnAws {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// Becomes that program, with this one's arguments; returns only if there is none.
pub fn become_that() -> Failure {
    let beside = beside().filter(|program| program.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    match error.kind() {
        ErrorKind::NotFound => Failure::usage_as(
            Code::NoAwsProgram,
            format!(
                "this build has no AWS: {PROGRAM} is neither beside this program nor in PATH; build it with `cargo build \
                 --release -p proofyard-aws-cli`"
            ),
        ),
        _ => Failure::usage_as(Code::NoAwsProgram, format!("{} cannot be run", program.display()))
            .caused_by(&error),
    }
}

fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name(PROGRAM))
}
