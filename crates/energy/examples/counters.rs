//! `counters [SECONDS] [COMMAND...]`: which energy counters this process can read here, and what they count while so many seconds
//! pass, or while a command runs, if one is given.

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_energy::MachineCounters;
use proofyard_worker::energy::{Counter, Counters};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let command: Vec<String> = arguments.collect();
    let mut counters = MachineCounters::find(true);
    for gpu in 0..counters.gpus() {
        let (name, counts) = counters.gpu(gpu).unwrap_or_default();
        let how = if counts { "counts its energy" } else { "says its power only" };
        println!("GPU {gpu}: {name}, {how}");
    }
    let all: Vec<Counter> = (0..counters.processors())
        .map(Counter::Processor)
        .chain((0..counters.gpus()).map(Counter::Gpu))
        .collect();
    if all.is_empty() {
        println!("no energy counter can be read here");
        if command.is_empty() {
            return Ok(());
        }
    }
    let began = Instant::now();
    let read = |counters: &mut MachineCounters| {
        let reading = Instant::now();
        let readings: Vec<_> = all.iter().map(|counter| counters.read(*counter)).collect();
        println!("read {} counters in {:?}: {readings:?}", all.len(), reading.elapsed());
        readings
    };
    let before = read(&mut counters);
    let mut child = match command.split_first() {
        Some((program, arguments)) => Some(Command::new(program).args(arguments).spawn()?),
        None => None,
    };
    // Counters are read each second, as by a worker.
    loop {
        thread::sleep(Duration::from_secs(1));
        let ended = match &mut child {
            Some(child) => child.try_wait()?.is_some(),
            None => began.elapsed() >= Duration::from_secs(seconds),
        };
        let after = read(&mut counters);
        if ended {
            let took_s = began.elapsed().as_secs_f64();
            for ((counter, before), after) in all.iter().zip(&before).zip(&after) {
                let (Some(before), Some(after)) = (before, after) else { continue };
                let joules = after.microjoules.saturating_sub(before.microjoules) as f64 / 1e6;
                println!("{counter:?}: {joules:.3} J in {took_s:.2} s, {:.1} W", joules / took_s);
            }
            return Ok(());
        }
    }
}
