//! What takes the facts of this machine's sources: they are recorded at once.

use std::sync::Arc;
use std::time::Duration;

use proofyard_core::Yard;
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::ChainName;
use proofyard_intake::{Fact, Intake, record};
use proofyard_worker::WorkerHome;

use super::Shared;
use super::feed::FeedError;

/// The pause after a transient error, such as a full disk, before the same is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// The machine, as its sources see it. It holds the machine's state open, not its threads.
#[derive(Clone)]
pub struct LocalIntake {
    shared: Arc<Shared>,
}

impl LocalIntake {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }

    /// Waits; false where the machine stops meanwhile.
    pub fn pause(&self, pause: Duration) -> bool {
        self.shared.pause(pause)
    }

    /// Shows an error after which the source goes on.
    pub fn log_error(&self, what: &str, error: &dyn std::error::Error) {
        self.shared.log_error(what, error);
    }
}

impl Intake for LocalIntake {
    type Error = FeedError;

    fn yard(&self) -> &Yard {
        &self.shared.yard
    }

    async fn take(&self, chain: &ChainName, fact: &Fact) -> Result<Option<BlockOutcome>, FeedError> {
        record(self.yard(), chain, fact, async |payload| Ok(self.shared.artifacts.put_bytes(payload)?)).await
    }

    async fn may_try_again(&self, error: &FeedError) -> bool {
        if !error.passes() {
            return false;
        }
        self.log_error("a source", error);
        self.pause(ERROR_PAUSE)
    }
}
