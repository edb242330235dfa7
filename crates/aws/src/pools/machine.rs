//! How many jobs share a machine.

/// What a job, or a machine, has. 0: it is not said, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachinePart {
    pub processors: f64,
    pub memory_mib: f64,
    pub gpus: f64,
}

impl MachinePart {
    /// How many such jobs fit, 1 at least.
    pub fn holds(&self, job: &Self) -> u32 {
        let fit =
            [(self.processors, job.processors), (self.memory_mib, job.memory_mib), (self.gpus, job.gpus)]
                .into_iter()
                .filter(|(_, of_job)| *of_job > 0.0)
                .map(|(of_machine, of_job)| (of_machine / of_job).floor() as u32);
        fit.min().unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(processors: f64, memory_mib: f64, gpus: f64) -> MachinePart {
        MachinePart { processors, memory_mib, gpus }
    }

    #[test]
    fn a_machine_is_shared_by_as_many_jobs_as_fit() {
        let machine = part(96.0, 768.0 * 1_024.0 * 0.95, 4.0);
        assert_eq!(machine.holds(&part(44.0, 100_000.0, 4.0)), 1, "it has all GPUs");
        assert_eq!(machine.holds(&part(44.0, 100_000.0, 2.0)), 2);
        assert_eq!(machine.holds(&part(2.0, 400_000.0, 0.0)), 1, "it has half of the memory, and more");
        assert_eq!(machine.holds(&part(0.0, 0.0, 0.0)), 1, "in no container");
        assert_eq!(part(0.0, 0.0, 0.0).holds(&part(2.0, 4_096.0, 0.0)), 1, "EC2 does not know");
    }
}
