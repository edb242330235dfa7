//! One step of a sink: what it is to be told next is asked of the yard, told, and how that went is written down. Every home
//! drives its sinks by this alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proofyard_core::error::Error;
use proofyard_core::sinks::{BlockNews, Trouble};
use proofyard_core::state::{ArtifactRef, ChainName, OutEntry, OutKind};
use proofyard_core::yard::Yard;

use crate::{Message, Outcome};

/// How a home tells one sink.
pub trait Teller {
    fn tell(&mut self, message: &Message) -> impl Future<Output = Outcome>;

    /// Where an artifact lies, as messages say it.
    fn place_of(&self, artifact: &ArtifactRef) -> PathBuf;

    /// Whether no other message is to be begun now.
    fn is_stopped(&self) -> bool;

    /// What an operator is to know.
    fn log(&self, message: String);
}

/// One sink of one chain.
#[derive(Clone, Copy, Debug)]
pub struct SinkOf<'a> {
    pub chain: &'a ChainName,
    pub name: &'a str,
    /// It is notified of blocks, and reads no log.
    pub is_level: bool,
    /// Stages whose outcome its messages name.
    pub results: &'a BTreeSet<String>,
    /// Its messages name fields of blocks.
    pub names_block: bool,
}

impl SinkOf<'_> {
    /// Tells a sink what comes next; answers whether there was anything.
    pub async fn step(self, yard: &Yard, teller: &mut impl Teller) -> Result<bool, Error> {
        match self.is_level {
            true => self.tell_blocks(yard, teller).await,
            false => self.hand_on(yard, teller).await,
        }
    }

    async fn hand_on(self, yard: &Yard, teller: &mut impl Teller) -> Result<bool, Error> {
        let Some(entry) = yard.sink_next(self.chain, self.name).await? else { return Ok(false) };
        let results = self.results_of(yard, &entry, teller).await?;
        let block = self.block_of(yard, &entry, teller).await?;
        if !results.is_empty() || block.is_some() {
            // As the entry is, these are on disk before the sink has them.
            yard.port.sync().await?;
        }
        let message = Message::of_entry(entry.clone(), proofs_of(&entry, teller), results, block);
        let trouble = match teller.tell(&message).await {
            Outcome::Done => return yard.sink_done(self.name, &entry).await.map(|()| true),
            Outcome::Interrupted => return Ok(true),
            // An order has no gaps: it is tried again until it is taken, or an operator skips it.
            Outcome::Refused(reason) => Trouble::saying(reason),
            Outcome::Later(trouble) => trouble,
        };
        teller.log(format!("entry {}: {}", entry.sequence, trouble.reason));
        yard.sink_failed(self.name, &entry, &trouble).await.map(|()| true)
    }

    /// What the stages gave that its messages name, where the entry's block or cut has such.
    async fn results_of(
        self,
        yard: &Yard,
        entry: &OutEntry,
        teller: &impl Teller,
    ) -> Result<BTreeMap<String, PathBuf>, Error> {
        let mut places = BTreeMap::new();
        let OutKind::Proof { scope, .. } = &entry.kind else { return Ok(places) };
        for stage in self.results {
            if let Some(artifact) = yard.output_of(scope, stage).await? {
                places.insert(stage.clone(), teller.place_of(&artifact));
            }
        }
        Ok(places)
    }

    async fn block_of(
        self,
        yard: &Yard,
        entry: &OutEntry,
        teller: &impl Teller,
    ) -> Result<Option<PathBuf>, Error> {
        let OutKind::Proof { scope, .. } = &entry.kind else { return Ok(None) };
        let payload = if self.names_block { yard.last_payload(scope).await? } else { None };
        Ok(payload.map(|payload| teller.place_of(&payload)))
    }

    async fn tell_blocks(self, yard: &Yard, teller: &mut impl Teller) -> Result<bool, Error> {
        let news = yard.level_next(self.chain, self.name).await?;
        let any = !news.is_empty();
        for news in news {
            if teller.is_stopped() || !yard.level_sending(&news).await? {
                continue;
            }
            let message = Message::of_block(&news, |artifact| teller.place_of(artifact));
            match teller.tell(&message).await {
                Outcome::Done => yard.level_done(&news).await?,
                Outcome::Interrupted => return Ok(any),
                Outcome::Refused(reason) => {
                    teller.log(of_block(&news, &reason));
                    yard.level_refused(&news, &reason).await?;
                }
                Outcome::Later(trouble) => {
                    teller.log(of_block(&news, &trouble.reason));
                    yard.level_failed(&news, &trouble).await?;
                    return Ok(any);
                }
            }
        }
        Ok(any)
    }
}

fn of_block(news: &BlockNews, reason: &str) -> String {
    format!("block {} as {}: {reason}", news.height, news.word.name())
}

fn proofs_of(entry: &OutEntry, teller: &impl Teller) -> Vec<PathBuf> {
    let OutKind::Proof { proofs, .. } = &entry.kind else { return Vec::new() };
    proofs.iter().map(|proof| teller.place_of(&proof.artifact)).collect()
}
