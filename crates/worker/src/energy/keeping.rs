//! What the thread does with an event, and when it reads all counters. Moments are given.

use std::time::{Duration, Instant};

use super::sharing::Sharing;
use super::{Counters, Event};

/// How often counters are read while somebody works.
const READ_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Keeper<C> {
    sharing: Sharing<C>,
    /// However many events come until then.
    next_read: Instant,
}

impl<C: Counters> Keeper<C> {
    pub fn of(counters: C, now: Instant) -> Self {
        Self { sharing: Sharing::of(counters), next_read: now }
    }

    /// How long to wait for an event; `None` for as long as it takes.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        (!self.sharing.is_idle()).then(|| self.next_read.saturating_duration_since(now))
    }

    pub fn handle(&mut self, event: Event, now: Instant) {
        if self.sharing.is_idle() {
            self.next_read = now + READ_EVERY;
        }
        match event {
            Event::Begins { number, gpus } => self.sharing.begin(number, &gpus, now),
            Event::Ends { number, took } => {
                let metered = self.sharing.end(number, now);
                if let Some(took) = took {
                    // A slot that did not wait goes on without it.
                    let _ = took.send(metered);
                }
            }
        }
    }

    /// Also after an event: they may come so often that no wait for one ever ends in vain.
    pub fn read_if_due(&mut self, now: Instant) {
        if now >= self.next_read {
            self.sharing.read_all(now);
            self.next_read = now + READ_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use proofyard_core::state::Metered;

    use super::super::{Counter, Reading};
    use super::*;

    /// Each reading of a GPU finds one joule more.
    struct Gpus(u64);

    impl Counters for Gpus {
        fn processors(&self) -> u32 {
            0
        }
        fn read(&mut self, _: Counter) -> Option<Reading> {
            self.0 += 1_000_000;
            Some(Reading { microjoules: self.0, wraps_after: None })
        }
    }

    #[test]
    fn a_long_attempt_is_measured_however_often_others_begin_and_end() {
        let start = Instant::now();
        let mut keeper = Keeper::of(Gpus(0), start);
        keeper.handle(Event::Begins { number: 0, gpus: vec![0] }, start);
        let mut now = start;
        // Two minutes, with an event each 200 ms, of another GPU.
        for number in 1..=300 {
            now += READ_EVERY / 5;
            keeper.handle(Event::Begins { number, gpus: vec![1] }, now);
            keeper.read_if_due(now);
            now += READ_EVERY / 5;
            keeper.handle(Event::Ends { number, took: None }, now);
            keeper.read_if_due(now);
        }
        let (sender, took) = channel();
        keeper.handle(Event::Ends { number: 0, took: Some(sender) }, now);
        let metered = took.try_recv().expect("an answer");
        assert!(matches!(metered, Some(Metered { gpu_mj: Some(1..), cpu_mj: None })), "{metered:?}");
    }

    #[test]
    fn what_is_left_of_a_second_is_waited_and_without_work_no_wait_ends() {
        let start = Instant::now();
        let mut keeper = Keeper::of(Gpus(0), start);
        assert_eq!(keeper.wait(start), None);
        // A while after it was made.
        let now = start + READ_EVERY * 10;
        keeper.handle(Event::Begins { number: 0, gpus: vec![0] }, now);
        assert_eq!(keeper.wait(now), Some(READ_EVERY));
        let later = now + READ_EVERY / 4;
        keeper.handle(Event::Begins { number: 1, gpus: vec![1] }, later);
        keeper.read_if_due(later);
        assert_eq!(keeper.wait(later), Some(READ_EVERY * 3 / 4), "no full second more");
        let due = now + READ_EVERY * 2;
        assert_eq!(keeper.wait(due), Some(Duration::ZERO));
        keeper.read_if_due(due);
        assert_eq!(keeper.wait(due), Some(READ_EVERY));
        for number in [0, 1] {
            keeper.handle(Event::Ends { number, took: None }, due);
        }
        assert_eq!(keeper.wait(due), None);
    }
}
