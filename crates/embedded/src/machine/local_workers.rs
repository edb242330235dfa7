//! An item that only this home has: the workers that this process has registered.

use proofyard_core::error::Error;
use proofyard_core::port::{Key, Port};
use proofyard_core::state::{KeyFamily, WorkerId};
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};

/// Workers registered by the process that has, or last had, this directory. The next process expires them at its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LocalWorkers {
    pub ids: Vec<WorkerId>,
}

impl LocalWorkers {
    fn key_here() -> Key {
        KeyFamily::LocalWorkers.key("")
    }
}

impl Item for LocalWorkers {
    fn key(&self) -> Key {
        Self::key_here()
    }
}

pub(crate) async fn local_workers(port: &dyn Port) -> Result<Vec<WorkerId>, Error> {
    let workers: Option<LocalWorkers> = read(port, &LocalWorkers::key_here()).await?;
    Ok(workers.unwrap_or_default().ids)
}

pub(crate) async fn remember_worker(port: &dyn Port, id: &WorkerId) -> Result<(), Error> {
    change_workers(port, |ids| ids.push(id.clone())).await
}

pub(crate) async fn forget_worker(port: &dyn Port, id: &WorkerId) -> Result<(), Error> {
    change_workers(port, |ids| ids.retain(|known| known != id)).await
}

async fn change_workers(port: &dyn Port, change: impl Fn(&mut Vec<WorkerId>)) -> Result<(), Error> {
    transact(port, async |tx| {
        let workers: Option<LocalWorkers> = tx.check(&LocalWorkers::key_here()).await?;
        let mut workers = workers.unwrap_or_default();
        change(&mut workers.ids);
        tx.put(&workers)
    })
    .await
}
