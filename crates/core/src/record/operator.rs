//! An operator's commands: each is one recorded, durable change.

use crate::error::{Error, Refusal};
use crate::listing::put_listing;
use crate::pages::DuePages;
use crate::port::{DueKind, Key, Wake};
use crate::state::{ChainName, Task, TaskId};
use crate::transaction::{Tx, read_many, transact};
use crate::yard::{ChainReads, Yard, boxed};

/// Which parked tasks to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetrySelection {
    AllOf { chain: ChainName },
    Height { chain: ChainName, height: u64 },
    One(TaskId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOutcome {
    pub retried: Vec<TaskId>,
}

impl Yard {
    /// How many heights from the frontier may be in work at once.
    #[boxed(?Send)]
    pub async fn set_window(&self, chain: &ChainName, window: u64) -> Result<(), Error> {
        let pipeline = self.chain(chain).await?.1;
        let cut_rule = pipeline.commit_cut().and_then(|cut| pipeline.stages[cut].cut_rule());
        let least = cut_rule.map_or(1, |rule| rule.size);
        if window < least {
            return Err(Refusal::WindowTooSmall { least }.into());
        }
        transact(&self.port, async |tx| {
            let mut frontier = tx.check_frontier(chain).await?;
            frontier.window = window;
            frontier.due_ms = Some(self.port.now_ms());
            tx.put(&frontier)?;
            tx.send(Wake::Chain { chain: chain.clone() });
            tx.durable();
            Ok(())
        })
        .await
    }

    /// Lists parked tasks again with fresh counts.
    #[boxed(?Send)]
    pub async fn retry(&self, selection: &RetrySelection) -> Result<RetryOutcome, Error> {
        let mut retried = Vec::new();
        for id in self.selected(selection).await? {
            if transact(&self.port, async |tx| self.unpark(tx, &id).await).await? {
                retried.push(id);
            }
        }
        Ok(RetryOutcome { retried })
    }

    /// Parked tasks, as the due index shows them.
    #[boxed(?Send)]
    pub async fn parked(&self, chain: &ChainName) -> Result<Vec<Task>, Error> {
        let mut parked = Vec::new();
        for shard in DueKind::Step.shards() {
            let mut pages = DuePages::all(shard);
            while let Some(page) = pages.next(self).await? {
                let of_chain = page.into_iter().map(|due| due.key);
                let keys: Vec<Key> = of_chain
                    .filter(|key| TaskId::of_key(key).is_some_and(|task| task.chain() == *chain))
                    .collect();
                let found = read_many::<Task>(&self.port, &keys).await?.into_iter().flatten();
                parked.extend(found.filter(|task| task.is_parked()));
            }
        }
        parked.sort_by(|a, b| a.rank().cmp(b.rank()));
        Ok(parked)
    }

    async fn selected(&self, selection: &RetrySelection) -> Result<Vec<TaskId>, Error> {
        let (chain, height) = match selection {
            RetrySelection::One(id) => return Ok(vec![id.clone()]),
            RetrySelection::AllOf { chain } => (chain, None),
            RetrySelection::Height { chain, height } => (chain, Some(*height)),
        };
        let parked = self.parked(chain).await?.into_iter();
        Ok(parked
            .filter(|task| height.is_none_or(|height| task.height() == height))
            .map(|task| task.id().clone())
            .collect())
    }

    async fn unpark(&self, tx: &mut Tx<'_>, id: &TaskId) -> Result<bool, Error> {
        tx.durable();
        let task: Option<Task> = tx.check(&id.task_key()).await?;
        let mut task = task.ok_or_else(|| Refusal::UnknownTask(id.to_string()))?;
        if !task.is_parked() {
            return Ok(false);
        }
        put_listing(tx, task.retry(self.port.now_ms()))?;
        tx.put(&task)?;
        Ok(true)
    }
}
