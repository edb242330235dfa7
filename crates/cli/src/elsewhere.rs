//! A run on AWS: the pipeline is put in force, the blocks are posted, and the run is followed. Others do the work.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_blocks::Reader;
use proofyard_core::explain::count;
use proofyard_core::status::Finished;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::yard::{block_on, on_aws};

/// How often it is looked at. Each look costs some reads.
const LOOK: Duration = Duration::from_millis(500);

/// Follows until all of the file is committed, nothing moves, or a signal comes.
pub fn run_on_aws(
    yard: &str,
    text: &str,
    blocks: Option<&Path>,
    progress: &Progress,
    signals: &Signals,
) -> Result<(), Failure> {
    let home = on_aws(yard)?;
    let started = Instant::now();
    let pipeline = block_on(home.yard.record_pipeline(text))?;
    block_on(home.deliver());
    let chain = &pipeline.chain.name;
    progress.say(&format!("chain {chain} has this pipeline now, in yard {yard} on AWS"));
    let Some(blocks) = blocks else { return Ok(()) };
    let file =
        File::open(blocks).map_err(|error| Failure::usage(format!("{}: {error}", blocks.display())))?;
    let lines = Reader::new(blocks.display().to_string(), BufReader::new(file));
    let lines = lines.map(|line| line.map_err(|error| error.to_string()));
    let posted = block_on(home.post_lines(chain, lines))?;
    progress.say(&format!("{} posted", count(posted, "line")));
    loop {
        if let Some(signal) = signals.stop() {
            progress.end();
            let message = format!("{signal}: not followed any more; the yard goes on");
            return Err(Failure::Stopped { message, exit_code: signal.exit_code() });
        }
        if progress.is_due() {
            progress.show(&block_on(home.yard.status(chain, false))?);
        }
        match block_on(home.yard.is_finished(chain))? {
            Finished::No => thread::sleep(LOOK),
            Finished::Yes => break,
            Finished::Stuck { reason, .. } => {
                progress.end();
                return Err(Failure::Work(format!(
                    "{reason}; `proofyard status --aws {yard}` shows what, `proofyard retry --aws {yard}` tries it again"
                )));
            }
        }
    }
    progress.end();
    let committed = block_on(home.yard.committed(chain, &(0..=u64::MAX)))?;
    let blocks: u64 = committed.iter().map(|entry| entry.to - entry.from + 1).sum();
    progress.say(&format!(
        "{} committed; followed for {:.1} s",
        count(blocks, "block"),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
