//! What a follower says of its nodes, beside blocks and reorgs.

use crate::error::Error;
use crate::pipeline::Confirm;
use crate::port::Wake;
use crate::state::{ChainName, Finality, Following};
use crate::transaction::{read, transact};
use crate::yard::{Yard, boxed};

impl Yard {
    /// Records which blocks a node calls safe and finalized. The same again writes nothing.
    #[boxed(?Send)]
    pub async fn record_finality(&self, finality: &Finality) -> Result<(), Error> {
        if read::<Finality>(&self.port, &Finality::key_of(&finality.chain)).await?.as_ref() == Some(finality)
        {
            return Ok(());
        }
        let pipeline = self.chain(&finality.chain).await?.1;
        transact(&self.port, async |tx| {
            tx.check::<Finality>(&Finality::key_of(&finality.chain)).await?;
            for (name, _) in pipeline.sinks.iter().filter(|(_, sink)| sink.confirm != Confirm::Latest) {
                tx.send(Wake::Sink { chain: finality.chain.clone(), sink: name.clone() });
            }
            tx.put(finality)
        })
        .await
    }

    /// Records how following goes. A crash may lose it: the next look at the nodes finds it out again.
    #[boxed(?Send)]
    pub async fn record_following(&self, following: &Following) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            tx.check::<Following>(&Following::key_of(&following.chain)).await?;
            tx.put(following)
        })
        .await
    }

    /// How following went when it was last written down; `None` where no node was ever followed.
    #[boxed(?Send)]
    pub async fn following(&self, chain: &ChainName) -> Result<Option<Following>, Error> {
        read(&self.port, &Following::key_of(chain)).await
    }

    /// What the followed node last called safe and finalized.
    #[boxed(?Send)]
    pub async fn finality(&self, chain: &ChainName) -> Result<Option<Finality>, Error> {
        read(&self.port, &Finality::key_of(chain)).await
    }
}
