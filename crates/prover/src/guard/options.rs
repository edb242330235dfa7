//! The guard's command line.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crate::confinement::Confinement;

/// The guard's options, and the prover's command.
#[derive(Default)]
pub(super) struct Options {
    /// How long the prover may take to end after its stdin has ended.
    pub grace: Duration,
    /// The largest file that the prover may write, anywhere.
    pub file_bytes: Option<u64>,
    /// The prover gets an empty stdin; the guard's own only shows whether the yard is there.
    pub no_stdin: bool,
    pub confinement: Confinement,
    /// Set only in the step between fork and exec ([`super::starting`]): the guard's process id, which must be the parent.
    pub become_child_of: Option<i32>,
    pub command: Vec<OsString>,
}

impl Options {
    pub fn parse(arguments: Vec<OsString>) -> io::Result<Options> {
        let mut options = Options::default();
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("--grace-ms") => options.grace = Duration::from_millis(number(rest.next())?),
                Some("--file-bytes") => options.file_bytes = Some(number(rest.next())?),
                Some("--no-stdin") => options.no_stdin = true,
                Some("--become-child-of") => options.become_child_of = Some(number(rest.next())?),
                Some("--") => break,
                Some(option) if options.confinement.take(option, &mut rest)? => {}
                _ => return Err(usage()),
            }
        }
        options.command = rest.collect();
        if options.command.is_empty() { Err(usage()) } else { Ok(options) }
    }
}

fn number<T: std::str::FromStr>(text: Option<OsString>) -> io::Result<T> {
    text.and_then(|text| text.to_str()?.parse().ok()).ok_or_else(usage)
}

pub(super) fn usage() -> io::Error {
    io::Error::other(
        "usage: [--grace-ms N] [--file-bytes N] [--no-stdin] [--user UID:GID] [--landlock | --namespaces] [--writable FOLDER]... \
         -- COMMAND...",
    )
}
