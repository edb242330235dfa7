//! How much energy each attempt takes, where the machine has counters of it.
//!
//! A counter belongs to a GPU or to a processor, and not to an attempt. So a counter is read whenever an attempt that uses it begins
//! or ends, and each second meanwhile; what it has counted since it was last read is divided equally among the attempts that used
//! it then. A processor is used by all attempts on the machine, a GPU by those whose slot has it. What is counted while nobody works
//! is nobody's.
//!
//! One thread reads: a GPU takes milliseconds to answer, and may hang. A slot only says that its attempt begins, and that it is
//! nearly over; when it is, it asks what the attempt took, and does not wait for long. Once it has waited in vain, nothing more is
//! measured until the thread gets on.

mod keeping;
mod sharing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::Metered;

use self::keeping::Keeper;

/// A slot waits no longer for what its attempt took; it is unknown then.
const PATIENCE: Duration = Duration::from_millis(500);

/// The counters of a machine.
pub trait Counters: Send + 'static {
    /// How many processors can be read, by number from 0.
    fn processors(&self) -> u32;
    /// What a counter says now; `None` where it cannot be read.
    fn read(&mut self, counter: Counter) -> Option<Reading>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// One of the processors of a machine.
    Processor(u32),
    /// By the host's number.
    Gpu(u32),
}

/// Energy since some moment, which is the same for all readings of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub microjoules: u64,
    /// It goes on from 0 after this.
    pub wraps_after: Option<u64>,
}

/// Measures the attempts of all slots of this process.
#[derive(Default)]
pub struct EnergyMeter {
    /// `None` where there is nothing to read.
    reader: Option<Reader>,
    has_processors: bool,
    next_number: AtomicU64,
}

/// The thread that reads, as slots see it.
#[derive(Clone)]
pub(crate) struct Reader {
    events: Sender<Event>,
    late: Late,
    /// How long it is waited for.
    patience: Duration,
}

/// Whether the thread has let a slot wait in vain, and has handled no event since then. All writes swap: whoever says that it is
/// late sees what the thread answered before it said otherwise.
#[derive(Clone, Default)]
struct Late(Arc<AtomicBool>);

/// An attempt that is measured until this is stopped, or dropped.
pub(crate) enum Measuring {
    Nothing,
    Runs {
        /// By which the thread knows it.
        number: u64,
        reader: Reader,
    },
    Stopped {
        took: Receiver<Option<Metered>>,
        reader: Reader,
    },
}

pub(crate) enum Event {
    Begins { number: u64, gpus: Vec<u32> },
    Ends { number: u64, took: Option<Sender<Option<Metered>>> },
}

impl EnergyMeter {
    /// Measures nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Measures by these counters. They are read by a thread, which ends when this is dropped and no attempt is measured.
    pub fn of(counters: impl Counters) -> Self {
        let (sender, events) = channel();
        let has_processors = counters.processors() > 0;
        let reader = Reader { events: sender, late: Late::default(), patience: PATIENCE };
        let late = reader.late.clone();
        let thread = thread::Builder::new()
            .name("energy".into())
            .spawn(move || keep(Keeper::of(counters, Instant::now()), &events, &late));
        // Without a thread nothing is measured.
        Self { reader: thread.ok().map(|_| reader), has_processors, next_number: AtomicU64::default() }
    }

    /// A slot waits for so long at most for what its attempt took.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { reader: self.reader.map(|reader| Reader { patience, ..reader }), ..self }
    }

    /// An attempt begins in a slot that has these GPUs.
    pub(crate) fn begin(&self, gpus: &[u32]) -> Measuring {
        let is_measured = |reader: &&Reader| (self.has_processors || !gpus.is_empty()) && !reader.late.is();
        let Some(reader) = self.reader.as_ref().filter(is_measured).cloned() else {
            return Measuring::Nothing;
        };
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        match reader.events.send(Event::Begins { number, gpus: gpus.to_vec() }) {
            Ok(()) => Measuring::Runs { number, reader },
            Err(_) => Measuring::Nothing,
        }
    }
}

impl Measuring {
    /// What is left of the attempt takes little: the counters are read now, while the slot goes on.
    pub fn stop(&mut self) {
        if let Self::Runs { number, reader } = self {
            let (sender, took) = channel();
            *self = match reader.events.send(Event::Ends { number: *number, took: Some(sender) }) {
                Ok(()) => Self::Stopped { took, reader: reader.clone() },
                Err(_) => Self::Nothing,
            };
        }
    }

    /// What the attempt took, which is over now; `None` if that is not known.
    pub fn end(&mut self) -> Option<Metered> {
        self.stop();
        match self {
            Self::Stopped { took, reader } => reader.wait_for(took),
            Self::Nothing | Self::Runs { .. } => None,
        }
    }
}

impl Reader {
    fn wait_for(&self, took: &Receiver<Option<Metered>>) -> Option<Metered> {
        if self.late.is() {
            return took.try_recv().ok().flatten();
        }
        match took.recv_timeout(self.patience) {
            Ok(metered) => metered,
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.late.set(true);
                let metered = took.try_recv().ok()?;
                // It answered just now, and may have nothing more to do by which it would show that it is not late.
                self.late.set(false);
                metered
            }
        }
    }
}

impl Late {
    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, late: bool) {
        self.0.swap(late, Ordering::AcqRel);
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Self::Runs { number, reader } = self {
            // Where the thread is gone there is nothing to end.
            let _ = reader.events.send(Event::Ends { number: *number, took: None });
        }
    }
}

/// What the thread does.
fn keep<C: Counters>(mut keeper: Keeper<C>, events: &Receiver<Event>, late: &Late) {
    loop {
        let event = match keeper.wait(Instant::now()) {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => events.recv_timeout(wait),
        };
        match event {
            Ok(event) => {
                keeper.handle(event, Instant::now());
                late.set(false);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        keeper.read_if_due(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    /// A GPU that answers while the test lets it, each time with a joule more.
    #[derive(Clone, Default)]
    struct Gpu(Arc<Mutex<u64>>);

    impl Counters for Gpu {
        fn processors(&self) -> u32 {
            0
        }
        fn read(&mut self, _: Counter) -> Option<Reading> {
            let mut microjoules = self.0.lock().unwrap();
            *microjoules += 1_000_000;
            Some(Reading { microjoules: *microjoules, wraps_after: None })
        }
    }

    fn be_patient(measuring: &mut Measuring) {
        let Measuring::Runs { reader, .. } = measuring else { panic!("it is not measured") };
        reader.patience = LONG;
    }

    #[test]
    fn a_gpu_that_hangs_is_waited_for_once_and_measured_again_when_it_answers() {
        let gpu = Gpu::default();
        let meter = EnergyMeter::of(gpu.clone()).with_patience(Duration::from_millis(10));
        let hangs = gpu.0.lock().unwrap();
        let [mut first, mut second] = [meter.begin(&[0]), meter.begin(&[0])];
        assert_eq!(first.end(), None);
        be_patient(&mut second);
        assert_eq!(second.end(), None, "this one does not wait");
        assert!(matches!(meter.begin(&[0]), Measuring::Nothing));
        drop(hangs);
        let mut third = loop {
            match meter.begin(&[0]) {
                Measuring::Nothing => thread::sleep(Duration::from_millis(1)),
                measured => break measured,
            }
        };
        be_patient(&mut third);
        assert!(third.end().is_some_and(|metered| metered.gpu_mj > Some(0)));
    }
}
