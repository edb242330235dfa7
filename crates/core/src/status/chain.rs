//! `status`: one chain at a glance, and the chains there are.

use super::ChainStatus;
use crate::error::Error;
use crate::port::Port;
use crate::yard::Yard;

impl<P: Port> Yard<P> {
    /// Where a chain is; `with_tasks` adds a row for each open task.
    pub async fn status(&self, chain: &str, with_tasks: bool) -> Result<ChainStatus, Error> {
        let _ = (chain, with_tasks);
        Err(crate::Refusal::Invalid("not built yet".into()).into())
    }

    /// The names of this yard's chains.
    pub async fn chains(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}
