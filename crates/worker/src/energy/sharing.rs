//! Which attempt took how much of what the counters say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proofyard_core::state::Metered;

use super::{Counter, Counters, Reading};

/// Counters that were not read for so long may have wrapped more than once, as those of a machine that slept.
const LONGEST_GAP: Duration = Duration::from_secs(30);

pub(super) struct Sharing<C> {
    counters: C,
    active: HashMap<u64, Active>,
    /// What the counters that somebody uses said, and when.
    last: HashMap<Counter, (Reading, Instant)>,
}

/// An attempt that runs.
struct Active {
    processors: Part,
    gpus: Part,
}

/// An attempt's part of what some counters have counted.
#[derive(Default)]
struct Part {
    counters: Vec<Counter>,
    microjoules: u64,
    /// One of them could not be read.
    is_lost: bool,
}

impl<C: Counters> Sharing<C> {
    pub fn of(counters: C) -> Self {
        Self { counters, active: HashMap::new(), last: HashMap::new() }
    }

    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    pub fn begin(&mut self, number: u64, gpus: &[u32], now: Instant) {
        let processors: Vec<Counter> = (0..self.counters.processors()).map(Counter::Processor).collect();
        let gpus: Vec<Counter> = gpus.iter().copied().map(Counter::Gpu).collect();
        let mut part = |counters: Vec<Counter>| {
            let mut is_lost = false;
            for counter in &counters {
                is_lost |= !self.begin_to_read(*counter, now);
            }
            Part { counters, microjoules: 0, is_lost }
        };
        let active = Active { processors: part(processors), gpus: part(gpus) };
        self.active.insert(number, active);
    }

    /// What the attempt took. It is unknown where a slot has GPUs that could not be read: a machine's processors alone would
    /// say too little.
    pub fn end(&mut self, number: u64, now: Instant) -> Option<Metered> {
        for counter in self.active.get(&number)?.counters() {
            self.read(counter, now);
        }
        let ended = self.active.remove(&number)?;
        for counter in ended.counters() {
            if !self.active.values().any(|active| active.uses(counter)) {
                self.last.remove(&counter);
            }
        }
        let has_gpus = !ended.gpus.counters.is_empty();
        let metered = Metered { gpu_mj: ended.gpus.millijoules(), cpu_mj: ended.processors.millijoules() };
        match (has_gpus, metered) {
            (true, Metered { gpu_mj: None, .. }) | (false, Metered { cpu_mj: None, .. }) => None,
            (_, metered) => Some(metered),
        }
    }

    /// Reads all counters that are used.
    pub fn read_all(&mut self, now: Instant) {
        let used: Vec<Counter> = self.last.keys().copied().collect();
        used.into_iter().for_each(|counter| self.read(counter, now));
    }

    /// Reads a counter, if it is used and could be read before, and divides what it has counted.
    fn read(&mut self, counter: Counter, now: Instant) {
        let Some((before, at)) = self.last.remove(&counter) else { return };
        let reading = self.counters.read(counter);
        let counted = reading.and_then(|reading| counted(before, reading));
        let counted = counted.filter(|_| now.saturating_duration_since(at) <= LONGEST_GAP);
        if let Some(reading) = reading {
            self.last.insert(counter, (reading, now));
        }
        self.share(counter, counted);
    }

    /// Divides what a counter has counted equally among the attempts that use it; where it is not known, none of them knows its part
    /// any more.
    fn share(&mut self, counter: Counter, counted: Option<u64>) {
        let among = self.active.values().filter(|active| active.uses(counter)).count() as u64;
        for part in self.active.values_mut().filter_map(|active| active.part_of(counter)) {
            match counted {
                Some(microjoules) => part.microjoules = part.microjoules.saturating_add(microjoules / among),
                None => part.is_lost = true,
            }
        }
    }

    /// One more attempt uses the counter; whether it can be read.
    fn begin_to_read(&mut self, counter: Counter, now: Instant) -> bool {
        self.read(counter, now);
        if !self.last.contains_key(&counter) {
            let Some(reading) = self.counters.read(counter) else { return false };
            self.last.insert(counter, (reading, now));
        }
        true
    }
}

/// What a counter has counted between two readings; `None` if it went back though it does not wrap, as after a reset.
fn counted(before: Reading, after: Reading) -> Option<u64> {
    match after.microjoules.checked_sub(before.microjoules) {
        Some(counted) => Some(counted),
        None => after.wraps_after?.checked_sub(before.microjoules)?.checked_add(after.microjoules),
    }
}

impl Active {
    fn counters(&self) -> Vec<Counter> {
        [&self.processors.counters[..], &self.gpus.counters].concat()
    }

    fn uses(&self, counter: Counter) -> bool {
        self.processors.counters.contains(&counter) || self.gpus.counters.contains(&counter)
    }

    fn part_of(&mut self, counter: Counter) -> Option<&mut Part> {
        [&mut self.processors, &mut self.gpus].into_iter().find(|part| part.counters.contains(&counter))
    }
}

impl Part {
    fn millijoules(&self) -> Option<u64> {
        (!self.counters.is_empty() && !self.is_lost).then_some(self.microjoules / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const RANGE: u64 = 1_000_000;

    /// What counters say, as a test sets it.
    #[derive(Clone, Default)]
    struct Set(Arc<Mutex<HashMap<Counter, u64>>>);

    impl Set {
        fn to(&self, counter: Counter, microjoules: u64) {
            self.0.lock().unwrap().insert(counter, microjoules);
        }
        fn gone(&self, counter: Counter) {
            self.0.lock().unwrap().remove(&counter);
        }
    }

    impl Counters for Set {
        fn processors(&self) -> u32 {
            let set = self.0.lock().unwrap();
            set.keys().filter(|counter| matches!(counter, Counter::Processor(_))).count() as u32
        }
        fn read(&mut self, counter: Counter) -> Option<Reading> {
            let wraps_after = matches!(counter, Counter::Processor(_)).then_some(RANGE);
            let microjoules = *self.0.lock().unwrap().get(&counter)?;
            Some(Reading { microjoules, wraps_after })
        }
    }

    const CPU: Counter = Counter::Processor(0);

    fn of(counters: &[(Counter, u64)]) -> (Set, Sharing<Set>, Instant) {
        let set = Set::default();
        counters.iter().for_each(|(counter, microjoules)| set.to(*counter, *microjoules));
        (set.clone(), Sharing::of(set), Instant::now())
    }

    fn cpu(mj: u64) -> Option<Metered> {
        Some(Metered { gpu_mj: None, cpu_mj: Some(mj) })
    }

    fn both(gpu_mj: u64, cpu_mj: u64) -> Option<Metered> {
        Some(Metered { gpu_mj: Some(gpu_mj), cpu_mj: Some(cpu_mj) })
    }

    #[test]
    fn an_attempt_alone_takes_all_that_is_counted_while_it_runs_across_a_wrap() {
        let (set, mut sharing, now) = of(&[(CPU, 900_000)]);
        sharing.begin(1, &[], now);
        set.to(CPU, 990_000);
        sharing.read_all(now);
        // From 990,000 to the range's end, and on from 0.
        set.to(CPU, 20_000);
        assert_eq!(sharing.end(1, now), cpu(120));
        // Idle: nobody's.
        set.to(CPU, 500_000);
        sharing.begin(2, &[], now);
        set.to(CPU, 501_000);
        assert_eq!(sharing.end(2, now), cpu(1));
        assert!(sharing.is_idle());
    }

    #[test]
    fn slots_share_a_processor_only_while_both_work() {
        let (set, mut sharing, now) = of(&[(CPU, 0)]);
        sharing.begin(1, &[], now);
        set.to(CPU, 100_000);
        sharing.begin(2, &[], now);
        set.to(CPU, 300_000);
        assert_eq!(sharing.end(1, now), cpu(200), "100 alone, and half of 200");
        set.to(CPU, 350_000);
        assert_eq!(sharing.end(2, now), cpu(150), "half of 200, and 50 alone");
    }

    #[test]
    fn a_gpu_counts_for_the_slot_that_has_it() {
        let gpus = [0, 1, 2, 3].map(Counter::Gpu);
        let (set, mut sharing, now) =
            of(&[(CPU, 0), (gpus[0], 50), (gpus[1], 60), (gpus[2], 70), (gpus[3], 80)]);
        sharing.begin(1, &[0, 1], now);
        sharing.begin(2, &[2, 3], now);
        sharing.begin(3, &[], now);
        for (gpu, mj) in gpus.iter().zip([1_000, 2_000, 30_000, 0]) {
            set.to(*gpu, 1_000 * mj + 80);
        }
        set.to(CPU, 30_000);
        assert_eq!(sharing.end(1, now), both(3_000, 10));
        assert_eq!(sharing.end(2, now), both(30_000, 10));
        assert_eq!(sharing.end(3, now), cpu(10));
    }

    #[test]
    fn a_gpu_of_two_slots_is_shared() {
        let gpu = Counter::Gpu(0);
        let (set, mut sharing, now) = of(&[(gpu, 0)]);
        sharing.begin(1, &[0], now);
        sharing.begin(2, &[0], now);
        set.to(gpu, 8_000_000);
        let half = Some(Metered { gpu_mj: Some(4_000), cpu_mj: None });
        assert_eq!([sharing.end(1, now), sharing.end(2, now)], [half; 2]);
    }

    #[test]
    fn what_vanishes_midway_or_goes_back_is_unknown_and_later_attempts_are_measured_again() {
        let gpu = Counter::Gpu(0);
        let (set, mut sharing, now) = of(&[(gpu, 1_000_000), (CPU, 0)]);
        sharing.begin(1, &[0], now);
        set.gone(gpu);
        sharing.read_all(now);
        set.to(gpu, 2_000_000);
        sharing.begin(2, &[0], now);
        set.to(gpu, 2_500_000);
        assert_eq!(sharing.end(1, now), None, "its processors alone would say too little");
        assert_eq!(sharing.end(2, now), both(250, 0), "the first one used it too");
        sharing.begin(3, &[0], now);
        set.to(gpu, 10);
        assert_eq!(sharing.end(3, now), None, "the driver was started anew");
        // Of a slot without GPUs nothing is known without the processors.
        sharing.begin(4, &[], now);
        set.gone(CPU);
        assert_eq!(sharing.end(4, now), None);
    }

    #[test]
    fn a_counter_that_may_have_wrapped_twice_says_nothing() {
        let (set, mut sharing, now) = of(&[(CPU, 0)]);
        sharing.begin(1, &[], now);
        set.to(CPU, 100_000);
        assert_eq!(sharing.end(1, now + LONGEST_GAP * 2), None);
    }

    #[test]
    fn nothing_is_known_of_a_machine_without_counters() {
        let (_, mut sharing, now) = of(&[]);
        sharing.begin(1, &[0], now);
        assert_eq!(sharing.end(1, now), None);
        assert_eq!(sharing.end(7, now), None, "it never began");
    }
}
