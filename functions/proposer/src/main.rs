//! Tells the sinks that `propose.fifo` names.

use proofyard_proposer::Proposing;
use proofyard_telling::run_telling;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run_telling(Proposing::of)
}
