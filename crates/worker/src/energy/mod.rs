//! How much energy each attempt takes, where the machine has counters of it.
//!
//! A counter belongs to a GPU or to a processor, and not to an attempt. So a counter is read whenever an attempt that uses it begins
//! or ends, and each second meanwhile; what it has counted since it was last read is divided equally among the attempts that used
//! it then. A processor is used by all attempts on the machine, a GPU by those whose slot has it. What is counted while nobody works
//! is nobody's.
//!
//! One thread reads: a GPU takes milliseconds to answer, and may hang. A slot only says that its attempt begins, and that it is
//! nearly over; when it is, it asks what the attempt took, and does not wait for long.

mod sharing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::Metered;

use self::sharing::Sharing;

/// How often counters are read while somebody works.
const READ_EVERY: Duration = Duration::from_secs(1);
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
    events: Option<Sender<Event>>,
    has_processors: bool,
    next_number: AtomicU64,
}

/// An attempt that is measured until this is stopped, or dropped.
pub(crate) enum Measuring {
    Nothing,
    Runs {
        /// By which the thread knows it.
        number: u64,
        events: Sender<Event>,
    },
    Stopped {
        took: Receiver<Option<Metered>>,
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
        let thread =
            thread::Builder::new().name("energy".into()).spawn(move || keep(Sharing::of(counters), &events));
        // Without a thread nothing is measured.
        Self { events: thread.ok().map(|_| sender), has_processors, next_number: AtomicU64::default() }
    }

    /// An attempt begins in a slot that has these GPUs.
    pub(crate) fn begin(&self, gpus: &[u32]) -> Measuring {
        let events = self.events.clone().filter(|_| self.has_processors || !gpus.is_empty());
        let Some(events) = events else { return Measuring::Nothing };
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        match events.send(Event::Begins { number, gpus: gpus.to_vec() }) {
            Ok(()) => Measuring::Runs { number, events },
            Err(_) => Measuring::Nothing,
        }
    }
}

impl Measuring {
    /// What is left of the attempt takes little: the counters are read now, while the slot goes on.
    pub fn stop(&mut self) {
        if let Self::Runs { number, events } = self {
            let (sender, took) = channel();
            *self = match events.send(Event::Ends { number: *number, took: Some(sender) }) {
                Ok(()) => Self::Stopped { took },
                Err(_) => Self::Nothing,
            };
        }
    }

    /// What the attempt took, which is over now; `None` if that is not known.
    pub fn end(&mut self) -> Option<Metered> {
        self.stop();
        match self {
            Self::Stopped { took } => took.recv_timeout(PATIENCE).ok().flatten(),
            Self::Nothing | Self::Runs { .. } => None,
        }
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Self::Runs { number, events } = self {
            // Where the thread is gone there is nothing to end.
            let _ = events.send(Event::Ends { number: *number, took: None });
        }
    }
}

/// What the thread does.
fn keep<C: Counters>(mut sharing: Sharing<C>, events: &Receiver<Event>) {
    loop {
        let event = match sharing.is_idle() {
            true => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => events.recv_timeout(READ_EVERY),
        };
        match event {
            Ok(Event::Begins { number, gpus }) => sharing.begin(number, &gpus, Instant::now()),
            Ok(Event::Ends { number, took }) => {
                let metered = sharing.end(number, Instant::now());
                if let Some(took) = took {
                    // A slot that did not wait goes on without it.
                    let _ = took.send(metered);
                }
            }
            Err(RecvTimeoutError::Timeout) => sharing.read_all(Instant::now()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
