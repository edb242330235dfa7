//! Tells the sinks that `notify.fifo` names.

use proofyard_notifier::Notifying;
use proofyard_telling::run_telling;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run_telling(Notifying::of)
}
