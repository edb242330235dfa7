//! The `stream` provers that stay alive from one attempt to the next, so that their keys stay loaded.
//!
//! There is at most one session for each prover and role; proving and verifying are different processes. A session that
//! broke the protocol, died or was cancelled is not used again: the next request starts another.

use std::collections::HashMap;

use proofyard_prover::message::SetupRequest;
use proofyard_prover::runner::{Cancel, Launch, ProverError, Session};

use super::job::Job;
use super::verification_key::expect_pinned_key;
use crate::isolation::Role;

#[derive(Default)]
pub(super) struct Sessions {
    waiting: HashMap<(String, Role), Session>,
}

impl Sessions {
    /// Sends a request to the session of this prover; starts and sets one up if there is none.
    pub fn ask<T>(
        &mut self,
        job: Job<'_>,
        role: Role,
        launch: &Launch,
        cancel: &Cancel,
        request: impl FnOnce(&mut Session) -> Result<T, ProverError>,
    ) -> Result<T, ProverError> {
        let key = (job.program(), role);
        let known = self.waiting.remove(&key).and_then(|mut session| session.is_waiting().then_some(session));
        let mut session = match known {
            Some(session) => session,
            None => started(job, launch, cancel)?,
        };
        // Stages with limits of their own may share a prover.
        session.set_limits(launch.limits.clone());
        let answer = request(&mut session);
        if session.is_usable() {
            self.waiting.insert(key, session);
        }
        answer
    }
}

fn started(job: Job<'_>, launch: &Launch, cancel: &Cancel) -> Result<Session, ProverError> {
    let mut session = Session::start(launch)?;
    let setup = SetupRequest {
        gpus: launch.gpus.clone().unwrap_or_default(),
        arguments: job.prover.arguments.clone(),
    };
    let ok = session.setup(&setup, cancel)?;
    match ok.verification_key {
        Some(key) => expect_pinned_key(job, &key, launch).map(|()| session),
        None => Ok(session),
    }
}
