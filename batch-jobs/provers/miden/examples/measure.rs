//! Measures proving and verifying on this machine: one segment of each size given, 1 4 8 16 by default.
//!
//! CPU time is that of all threads of this process, so other work on the machine disturbs it less than wall time.
//! Sizes must ascend: peak memory is that of the process so far. Linux only.

use std::error::Error;
use std::fs;
use std::time::Instant;

use miden_core::Word;
use proofyard_miden::artifact::SegmentProof;
use proofyard_miden::statement::SegmentStatement;
use proofyard_miden::vm::SegmentVm;
use proofyard_miden::word::{TransactionHash, absorb_all};

const REPEATS: usize = 5;
const VERIFICATIONS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<u32>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1, 4, 8, 16];
    }
    let vm = SegmentVm::new()?;
    println!(
        "| transactions | prove, CPU s | prove, wall s | verify, CPU ms | proof bytes | peak memory MiB |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for size in sizes {
        measure(&vm, size)?;
    }
    Ok(())
}

/// Prints medians of a few runs, and the mean of many verifications: one is too short to measure.
fn measure(vm: &SegmentVm, size: u32) -> Result<(), Box<dyn Error>> {
    let transactions: Vec<TransactionHash> = (0..size).map(transaction).collect();
    let pre = Word::empty();
    let post = absorb_all(pre, &transactions);
    let statement =
        SegmentStatement { chain_id: 1, height: 1, from: 0, to: size, pre, post, transactions_digest: post };
    let (mut prove_cpu, mut prove_wall) = (Vec::new(), Vec::new());
    let mut stark_proof = Vec::new();
    for _ in 0..REPEATS {
        let (cpu, wall) = (cpu_seconds()?, Instant::now());
        stark_proof = vm.prove(&statement, &transactions)?;
        prove_cpu.push(cpu_seconds()? - cpu);
        prove_wall.push(wall.elapsed().as_secs_f64());
    }
    let cpu = cpu_seconds()?;
    for _ in 0..VERIFICATIONS {
        vm.verify(&statement, &stark_proof)?;
    }
    let verify_cpu_ms = (cpu_seconds()? - cpu) * 1000.0 / VERIFICATIONS as f64;
    let file = SegmentProof { program: vm.verification_key(), statement, stark_proof };
    println!(
        "| {size} | {:.2} | {:.2} | {verify_cpu_ms:.1} | {} | {} |",
        median(prove_cpu),
        median(prove_wall),
        file.to_bytes()?.len(),
        peak_memory_mib()?
    );
    Ok(())
}

/// Any 32 bytes: proving takes equally long for each.
fn transaction(index: u32) -> TransactionHash {
    let mut hash = [0xa5; 32];
    hash[7..11].copy_from_slice(&index.wrapping_mul(0x9e37_79b9).to_le_bytes());
    hash
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
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
