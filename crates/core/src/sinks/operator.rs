//! An operator's words to a sink: pause, resume, skip, again. Writes the sink's cursor or place, and nothing else.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Refusal};
use crate::port::Wake;
use crate::state::{ChainName, LevelPlace, OutEntry, OutKind, SinkCursor};
use crate::transaction::{Tx, read, transact};
use crate::yard::{Yard, boxed};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkWord {
    /// It is notified of nothing until it is resumed.
    Pause,
    /// Also tries again at once what failed.
    Resume,
    /// The entry that it waits with is never handed on.
    Skip { sequence: u64 },
    /// All from this entry on is handed on again.
    Again { from: u64 },
}

/// Where the sink is after it: the next entry's sequence, or the lowest height that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkWordDone {
    pub next: u64,
    pub paused: bool,
}

impl Yard {
    #[boxed(?Send)]
    pub async fn tell_sink(
        &self,
        chain: &ChainName,
        sink: &str,
        word: SinkWord,
    ) -> Result<SinkWordDone, Error> {
        let pipeline = self.chain(chain).await?.1;
        let unknown = || Refusal::UnknownSink { chain: chain.clone(), sink: sink.to_owned() };
        let settings = pipeline.sinks.get(sink).ok_or_else(unknown)?;
        match settings.is_level() {
            true => {
                let place = self.level_place(chain, sink).await?.ok_or_else(unknown)?;
                transact(&self.port, async |tx| self.tell_level(tx, &place, word).await).await
            }
            false => {
                let log = pipeline.log_of(settings.stage);
                // What is skipped; or what is right before the first that comes again.
                let named = match word {
                    SinkWord::Skip { sequence } => Some(sequence),
                    SinkWord::Again { from } => from.checked_sub(1),
                    SinkWord::Pause | SinkWord::Resume => None,
                };
                let entry: Option<OutEntry> = match named {
                    Some(sequence) => read(&self.port, &OutEntry::key_of(chain, log, sequence)).await?,
                    None => None,
                };
                transact(&self.port, async |tx| {
                    self.tell_ordered(tx, chain, sink, log, word, entry.as_ref()).await
                })
                .await
            }
        }
    }

    async fn tell_ordered(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        sink: &str,
        log: &str,
        word: SinkWord,
        entry: Option<&OutEntry>,
    ) -> Result<SinkWordDone, Error> {
        let cursor: Option<SinkCursor> = tx.check(&SinkCursor::key_of(chain, sink, log)).await?;
        let cursor = cursor.unwrap_or_else(|| SinkCursor::at(chain, sink, log, 0));
        let next = cursor.next_sequence;
        let cursor = match word {
            SinkWord::Pause => SinkCursor { paused: true, ..cursor },
            SinkWord::Resume => SinkCursor { paused: false, ..cursor.untried() },
            SinkWord::Skip { sequence } => match entry {
                None => return Err(Refusal::NoEntry { log: log.to_owned(), sequence }.into()),
                // It was skipped already, by this call or by another.
                Some(_) if sequence.checked_add(1) == Some(next) => cursor,
                Some(entry) if sequence == cursor.waits_with() => match entry.kind {
                    // Whether it may have it was written down when that was offered.
                    OutKind::Proof { .. } => cursor.passed(entry),
                    OutKind::Retract { .. } => cursor.handed(entry),
                },
                Some(_) => {
                    let next = cursor.waits_with();
                    return Err(Refusal::SkipsAnother { sink: sink.to_owned(), sequence, next }.into());
                }
            },
            SinkWord::Again { from } if from > next => {
                return Err(Refusal::NotYetHandedOn { sink: sink.to_owned(), from, next }.into());
            }
            // A retract that comes again takes back only what came again before it.
            SinkWord::Again { from } => {
                let handed_before = SinkCursor::handed_before(entry);
                SinkCursor {
                    next_sequence: from,
                    handed_below: Some(
                        cursor.handed_below.map_or(handed_before, |below| below.min(handed_before)),
                    ),
                    chosen: None,
                    next_call_ms: None,
                    looked: None,
                    ..cursor.untried()
                }
            }
        };
        tx.put(&cursor)?;
        told(tx, chain, sink);
        Ok(SinkWordDone { next: cursor.next_sequence, paused: cursor.paused })
    }

    async fn tell_level(
        &self,
        tx: &mut Tx<'_>,
        known: &LevelPlace,
        word: SinkWord,
    ) -> Result<SinkWordDone, Error> {
        let (chain, sink) = (&known.chain, &known.sink);
        let place: Option<LevelPlace> = tx.check(&LevelPlace::key_of(chain, sink)).await?;
        let place = place.unwrap_or_else(|| known.clone());
        let place = match word {
            SinkWord::Pause => LevelPlace { paused: true, ..place },
            SinkWord::Resume => LevelPlace { paused: false, ..place.untried() },
            SinkWord::Skip { .. } | SinkWord::Again { .. } => {
                return Err(Refusal::LevelSink { sink: sink.clone() }.into());
            }
        };
        tx.put(&place)?;
        told(tx, chain, sink);
        Ok(SinkWordDone { next: place.settled_below, paused: place.paused })
    }
}

fn told(tx: &mut Tx<'_>, chain: &ChainName, sink: &str) {
    tx.send(Wake::Sink { chain: chain.clone(), sink: sink.to_owned() });
    tx.durable();
}
