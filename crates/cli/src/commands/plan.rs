//! `proofyard plan`: what a yard on AWS will do, before one is rented.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use proofyard_core::pipeline::Pipeline;
use proofyard_plan::{Advance, Latencies, Load, PlanError, Prediction, Provers, predict};
use serde_json::json;

use super::{read_pipeline, unreadable};
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;
use crate::table::{Side, Table};

/// Reads per second that DynamoDB serves from one partition, as AWS publishes it.
const PARTITION_READS_A_SECOND: f64 = 3_000.0;

/// Predicts what a yard on AWS does under a load: how soon blocks are committed, what machines it needs, what it costs.
///
/// The real handlers run in virtual time: nothing is rented, and no prover is started. docs/plan.md says how to read the
/// figures, and what is not in them.
#[derive(Args)]
pub struct Plan {
    pipeline: PathBuf,
    /// How long each proof takes, in seconds.
    #[arg(long, value_name = "S", required_unless_present = "provers", conflicts_with = "provers")]
    prove_s: Option<f64>,
    /// How long proofs take, by stage or prover: a TOML or JSON file, or what `proofyard report --json` answered.
    #[arg(long, value_name = "FILE")]
    provers: Option<PathBuf>,
    /// File that overrides the built-in latencies and prices; what it leaves out keeps its default.
    #[arg(long, value_name = "FILE")]
    latencies: Option<PathBuf>,
    /// Block interval in seconds.
    #[arg(long, value_name = "S", default_value_t = 12.0)]
    block_s: f64,
    /// Segments per block, where the pipeline splits blocks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    segments: u32,
    /// How many blocks come.
    #[arg(long, value_name = "N", default_value_t = 100)]
    blocks: u64,
    /// GPUs of the fleet; several numbers are planned one after another. Where no pool says how many a slot has, it is one.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,100,1000,10000")]
    gpus: Vec<u32>,
    /// Which process advances a block after a result.
    #[arg(long, value_enum, default_value_t = Who::Both)]
    advance: Who,
    /// The same seed gives the same figures.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Workers, as with `advance = "worker"`.
    Worker,
    /// The collector.
    Collector,
    /// First the one, then the other.
    Both,
}

impl Plan {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let (text, checked) = read_pipeline(&self.pipeline)?;
        let (provers, latencies) = (self.provers()?, self.latencies()?);
        let signals = Signals::listen()?;
        let mut planned = Vec::new();
        for gpus in &self.gpus {
            for advance in self.advances() {
                if let Some(signal) = signals.stop() {
                    self.print(&planned, &latencies, json)?;
                    return Err(Failure::stopped(format!("stopped by {signal}"), signal.exit_code()));
                }
                let prediction =
                    self.predict(&text, &checked.pipeline, *gpus, advance, &provers, &latencies)?;
                planned.push(prediction);
            }
        }
        self.print(&planned, &latencies, json)
    }

    fn predict(
        &self,
        text: &str,
        pipeline: &Pipeline,
        gpus: u32,
        advance: Advance,
        provers: &Provers,
        latencies: &Latencies,
    ) -> Result<Prediction, Failure> {
        let load = Load {
            block_s: self.block_s,
            segments: self.segments,
            blocks: self.blocks,
            gpus,
            advance,
            seed: self.seed,
            counts_workers: true,
        };
        predict(text, pipeline, &load, provers, latencies).map_err(failure)
    }

    fn advances(&self) -> Vec<Advance> {
        match self.advance {
            Who::Worker => vec![Advance::Worker],
            Who::Collector => vec![Advance::Collector],
            Who::Both => vec![Advance::Worker, Advance::Collector],
        }
    }

    fn provers(&self) -> Result<Provers, Failure> {
        match (&self.provers, self.prove_s) {
            (Some(file), _) => Provers::read(&read(file)?).map_err(failure),
            (None, Some(prove_s)) => Provers::all(prove_s).map_err(failure),
            (None, None) => Ok(Provers::default()),
        }
    }

    fn latencies(&self) -> Result<Latencies, Failure> {
        match &self.latencies {
            Some(file) => Latencies::read(&read(file)?).map_err(failure),
            None => Ok(Latencies::default()),
        }
    }

    fn print(&self, planned: &[Prediction], latencies: &Latencies, json: bool) -> Result<(), Failure> {
        if json {
            return output::json(&json!({ "predictions": planned, "latencies": latencies }));
        }
        if planned.is_empty() {
            return Ok(());
        }
        output::line(format!(
            "{} blocks, one each {} s, {} segments each; us-east-1 in virtual time, seed {}\n\n{}\n\n{}",
            self.blocks,
            self.block_s,
            self.segments,
            self.seed,
            times(planned),
            costs(planned)
        ));
        planned.iter().for_each(|prediction| remarks(prediction).iter().for_each(output::line));
        output::line(format!("\n{}", assumptions(latencies, self.latencies.as_deref())));
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| unreadable(file.display(), &error))
}

fn failure(error: PlanError) -> Failure {
    match error {
        PlanError::Yard(_) | PlanError::Failed(_) => Failure::work(error),
        error => Failure::usage(error),
    }
}

fn fleet(prediction: &Prediction) -> [String; 2] {
    let who = match prediction.load.advance {
        Advance::Worker => "worker",
        Advance::Collector => "collector",
    };
    [prediction.gpus.to_string(), who.to_owned()]
}

fn times(planned: &[Prediction]) -> Table {
    let mut table = Table::new([
        ("GPUs", Side::Right),
        ("advance", Side::Left),
        ("orchestration P50 s", Side::Right),
        ("P99", Side::Right),
        ("until claimed P50 s", Side::Right),
        ("latency P50 s", Side::Right),
        ("P99", Side::Right),
        ("waits for a GPU P50 s", Side::Right),
        ("lag, blocks", Side::Right),
        ("lag, s", Side::Right),
        ("busy", Side::Right),
        ("needed", Side::Right),
    ]);
    for prediction in planned {
        let Prediction { orchestration, until_claimed, latency, waiting_for_machines, blocks, .. } =
            prediction;
        let seconds = |s: f64| format!("{s:.2}");
        let row = [
            seconds(orchestration.p50_s),
            seconds(orchestration.p99_s),
            seconds(until_claimed.p50_s),
            seconds(latency.p50_s),
            seconds(latency.p99_s),
            seconds(waiting_for_machines.p50_s),
            blocks.lag_blocks.to_string(),
            format!("{:.0}", blocks.lag_s),
            format!("{:.1}%", prediction.busy_share() * 100.0),
            format!("{:.1}", prediction.gpus_needed),
        ];
        table.row(fleet(prediction).into_iter().chain(row));
    }
    table
}

fn costs(planned: &[Prediction]) -> Table {
    let mut table = Table::new([
        ("GPUs", Side::Right),
        ("advance", Side::Left),
        ("USD a block", Side::Right),
        ("without machines", Side::Right),
        ("USD a month", Side::Right),
        ("machines", Side::Right),
        ("DynamoDB", Side::Right),
        ("SQS", Side::Right),
        ("Lambda", Side::Right),
        ("S3", Side::Right),
        ("webhook", Side::Right),
    ]);
    for prediction in planned {
        let (block, month) = (&prediction.usd_a_block, &prediction.usd_a_month);
        let usd = |usd: f64| format!("{usd:.2}");
        let row = [
            format!("{:.4}", block.all()),
            format!("{:.6}", block.calls()),
            usd(month.all()),
            usd(month.machines),
            usd(month.dynamodb),
            usd(month.sqs),
            usd(month.lambda),
            usd(month.s3),
            usd(month.webhook),
        ];
        table.row(fleet(prediction).into_iter().chain(row));
    }
    table
}

/// Warnings that the tables do not show: no steady state, a fleet that is too large, a throttled partition.
fn remarks(prediction: &Prediction) -> Vec<String> {
    let mut said = Vec::new();
    let [gpus, who] = fleet(prediction);
    let mut remark = |text: String| said.push(format!("\n{gpus} GPUs, advance = \"{who}\": {text}"));
    let blocks = &prediction.blocks;
    if blocks.lag_grows {
        remark(format!(
            "it does not keep up, and the lag grows: {:.1} GPUs would be busy all the time. Latencies are of the {} blocks \
             that were committed",
            prediction.gpus_needed, blocks.committed
        ));
    } else if blocks.committed < blocks.came {
        remark(format!(
            "{} of {} blocks were not committed in the time",
            blocks.came - blocks.committed,
            blocks.came
        ));
    }
    let most: u64 = prediction.most_slots_busy.values().sum();
    if prediction.busy_share() < 0.1 && prediction.gpus > 1 {
        remark(format!("far more than this load needs: at most {most} slots were ever busy at once"));
    }
    if prediction.looks_a_second > PARTITION_READS_A_SECOND {
        remark(format!(
            "workers look for tasks {:.0} times a second, in one partition of the table, of which DynamoDB gives \
             {PARTITION_READS_A_SECOND} reads a second: it would throttle them, which is not in the figures",
            prediction.looks_a_second
        ));
    }
    said
}

fn assumptions(latencies: &Latencies, file: Option<&Path>) -> String {
    let count =
        |word: &str| latencies.by_name().values().filter(|latency| latency.source.starts_with(word)).count();
    let (measured, published, computed) = (count("measured"), count("published"), count("computed"));
    let all = latencies.by_name().len();
    let whose = match file {
        Some(file) => format!("with those of {}", file.display()),
        None => "that come with the program".to_owned(),
    };
    format!(
        "Latencies: the {all} {whose}: {measured} measured, {computed} computed from that, {published} published, all others \
         assumed. `--json` names each with its source; docs/plan.md says what is not in the figures."
    )
}
