//! The energy counters of this machine, as far as it has them and lets this process read them: of its processors, by RAPL;
//! of its NVIDIA GPUs, by NVML, a library that comes with their driver and is looked for when a program starts.
//!
//! Most machines have neither, virtual ones above all. Then there is nothing to read, which is no error.

mod nvml;
mod rapl;

use std::path::Path;

use proofyard_worker::energy::{Counter, Counters, EnergyMeter, Reading};

use self::nvml::Gpus;
use self::rapl::Package;

/// Where Linux has what RAPL counts.
const POWERCAP: &str = "/sys/class/powercap";

/// What can be read here.
pub struct MachineCounters {
    packages: Vec<Package>,
    gpus: Option<Gpus>,
}

/// Measures by the counters of this machine; those of its GPUs only where some slot has GPUs, since the driver may take seconds
/// to answer for the first time.
pub fn meter_of_this_machine(has_gpus: bool) -> EnergyMeter {
    let counters = MachineCounters::find(has_gpus);
    match counters.processors() > 0 || counters.gpus() > 0 {
        true => EnergyMeter::of(counters),
        false => EnergyMeter::nothing(),
    }
}

impl MachineCounters {
    pub fn find(has_gpus: bool) -> Self {
        let gpus = has_gpus.then(Gpus::find).flatten();
        Self { packages: rapl::packages(Path::new(POWERCAP)), gpus }
    }

    pub fn gpus(&self) -> u32 {
        self.gpus.as_ref().map_or(0, Gpus::count)
    }

    /// A GPU as its driver names it, and whether it counts its energy itself.
    pub fn gpu(&self, gpu: u32) -> Option<(String, bool)> {
        self.gpus.as_ref()?.describe(gpu)
    }
}

impl Counters for MachineCounters {
    fn processors(&self) -> u32 {
        self.packages.len() as u32
    }

    fn read(&mut self, counter: Counter) -> Option<Reading> {
        match counter {
            Counter::Processor(number) => self.packages.get(number as usize)?.read(),
            Counter::Gpu(number) => self.gpus.as_mut()?.read(number),
        }
    }
}
