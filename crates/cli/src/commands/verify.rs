//! `proofyard verify [FROM..TO]`: committed proofs are checked again, from the artifacts alone.

use std::time::{Duration, Instant};

use clap::Args;
use proofyard_core::Yard;
use proofyard_core::committed::{Committed, CommittedProof};
use proofyard_core::error::Code;
use proofyard_core::explain::count;
use proofyard_core::state::ChainName;
use proofyard_worker::{Refuted, Verdict, Verifier};
use serde::Serialize;

use super::{guard, no_temporary_folder, temporary_folder};
use crate::failure::Failure;
use crate::heights::Heights;
use crate::output;
use crate::text::{bytes, duration};
use crate::yard::{YardAccess, YardArguments};

/// Log lines shown of a verifier that refused.
const LOG_SHOWN: usize = 5;

/// Checks committed proofs again: each artifact's hash, then the proof by its verifier, then its public values. A
/// yard that runs is not disturbed.
#[derive(Args)]
pub struct Verify {
    /// A height, or a range with both ends in it; either end may be left out. All that is committed by default.
    #[arg(value_name = "FROM..TO")]
    heights: Option<Heights>,
    #[command(flatten)]
    pub yard: YardArguments,
}

#[derive(Default, Serialize)]
struct Tally {
    proofs: u64,
    verified: u64,
    /// The pipeline names no verifier for them.
    only_whole: u64,
    failed: u64,
}

/// One proof, as it is printed.
#[derive(Serialize)]
struct VerifyJson {
    from: u64,
    to: u64,
    task: String,
    artifact: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
    took_ms: f64,
}

impl Verify {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let yard = access.look()?;
        let chain = self.yard.one_chain(access, &yard)?;
        let heights = self.heights.as_ref().map_or(0..=u64::MAX, |heights| heights.0.clone());
        let committed = access.block_on(yard.committed(&chain, &heights))?;
        if committed.is_empty() && self.heights.is_some() {
            let frontier = access.block_on(yard.frontier(&chain))?.height;
            let message = format!("nothing is committed there; the next height to commit is {frontier}");
            return Err(Failure::usage_as(Code::NothingThere, message));
        }
        let scratch = temporary_folder("proofyard-verify-")?;
        let (kept, made) = (scratch.path().join("kept"), scratch.path().join("made"));
        for folder in [&kept, &made] {
            std::fs::create_dir(folder).map_err(|error| no_temporary_folder(&error))?;
        }
        let artifacts = access.artifacts(&kept)?;
        let mut verifier =
            Verifier::new(artifacts, guard()?, made).map_err(|error| no_temporary_folder(&error))?;
        let mut tally = Tally::default();
        for entry in &committed {
            check_entry(access, &yard, &chain, entry, &mut verifier, &mut tally, json)?;
        }
        if json {
            output::json(&tally)?;
        } else {
            output::line(tally.summary());
        }
        match tally.failed {
            0 => Ok(()),
            failed => {
                let message = format!("{} did not stand", count(failed, "committed proof"));
                Err(Failure::work_as(Code::ProofsRefuted, message))
            }
        }
    }
}

fn check_entry<Y: YardAccess>(
    access: &Y,
    yard: &Yard,
    chain: &ChainName,
    entry: &Committed,
    verifier: &mut Verifier<Y::Artifacts>,
    tally: &mut Tally,
    json: bool,
) -> Result<(), Failure> {
    for committed in access.block_on(yard.committed_proofs(chain, entry))? {
        let started = Instant::now();
        let verdict = verifier.check(&committed);
        let took = started.elapsed();
        tally.count(&verdict);
        if json {
            output::json(&VerifyJson::new(entry, &committed, &verdict, took))?;
        } else {
            output::line(line(entry, &committed, &verdict, took));
        }
    }
    Ok(())
}

fn line(
    entry: &Committed,
    committed: &CommittedProof,
    verdict: &Result<Verdict, Refuted>,
    took: Duration,
) -> String {
    let at = match entry.from == entry.to {
        true => format!("height {}", entry.from),
        false => format!("heights {} to {}", entry.from, entry.to),
    };
    let artifact = &committed.proof.artifact;
    let what = format!(
        "{} {}, artifact {}",
        committed.stage().name,
        bytes(artifact.bytes),
        artifact.sha256.get(..16).unwrap_or(&artifact.sha256)
    );
    match verdict {
        Ok(Verdict::Verified) => format!("{at}: verified ({what}, {})", duration(took)),
        Ok(Verdict::OnlyWhole) => format!("{at}: whole, but its pipeline names no verifier ({what})"),
        Err(refuted) => {
            let mut lines = vec![format!("{at}: FAILED ({what}): {refuted}")];
            let skipped = refuted.log.len().saturating_sub(LOG_SHOWN);
            lines.extend(refuted.log.iter().skip(skipped).map(|line| format!("    {line}")));
            lines.join("\n")
        }
    }
}

impl VerifyJson {
    fn new(
        entry: &Committed,
        committed: &CommittedProof,
        verdict: &Result<Verdict, Refuted>,
        took: Duration,
    ) -> Self {
        Self {
            from: entry.from,
            to: entry.to,
            task: committed.task.id().to_string(),
            artifact: committed.proof.artifact.sha256.clone(),
            verdict: match verdict {
                Ok(Verdict::Verified) => "verified",
                Ok(Verdict::OnlyWhole) => "only_whole",
                Err(_) => "failed",
            },
            error: verdict.as_ref().err().map(Refuted::to_string),
            log: verdict.as_ref().err().map(|refuted| refuted.log.clone()).unwrap_or_default(),
            took_ms: took.as_secs_f64() * 1_000.0,
        }
    }
}

impl Tally {
    fn count(&mut self, verdict: &Result<Verdict, Refuted>) {
        self.proofs += 1;
        match verdict {
            Ok(Verdict::Verified) => self.verified += 1,
            Ok(Verdict::OnlyWhole) => self.only_whole += 1,
            Err(_) => self.failed += 1,
        }
    }

    fn summary(&self) -> String {
        let Self { proofs, verified, only_whole, .. } = self;
        match only_whole {
            _ if *proofs == 0 => "nothing is committed yet".to_owned(),
            0 => format!("{verified} of {proofs} committed proofs verified"),
            _ => format!(
                "{verified} of {proofs} committed proofs verified; {only_whole} have no verifier and are whole"
            ),
        }
    }
}
