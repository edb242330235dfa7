//! What a command line says about keeping provers from their verifiers.

use clap::Args;
use proofyard_prover::runner::User;
use proofyard_worker::isolation::{IsolationError, Wanted, WantedKind};

#[derive(Args)]
pub struct IsolationArguments {
    /// Provers run as this user in the first slot, and as the next uid in each further one; it takes root.
    #[arg(long, value_name = "UID:GID", env = "PROOFYARD_PROVER_USER")]
    prover_user: Option<User>,
    /// Verifiers, likewise.
    #[arg(long, value_name = "UID:GID", env = "PROOFYARD_VERIFIER_USER")]
    verifier_user: Option<User>,
    /// What keeps provers from their verifiers: users (of their own, as root), landlock,
    /// namespaces, none, or auto, the best of these.
    #[arg(long, value_name = "HOW", env = "PROOFYARD_ISOLATION", default_value = "auto")]
    isolation: WantedKind,
}

impl IsolationArguments {
    pub fn wanted(&self) -> Result<Wanted, IsolationError> {
        Wanted::from_options(self.isolation, self.prover_user, self.verifier_user)
    }
}
