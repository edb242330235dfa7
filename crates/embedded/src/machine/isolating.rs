//! Before provers run here: which isolation is in force, and the folder that they write below.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use proofyard_core::pipeline::Pipeline;
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::WorkDir;
use proofyard_worker::isolation::{Host, Isolation, Wanted, needed_by};

use super::pools::pools_of;
use super::{Machine, MachineError};

impl Machine {
    /// Chooses how provers of these pipelines are isolated here, from their verifiers and from this yard.
    pub fn isolate(
        &self,
        wanted: Wanted,
        pipelines: &[Pipeline],
        guard: &GuardCommand,
    ) -> Result<Isolation, MachineError> {
        let path = std::path::absolute(self.data_dir());
        let folder = path.map_err(|source| self.cannot("opened", source))?;
        let before = fs::metadata(&folder).map_err(|source| self.cannot("opened", source))?.permissions();
        if wanted.may_be_users() {
            // Other users must be able to pass through it to their own folders.
            let opened = Permissions::from_mode(before.mode() | 0o011);
            fs::set_permissions(&folder, opened).map_err(|source| self.cannot("opened", source))?;
        }
        let mut needed = needed_by(pipelines, guard.program.parent());
        needed.extend([folder.clone(), self.shared.artifacts.root().to_owned()]);
        let needed: Vec<PathBuf> = needed.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        let slots = pools_of(pipelines)?.values().map(|pool| pool.slots).fold(0, u32::saturating_add);
        let host = Host { guard, folder: &folder, needed: &needed, slots };
        let isolation = Isolation::choose(wanted, &host);
        if !isolation.as_ref().is_ok_and(Isolation::has_users) {
            fs::set_permissions(&folder, before).map_err(|source| self.cannot("closed", source))?;
        }
        Ok(isolation?)
    }

    pub(super) fn empty_work_dir(&self, isolation: &Isolation) -> Result<Arc<WorkDir>, MachineError> {
        let path = self.data_dir().join("work");
        let failed = |source| MachineError::Io {
            path: path.clone(),
            doing: "emptied (remove it yourself, and start again)",
            source,
        };
        let emptied = std::path::absolute(&path).and_then(WorkDir::emptied).map_err(&failed)?;
        let opened = if isolation.has_users() { emptied.opened_to_others() } else { Ok(emptied) };
        Ok(Arc::new(opened.map_err(failed)?))
    }
}
