//! A yard in a directory of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofyard_core::Yard;
use proofyard_core::operation::{Answer, Operation};
use proofyard_embedded::lock::DataDirError;
use proofyard_embedded::machine::{Machine, MachineError, ask, is_running, look};
use proofyard_worker::artifacts::Artifacts;

use crate::failure::Failure;
use crate::yard::YardAccess;

pub struct Here {
    pub data: PathBuf,
}

impl YardAccess for Here {
    type Artifacts = Artifacts;

    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        proofyard_embedded::block_on(handler)
    }

    fn look(&self) -> Result<Box<Yard>, Failure> {
        Ok(Box::new(look(&self.data)?))
    }

    fn artifacts(&self, _scratch: &Path) -> Result<Arc<Artifacts>, Failure> {
        Ok(Arc::new(Artifacts::reading(&self.data)))
    }

    fn store(&self, _scratch: &Path) -> Result<Arc<Artifacts>, Failure> {
        match Machine::open(&self.data, true, |_| {}) {
            Ok(_) | Err(MachineError::DataDir(DataDirError::InUse { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Arc::new(Artifacts::beside(&self.data)))
    }

    fn carry_out(&self, operation: &Operation) -> Result<Answer, Failure> {
        Ok(ask(&self.data, operation)?)
    }

    fn is_running(&self) -> Option<bool> {
        Some(is_running(&self.data))
    }

    fn name(&self) -> String {
        self.data.display().to_string()
    }

    fn has_no_chain(&self) -> String {
        format!("the yard in {} has no chain yet", self.name())
    }
}
