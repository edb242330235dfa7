//! Measures the circuits on this machine: setup once, then proving and verifying, with the sizes of all files.
//!
//! CPU time is that of all threads of this process, so other work on the machine disturbs it less than wall time.
//! Peak memory is that of the process so far. Keys are made in memory and thrown away. Linux only.

use std::error::Error;
use std::fs;
use std::time::Instant;

use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystem};
use proofyard_groth16::aggregate::{AggregateCircuit, Leaf};
use proofyard_groth16::leaf::{LeafCircuit, MAX_TRANSACTIONS};
use proofyard_groth16::range::RangeCircuit;
use proofyard_groth16::system::{AggregateSystem, Circuit, LeafSystem, RangeSystem, Scalar, System};
use proofyard_statement::{Block, RangeValues};
use rand_core::OsRng;
use rustix::time::{ClockId, clock_gettime};

const REPEATS: usize = 5;
const VERIFICATIONS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "| circuit | constraints | setup, CPU s (wall) | prove, CPU s (wall) | verify, CPU ms | proof bytes | proving \
         key bytes | load it, CPU s | peak memory MiB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let first = block(1, [0; 32]);
    let second = block(2, first.post);
    let circuits = [LeafCircuit::of(&first)?, LeafCircuit::of(&second)?];
    let values = circuits.each_ref().map(|circuit| circuit.values.clone());

    let system = ConstraintSystem::new_ref();
    circuits[0].clone().generate_constraints(system.clone())?;
    let (key, setup) = timed(|| LeafSystem::make_key(Circuit::new(LeafCircuit::blank()), &mut OsRng))?;
    let of_first = || Circuit::new(circuits[0].clone());
    let proof =
        measure::<LeafSystem>(&key, of_first, &values[0].to_bytes(), system.num_constraints(), setup)?;
    let second_proof = LeafSystem::prove(&key, Circuit::new(circuits[1].clone()))?;

    let range = RangeValues::join(&values.each_ref().map(|values| values.clone().into()))?;
    let [first_values, second_values] = values;
    let leaves = [Leaf { values: first_values, proof }, Leaf { values: second_values, proof: second_proof }];
    let (bytes, leaf_key) = (range.to_bytes(), key.vk);
    let blank = Circuit::new(AggregateCircuit::blank(leaf_key.clone()));
    let circuit = AggregateCircuit { leaf_key, range, leaves };
    let system = ConstraintSystem::new_ref();
    circuit.clone().generate_constraints(system.clone())?;
    let constraints = system.num_constraints();
    drop(system);
    let (key, setup) = timed(|| AggregateSystem::make_key(blank, &mut OsRng))?;
    measure::<AggregateSystem>(&key, || Circuit::new(circuit.clone()), &bytes, constraints, setup)?;

    let circuit = RangeCircuit::of(&[first, second])?;
    let system = ConstraintSystem::new_ref();
    circuit.clone().generate_constraints(system.clone())?;
    let constraints = system.num_constraints();
    drop(system);
    let (key, setup) = timed(|| RangeSystem::make_key(Circuit::new(RangeCircuit::blank()), &mut OsRng))?;
    measure::<RangeSystem>(&key, || Circuit::new(circuit.clone()), &bytes, constraints, setup)?;
    Ok(())
}

type ProvingKey<S> = ark_groth16::ProvingKey<<S as System>::Curve>;
type Proof<S> = ark_groth16::Proof<<S as System>::Curve>;

/// Prints medians of a few runs, and the mean of many verifications: one is too short to measure.
fn measure<S: System>(
    key: &ProvingKey<S>,
    circuit: impl Fn() -> Circuit<Scalar<S>>,
    public_values: &[u8],
    constraints: usize,
    setup: Seconds,
) -> Result<Proof<S>, Box<dyn Error>> {
    let (mut cpu, mut wall, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..REPEATS {
        let (proof, seconds) = timed(|| S::prove(key, circuit()))?;
        cpu.push(seconds.cpu);
        wall.push(seconds.wall);
        last = Some(proof);
    }
    let proof = last.ok_or("nothing was proved")?;
    let (inputs, bytes) = (S::public_inputs(public_values), S::proof_to_bytes(&proof)?);
    let prepared = S::prepare(&key.vk)?;
    let (_, verify) = timed(|| {
        (0..VERIFICATIONS).try_for_each(|_| S::check(&prepared, &inputs, &S::proof_from_bytes(&bytes)?))
    })?;
    let key_bytes = S::proving_key_to_bytes(key)?;
    let (_, load) = timed(|| S::proving_key_from_bytes(&key_bytes))?;
    println!(
        "| {} | {constraints} | {:.1} ({:.1}) | {:.2} ({:.2}) | {:.1} | {} | {} | {:.2} | {} |",
        S::CIRCUIT,
        setup.cpu,
        setup.wall,
        median(cpu),
        median(wall),
        verify.cpu * 1000.0 / VERIFICATIONS as f64,
        bytes.len(),
        key_bytes.len(),
        load.cpu,
        peak_memory_mib()?
    );
    Ok(proof)
}

/// A full block: proving takes equally long for a smaller one.
fn block(height: u64, pre: [u8; 32]) -> Block {
    let transactions = vec![[0xa5; 32]; MAX_TRANSACTIONS];
    let segments = vec![(0, MAX_TRANSACTIONS as u32)];
    let block = Block { chain_id: 1, height, transactions, pre, post: [0; 32], segments };
    Block { post: block.values().post, ..block }
}

struct Seconds {
    cpu: f64,
    wall: f64,
}

fn timed<T, E: Error + 'static>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Seconds), Box<dyn Error>> {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let result = work()?;
    Ok((result, Seconds { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Of all threads, also of those that the library started and ended.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_memory_mib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(peak.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}
