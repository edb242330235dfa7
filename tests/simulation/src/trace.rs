//! A readable trace of one seed. Lines are formatted only on request: a failing seed is run again for its trace, which
//! costs less than formatting the lines of thousands of seeds that pass. The digest is always kept; two runs of a seed
//! that are the same have the same digest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceMode {
    Off,
    /// The last so many lines are kept.
    Ring(usize),
    /// Every line is printed at once.
    Print,
}

#[derive(Debug)]
pub struct Trace {
    mode: TraceMode,
    lines: RefCell<VecDeque<String>>,
    digest: Cell<u64>,
}

impl Trace {
    pub fn new(mode: TraceMode) -> Self {
        Self { mode, lines: RefCell::default(), digest: Cell::new(0xcbf2_9ce4_8422_2325) }
    }

    pub fn line(&self, now_ms: u64, step: u64, text: impl FnOnce() -> String) {
        match self.mode {
            TraceMode::Off => {}
            TraceMode::Print => println!("{now_ms:>9} {step:>7}  {}", text()),
            TraceMode::Ring(length) => {
                let mut lines = self.lines.borrow_mut();
                if lines.len() == length {
                    lines.pop_front();
                }
                lines.push_back(format!("{now_ms:>9} {step:>7}  {}", text()));
            }
        }
    }

    /// Mixes a fact into the digest.
    pub fn mix(&self, fact: u64) {
        self.digest.set((self.digest.get() ^ fact).wrapping_mul(0x0000_0100_0000_01b3));
    }

    pub fn digest(&self) -> u64 {
        self.digest.get()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().iter().cloned().collect()
    }
}
