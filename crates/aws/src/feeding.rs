//! A blocks file, posted to a yard on AWS: each line once, also when it is posted again after a crash.
//!
//! How far it came is kept in the state, so that a reorg line is not taken a second time. A block line may be posted
//! twice, after a crash in between, and changes nothing then.

use proofyard_blocks::Line;
use proofyard_core::error::{Error, Refusal};
use proofyard_core::port::{Key, Port};
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::home::Home;
use crate::message::Message;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Posted {
    chain: String,
    lines: u64,
    /// SHA-256 of the last line posted: the file may grow, and must not change.
    last_sha256: String,
}

impl Posted {
    fn key_of(chain: &str) -> Key {
        Key::new(format!("L#{chain}"), "posted")
    }
}

impl Item for Posted {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
}

impl Home {
    /// Posts the lines of a checked file that were not posted before, and the end of it; answers how many those were.
    /// `lines` gives their numbers, and the height that a reorg line's hash has.
    pub async fn post_lines(
        &self,
        chain: &str,
        lines: impl IntoIterator<Item = Result<(u64, Line), String>>,
    ) -> Result<u64, Error> {
        let port = &self.yard.port;
        let before: Option<Posted> = read(port, &Posted::key_of(chain)).await?;
        let (taken, last) = before.map_or((0, String::new()), |posted| (posted.lines, posted.last_sha256));
        let mut heights = std::collections::HashMap::new();
        let (mut posted, mut seen) = (0, 0);
        for next in lines {
            let (number, line) = next.map_err(Refusal::Invalid)?;
            seen = number;
            if let Line::Block(block) = &line {
                heights.insert(block.hash, block.height);
            }
            let last_sha256 = digest(&line);
            if number <= taken {
                if number == taken && last_sha256 != last {
                    return Err(changed(&format!("line {number} is not the one that was posted before")));
                }
                continue;
            }
            let message = match &line {
                Line::Block(block) => {
                    let block = self.keep_payload(block).await.map_err(unavailable)?;
                    Message::Block { chain: chain.to_owned(), block }
                }
                Line::Reorg { hash } => Message::Reorg {
                    chain: chain.to_owned(),
                    // The whole file was checked: the block stands above its reorg line.
                    height: heights.get(hash).copied().unwrap_or_default(),
                    hash: format!("0x{}", hex::encode(hash)),
                },
            };
            self.post_one(chain, &message).await?;
            self.remember(Posted { chain: chain.to_owned(), lines: number, last_sha256 }).await?;
            posted += 1;
        }
        if seen < taken {
            return Err(changed(&format!("{taken} lines were posted before, and it now has {seen}")));
        }
        self.post_one(chain, &Message::End { chain: chain.to_owned() }).await?;
        Ok(posted)
    }

    async fn post_one(&self, chain: &str, message: &Message) -> Result<(), Error> {
        let deduplication = format!("posted-{:016x}", self.yard.port.random());
        self.post(chain, deduplication, message).await.map_err(unavailable)
    }

    async fn remember(&self, posted: Posted) -> Result<(), Error> {
        transact(&self.yard.port, async |tx| {
            tx.check::<Posted>(&posted.key()).await?;
            tx.put(&posted)
        })
        .await
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    proofyard_core::port::PortError::Unavailable(error.to_string()).into()
}

fn changed(what: &str) -> Error {
    let way_out =
        "a blocks file may only grow, so put back what it had, or use another yard for other blocks";
    Refusal::Invalid(format!("the blocks file has changed: {what}; {way_out}")).into()
}

fn digest(line: &Line) -> String {
    match line {
        Line::Block(block) => hex::encode(Sha256::digest(&block.payload)),
        Line::Reorg { hash } => hex::encode(hash),
    }
}
