//! Being asked to stop: the first signal stops in order, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proofyard_core::error::Code;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Signals that this process got since it listens to them.
pub struct Signals {
    got: Arc<AtomicUsize>,
}

/// One that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(u8);

impl StopSignal {
    /// As shells report a program that a signal ended.
    pub fn exit_code(self) -> u8 {
        128 + self.0
    }
}

impl std::fmt::Display for StopSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match i32::from(self.0) {
            SIGINT => write!(f, "SIGINT"),
            SIGTERM => write!(f, "SIGTERM"),
            SIGHUP => write!(f, "SIGHUP"),
            other => write!(f, "signal {other}"),
        }
    }
}

impl Signals {
    pub fn listen() -> Result<Self, Failure> {
        let (got, any) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: at the first signal the flag is not set yet.
            let listen = || {
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&any))?;
                flag::register(signal, Arc::clone(&any))?;
                flag::register_usize(signal, Arc::clone(&got), signal.unsigned_abs() as usize)
            };
            listen().map_err(|error: std::io::Error| {
                Failure::work_as(Code::ProcessFault, "signals cannot be listened to").caused_by(&error)
            })?;
        }
        Ok(Self { got })
    }

    pub fn stop(&self) -> Option<StopSignal> {
        match self.got.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(StopSignal(u8::try_from(signal).unwrap_or(0))),
        }
    }
}
