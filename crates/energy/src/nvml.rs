//! What NVIDIA's GPUs have taken, by NVML. Those since Volta count it themselves; of older ones the power is read and added
//! up, which is as good as it is read often.

use std::collections::HashMap;
use std::time::Instant;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use proofyard_worker::energy::Reading;

/// The GPUs that this process may see, numbered as CUDA does where `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`, or all are alike.
pub struct Gpus {
    nvml: Nvml,
    count: u32,
    /// What was added up of those that do not count.
    added: HashMap<u32, Added>,
}

struct Added {
    at: Instant,
    milliwatts: u64,
    microjoules: u64,
}

impl Gpus {
    /// `None` where there is no driver.
    pub fn find() -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let count = nvml.device_count().ok()?;
        Some(Self { nvml, count, added: HashMap::new() })
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn describe(&self, gpu: u32) -> Option<(String, bool)> {
        let device = self.nvml.device_by_index(gpu).ok()?;
        Some((device.name().ok()?, device.total_energy_consumption().is_ok()))
    }

    pub fn read(&mut self, gpu: u32) -> Option<Reading> {
        let device = self.nvml.device_by_index(gpu).ok()?;
        let microjoules = match device.total_energy_consumption() {
            Ok(millijoules) => millijoules.checked_mul(1_000)?,
            Err(NvmlError::NotSupported) => {
                let milliwatts = u64::from(device.power_usage().ok()?);
                added(&mut self.added, gpu, milliwatts, Instant::now())
            }
            Err(_) => return None,
        };
        Some(Reading { microjoules, wraps_after: None })
    }
}

/// What a GPU has taken since its power was first read, as if the power had changed evenly from one reading to the next.
fn added(of: &mut HashMap<u32, Added>, gpu: u32, milliwatts: u64, now: Instant) -> u64 {
    let before = of.entry(gpu).or_insert(Added { at: now, milliwatts, microjoules: 0 });
    let passed_us = u64::try_from(now.saturating_duration_since(before.at).as_micros()).unwrap_or(u64::MAX);
    // Milliwatts times microseconds are billionths of a joule.
    let nanojoules = (before.milliwatts + milliwatts).saturating_mul(passed_us) / 2;
    let microjoules = before.microjoules.saturating_add(nanojoules / 1_000);
    *before = Added { at: now, milliwatts, microjoules };
    microjoules
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn power_is_added_up_over_time() {
        let (mut of, began) = (HashMap::new(), Instant::now());
        assert_eq!(added(&mut of, 0, 100_000, began), 0);
        // 100 W on average 150 W for 2 s, then 200 W for half a second.
        assert_eq!(added(&mut of, 0, 200_000, began + Duration::from_secs(2)), 300_000_000);
        assert_eq!(added(&mut of, 0, 200_000, began + Duration::from_millis(2_500)), 400_000_000);
        assert_eq!(added(&mut of, 1, 5, began), 0, "each by itself");
    }
}
