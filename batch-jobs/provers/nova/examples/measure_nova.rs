//! Measures the keys, folding, compressing and verifying on this machine, over one chain: 8 and 32 steps by
//! default.
//!
//! CPU time is that of all threads of this process, so other work on the machine disturbs it less than wall time.
//! Sizes must ascend: peak memory is that of the process so far. Linux only.

use std::error::Error;
use std::fs;
use std::time::Instant;

use proofyard_nova::keys::Keys;
use proofyard_nova::statement::Kind;
use proofyard_statement::{Block, Digest};

const REPEATS: usize = 3;
const VERIFICATIONS: usize = 5;
/// Three steps and a close for each block.
const STEPS_OF_A_BLOCK: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![8, 32];
    }
    let mut making = Vec::new();
    let mut keys = None;
    for _ in 0..REPEATS {
        let start = Span::begin()?;
        keys = Some(Keys::make()?);
        making.push(start.end()?);
    }
    let keys = keys.ok_or("no keys")?;
    let (pallas, vesta) = keys.constraints();
    println!("key {}", hex::encode(keys.id()));
    println!("constraints of a step: {pallas} over Pallas, {vesta} over Vesta");
    println!("making the keys: {}, peak memory {} MiB\n", median(making), peak_memory_mib()?);
    println!("| steps | a step | compress | verify | proof bytes | peak memory MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for steps in sizes {
        measure(&keys, steps)?;
    }
    Ok(())
}

/// Prints medians of a few runs.
fn measure(keys: &Keys, steps: usize) -> Result<(), Box<dyn Error>> {
    let blocks = blocks(steps.div_ceil(STEPS_OF_A_BLOCK).max(1));
    let (mut folding, mut compressing, mut verifying) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..REPEATS {
        let mut spans = vec![Span::begin()?];
        let mut compression = None;
        let mut note = |_: f64, what: &str| match Span::begin() {
            Ok(span) if what == "compressing" => compression = Some(span),
            Ok(span) => spans.push(span),
            Err(_) => {}
        };
        let file = keys.prove(Kind::Range, &blocks, &mut note)?;
        let compression = compression.ok_or("nothing was compressed")?;
        compressing.push(compression.end()?);
        let total = spans.first().ok_or("nothing was folded")?.until(&compression);
        folding.push(total.divided_by((blocks.len() * STEPS_OF_A_BLOCK) as f64));
        for _ in 0..VERIFICATIONS {
            let start = Span::begin()?;
            keys.check(&file, Kind::Range)?;
            verifying.push(start.end()?);
        }
        bytes = file.to_bytes()?.len();
    }
    let steps = blocks.len() * STEPS_OF_A_BLOCK;
    let (fold, compress, verify) = (median(folding), median(compressing), median(verifying));
    println!("| {steps} | {fold} | {compress} | {verify} | {bytes} | {} |", peak_memory_mib()?);
    Ok(())
}

/// Blocks that follow each other; their transactions are any 32 bytes, as proving takes equally long for each.
fn blocks(count: usize) -> Vec<Block> {
    let mut pre: Digest = [7; 32];
    let block = |height: u64| {
        let transactions =
            (0..2 * (STEPS_OF_A_BLOCK as u8 - 1)).map(|index| [index ^ height as u8; 32]).collect();
        let mut block = Block { chain_id: 1, height, transactions, pre, post: pre, segments: Vec::new() };
        block.post = block.values().post;
        pre = block.post;
        block
    };
    (1..=count as u64).map(block).collect()
}

/// A moment: the CPU time so far, and the time.
#[derive(Clone)]
struct Span(f64, Instant);

#[derive(Clone, Copy)]
struct Took {
    cpu_s: f64,
    wall_s: f64,
}

impl Span {
    fn begin() -> Result<Self, Box<dyn Error>> {
        Ok(Self(cpu_seconds()?, Instant::now()))
    }

    fn end(&self) -> Result<Took, Box<dyn Error>> {
        Ok(self.until(&Self::begin()?))
    }

    fn until(&self, later: &Self) -> Took {
        Took { cpu_s: later.0 - self.0, wall_s: (later.1 - self.1).as_secs_f64() }
    }
}

impl Took {
    fn divided_by(self, parts: f64) -> Self {
        Self { cpu_s: self.cpu_s / parts, wall_s: self.wall_s / parts }
    }
}

fn median(took: Vec<Took>) -> String {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let cpu = middle(took.iter().map(|took| took.cpu_s).collect());
    let wall = middle(took.iter().map(|took| took.wall_s).collect());
    format!("CPU {cpu:.2} s, wall {wall:.2} s")
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let mut nanoseconds = 0_u64;
    for thread in fs::read_dir("/proc/self/task")? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += statistics.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn peak_memory_mib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(peak.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}
