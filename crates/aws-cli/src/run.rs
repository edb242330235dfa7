//! `proofyard run --aws NAME`: the pipeline is put in force, the blocks are posted, and the run is followed. Others do the
//! work.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::intake::IntakeError;
use proofyard_blocks::{Reader, Rules, TakingError, check_goes_on};
use proofyard_cli::commands::run::{Begun, FileEnd, Run};
use proofyard_cli::failure::Failure;
use proofyard_cli::yard::YardAccess;
use proofyard_core::committed::Passed;
use proofyard_core::error::{Code, Error};
use proofyard_core::explain::count;
use proofyard_core::state::ChainName;
use proofyard_core::status::Finished;
use proofyard_intake::CheckedFile;

use crate::yard::OnAws;

/// How often it is looked at. Each look costs some reads.
const LOOK: Duration = Duration::from_millis(500);

/// Follows until all of the file is committed, nothing moves, or a signal comes.
pub fn run(run: &Run, json: bool) -> Result<(), Failure> {
    let Begun { text, checked, rules, input, progress, signals } = run.begin(json)?;
    let yard = OnAws::named(run.aws.as_deref())?;
    let (home, aws) = (&yard.home, &yard.name);
    let own_workers = run.own_workers.iter().cloned().collect();
    yard.block_on(home.check_deployed(&checked.pipeline, &own_workers)).map_err(Failure::usage)?;
    if let Some(blocks) = &run.blocks {
        let chain = &checked.pipeline.chain;
        let goes_on =
            check_goes_on(&home.yard.port, &chain.name, chain.start_height, reader(blocks, &rules)?);
        yard.block_on(goes_on).map_err(Failure::usage)?;
    }
    let started = Instant::now();
    yard.block_on(home.raise_format())?;
    let give_up = run.give_up_sink.iter().cloned().collect();
    let pipeline = yard.block_on(home.yard.change_pipeline(&text, &give_up))?;
    yard.block_on(home.deliver());
    let chain = &pipeline.chain.name;
    progress.say(&format!("chain {chain} has this pipeline now, in yard {aws} on AWS"));
    let Some(blocks) = &run.blocks else { return Ok(()) };
    let name = blocks.display().to_string();
    let lines = reader(blocks, &rules)?;
    let ends = run.end == FileEnd::Close;
    let checked_lines = input.as_ref().map_or(0, |input| input.lines);
    let file = CheckedFile { name: &name, rules: &rules, lines: checked_lines, ends };
    let posted = yard.block_on(home.post_lines(chain, &file, lines)).map_err(not_posted)?;
    progress.say(&format!("{} posted", count(posted, "line")));
    let wanted = input.filter(|_| !ends).map(|input| input.tip_height);
    loop {
        if let Some(signal) = signals.stop() {
            progress.end();
            let message = format!("{signal}: not followed any more; the yard goes on");
            return Err(Failure::stopped(message, signal.exit_code()));
        }
        if progress.is_due() {
            progress.show(&yard.block_on(home.yard.status(chain, false))?);
        }
        match yard.block_on(finished(home, chain, wanted))? {
            Finished::No => thread::sleep(LOOK),
            Finished::Yes => break,
            Finished::Stuck { reason, .. } => {
                progress.end();
                let message = format!(
                    "{reason}; `proofyard status --aws {aws}` shows what, `proofyard retry --aws {aws}` tries it again"
                );
                return Err(Failure::work_as(Code::Stuck, message));
            }
        }
    }
    progress.end();
    let Passed { committed, missed } = yard.block_on(home.yard.heights_passed(chain))?;
    progress.say(&format!(
        "{} committed, {missed} missed; followed for {:.1} s",
        count(committed, "block"),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn reader(blocks: &Path, rules: &Rules) -> Result<Reader<BufReader<File>>, Failure> {
    let name = blocks.display().to_string();
    let file = File::open(blocks).map_err(|error| {
        Failure::usage_as(Code::BlocksUnreadable, format!("{name} cannot be read")).caused_by(&error)
    })?;
    Ok(Reader::new(name, BufReader::new(file), rules.clone()))
}

fn not_posted(error: IntakeError) -> Failure {
    match error {
        IntakeError::Yard(error) | IntakeError::Taking(TakingError::Yard(error)) => error.into(),
        IntakeError::Taking(error) => Failure::usage(error),
        IntakeError::Payload(_) | IntakeError::Queue(_) => Failure::work(error),
    }
}

/// Whether all is committed; where more blocks may follow, all that can be once the chain is as high as what was posted.
async fn finished(home: &AwsHome, chain: &ChainName, wanted: Option<u64>) -> Result<Finished, Error> {
    let Some(wanted) = wanted else { return home.yard.is_finished(chain).await };
    match home.yard.tip(chain).await?.height() {
        Some(height) if height >= wanted => home.yard.is_finished_so_far(chain).await,
        _ => Ok(Finished::No),
    }
}
