//! Measures proving and verifying on this machine: segments of several sizes, a block at once, and proofs of proofs.
//!
//! CPU time is that of all threads of this process, so other work on the machine disturbs it less than wall time.
//! What takes more memory comes later: peak memory is that of the process so far. Linux only.

use std::error::Error;
use std::fs;
use std::time::Instant;

use proofyard_miden::ProofHash::{Blake3, Poseidon2};
use proofyard_miden::programs::{BlockProgram, MergeProgram, RangeProgram, SegmentProgram};
use proofyard_statement::digest::close;
use proofyard_statement::{Block, ProofFile, TransactionHash};

const REPEATS: usize = 3;
const VERIFICATIONS: usize = 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let (segment, block, merge, range) =
        (SegmentProgram::new()?, BlockProgram::new()?, MergeProgram::new()?, RangeProgram::new()?);
    println!("| proof | prove, CPU s | prove, wall s | verify, CPU ms | proof bytes | peak memory MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for size in [2, 8, 16] {
        let (one, name) = (blocks(&[size], size).remove(0), format!("segment, {size} transactions"));
        measure(&name, || Ok(segment.prove(&one, 0, Blake3)?), |file| Ok(segment.check(file).map(drop)?))?;
    }
    let chain = blocks(&[8, 8], 4);
    measure(
        "block, 8 transactions",
        || Ok(block.prove(&chain[0], Blake3)?),
        |f| Ok(block.check(f).map(drop)?),
    )?;
    measure(
        "the same with --inner",
        || Ok(block.prove(&chain[0], Poseidon2)?),
        |f| Ok(block.check(f).map(drop)?),
    )?;
    let inner = [segment.prove(&chain[0], 0, Poseidon2)?, segment.prove(&chain[0], 1, Poseidon2)?];
    let merged = measure(
        "merge, 2 segments",
        || Ok(merge.prove(&chain[0], &inner)?),
        |file| Ok(merge.check(file).map(drop)?),
    )?;
    let two = [merged, block.prove(&chain[1], Poseidon2)?];
    measure("range, 2 blocks", || Ok(range.prove(&two)?), |file| Ok(range.check(file).map(drop)?))?;
    Ok(())
}

/// Prints medians of a few runs, and the mean of many verifications: one is too short to measure.
fn measure(
    name: &str,
    prove: impl Fn() -> Outcome<ProofFile>,
    verify: impl Fn(&ProofFile) -> Outcome<()>,
) -> Outcome<ProofFile> {
    let (mut prove_cpu, mut prove_wall) = (Vec::new(), Vec::new());
    let mut file = None;
    for _ in 0..REPEATS {
        let (cpu, wall) = (cpu_seconds()?, Instant::now());
        file = Some(prove()?);
        prove_cpu.push(cpu_seconds()? - cpu);
        prove_wall.push(wall.elapsed().as_secs_f64());
    }
    let file = file.ok_or("no run")?;
    let cpu = cpu_seconds()?;
    for _ in 0..VERIFICATIONS {
        verify(&file)?;
    }
    let verify_cpu_ms = (cpu_seconds()? - cpu) * 1000.0 / VERIFICATIONS as f64;
    println!(
        "| {name} | {:.2} | {:.2} | {verify_cpu_ms:.1} | {} | {} |",
        median(prove_cpu),
        median(prove_wall),
        file.to_bytes()?.len(),
        peak_memory_mib()?
    );
    Ok(file)
}

/// Blocks in a row. Transaction hashes are any 32 bytes: proving takes equally long for each.
fn blocks(transactions: &[u32], segment_transactions: u32) -> Vec<Block> {
    let mut pre = close([0; 32], [7; 32]);
    let mut blocks = Vec::new();
    for (height, number) in (1..).zip(transactions) {
        let cuts = (0..*number).step_by(segment_transactions as usize);
        let segments = cuts.map(|from| (from, (from + segment_transactions).min(*number))).collect();
        let transactions = (0..*number).map(transaction).collect();
        let mut block = Block { chain_id: 1, height, transactions, pre, post: pre, segments };
        block.post = block.values().post;
        pre = block.post;
        blocks.push(block);
    }
    blocks
}

fn transaction(index: u32) -> TransactionHash {
    let mut hash = [0xa5; 32];
    hash[7..11].copy_from_slice(&index.wrapping_mul(0x9e37_79b9).to_le_bytes());
    hash
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn cpu_seconds() -> Outcome<f64> {
    let mut nanoseconds = 0_u64;
    for thread in fs::read_dir("/proc/self/task")? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += statistics.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn peak_memory_mib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(peak.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}
