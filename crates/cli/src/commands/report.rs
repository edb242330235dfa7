//! `proofyard report [FROM..TO]`: the real-time proving definition over what was proved.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use proofyard_core::error::Code;
use proofyard_core::report::{MAX_REPORT_BLOCKS, ReportRequest};
use proofyard_report::{html, text};

use crate::failure::Failure;
use crate::heights::Heights;
use crate::output;
use crate::text::bytes;
use crate::yard::{YardAccess, YardArguments};

/// Read by default: on AWS a few reads for each of them are waited for.
const NEWEST: u64 = 1_000;

/// How soon blocks were proved, how large and secure the proofs are, what each prover did, what was missed and why;
/// held against the goals of real-time proving.
///
/// The latency of a block is from its acknowledgement to its commit-stage proof being accepted.
#[derive(Args)]
pub struct Report {
    /// A height, or a range with both ends in it; either end may be left out. All that is committed or missed by
    /// default.
    #[arg(value_name = "FROM..TO")]
    heights: Option<Heights>,
    #[command(flatten)]
    pub yard: YardArguments,
    /// Until when a block is in time, since its acknowledgement. By default what the pipeline gives late blocks, or
    /// 10,000, the Ethereum Foundation's goal.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    deadline_ms: Option<u64>,
    /// At most so many heights, the newest of the range.
    #[arg(
        long,
        value_name = "N",
        default_value_t = NEWEST,
        value_parser = clap::value_parser!(u64).range(1..=MAX_REPORT_BLOCKS as u64)
    )]
    newest: u64,
    /// Also written there, as one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Report {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let yard = access.look()?;
        let chain = self.yard.one_chain(access, &yard)?;
        let heights = self.heights.as_ref().map_or(0..=u64::MAX, |heights| heights.0.clone());
        let request = ReportRequest {
            from: *heights.start(),
            to: *heights.end(),
            newest: usize::try_from(self.newest).unwrap_or(MAX_REPORT_BLOCKS),
            deadline_ms: self.deadline_ms,
        };
        let report = access.block_on(yard.report(&chain, &request))?;
        if report.from.is_none() && self.heights.is_some() {
            let frontier = access.block_on(yard.frontier(&chain))?.height;
            let message =
                format!("nothing is committed or missed there; the next height to commit is {frontier}");
            return Err(Failure::usage_as(Code::NothingThere, message));
        }
        let page = self.html.as_ref().map(|path| (path, html::html(&report)));
        if let Some((path, page)) = &page {
            replace(path, page)?;
        }
        if json {
            return output::json(&report);
        }
        output::line(text::text(&report));
        if let Some((path, page)) = page {
            output::line(format!("\nwritten to {} ({})", path.display(), bytes(page.len() as u64)));
        }
        Ok(())
    }
}

/// Whoever has the page open never sees half of it.
pub fn replace(path: &Path, page: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        let message = format!("{} cannot be written", path.display());
        Failure::usage_as(Code::FileUnwritable, message).caused_by(&error)
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".proofyard-report-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(cannot)?;
    file.write_all(page.as_bytes()).map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}
