//! A nonce below all that is under way, which nobody has a transaction with: such as where a journal was lost and restored, or where
//! something was sent by hand and dropped. Nothing above it can get into a block, so it is filled with a transfer of nothing to
//! the account itself, once no node has had another with it for as long as a transaction is waited for before it is replaced.
//!
//! A nonce whose transaction every node refuses for good is no better, and is filled in the same way. Which of the two a block takes
//! in the end is seen as of any other nonce, so that what was refused is sent anew only once it can no longer take effect.
//!
//! What fills it is in the journal like all else: it is sent again, replaced and found after a crash in the same way.

use alloy_primitives::{Bytes, Selector, U256};

use crate::Surroundings;
use crate::chain::{Call, Tried};
use crate::journal::{Gap, Journal, Sent};
use crate::settling::{Look, signed, transaction};
use crate::{Failure, abi};

/// For whom it is sent: no sink is called so.
pub(crate) const FILLER: &str = "account/gap";
/// What every node refuses is given up after so many times the time after which it would be replaced.
const REFUSED_FOR: u64 = 10;

impl<S: Surroundings> Look<'_, S> {
    /// What is said of a nonce that is missing, if one is.
    pub(crate) async fn gap(&self, journal: &mut Journal) -> Result<Option<String>, Failure> {
        let before = journal.gap.take();
        let lowest = journal.open().find(|sent| sent.included.is_none());
        let Some(lowest) = lowest.filter(|sent| sent.nonce > self.count).cloned() else { return Ok(None) };
        let (nonce, address) = (self.count, self.account.address);
        let (now_ms, height) = (self.surroundings.now_ms(), self.head.number.number());
        let first_seen = Gap { nonce, since_ms: now_ms, since_height: height };
        let gap = before.filter(|gap| gap.nonce == nonce).unwrap_or(first_seen);
        match self.chain.next_pending(address).await {
            Ok(next) if next > nonce => {
                return Ok(Some(format!(
                    "nonce {nonce} of {address} is that of a transaction that nodes have, and that no block has yet"
                )));
            }
            Ok(_) => {}
            // That node may have it.
            Err(failure) => {
                journal.gap = Some(gap);
                let reason = failure.reason();
                return Ok(Some(format!(
                    "nonce {nonce} of {address} is missing, and a node does not say whether it has it: {reason}"
                )));
            }
        }
        let left_ms = lowest.fees.replace_after_ms.saturating_sub(now_ms.saturating_sub(gap.since_ms));
        let is_early = left_ms > 0 || height <= gap.since_height;
        journal.gap = Some(gap);
        let missing = format!("nonce {nonce} of {address} is missing, no node has a transaction with it");
        if is_early {
            let left_s = left_ms.div_ceil(1_000);
            return Ok(Some(format!(
                "{missing}; in {left_s} s and a block it is filled with one that does nothing"
            )));
        }
        Ok(Some(match self.filler(nonce, lowest).await {
            Ok(filler) => {
                journal.insert(filler);
                journal.gap = None;
                // It is sent by the next look, once it is written down.
                format!("{missing}; it is filled with one that does nothing")
            }
            Err(failure) => format!("{missing}, and it cannot be filled: {}", failure.reason()),
        }))
    }

    /// Gives up the next transaction where every node has refused it for long. What is said of it then.
    pub(crate) async fn give_up(&self, journal: &mut Journal) -> Result<Option<String>, Failure> {
        let next = journal.open().find(|sent| sent.included.is_none());
        let next = next.filter(|sent| sent.nonce == self.count && sent.sink != FILLER).cloned();
        let Some((next, refused)) = next.and_then(|next| Some((next.clone(), next.refused?))) else {
            return Ok(None);
        };
        let refused_ms = self.surroundings.now_ms().saturating_sub(refused.since_ms);
        let is_early = refused_ms < next.fees.replace_after_ms.saturating_mul(REFUSED_FOR)
            || self.head.number.number() <= refused.since_height;
        // A node that has something with its nonce, or does not say, may have it.
        if is_early || self.chain.next_pending(self.account.address).await.ok() != Some(next.nonce) {
            return Ok(None);
        }
        let nonce = next.nonce;
        Ok(Some(match self.filler(nonce, next).await {
            Ok(filler) => {
                journal.insert(filler);
                given_up(nonce)
            }
            Err(failure) => {
                format!("every node refuses it, and its nonce cannot be filled: {}", failure.reason())
            }
        }))
    }

    /// Its fees are bounded as those of what waits for it.
    async fn filler(&self, nonce: u64, waiting: Sent) -> Result<Sent, Failure> {
        let address = self.account.address;
        let call = Call { from: address, to: address, data: Bytes::new(), value: U256::ZERO };
        let gas = match self.chain.gas_of(&call).await? {
            Tried::Is(gas) => gas,
            Tried::Reverts(data) => {
                let reason = abi::reason(&data, &[]);
                return Err(Failure::Reverts(format!("a transfer to itself would revert: {reason}")));
            }
        };
        let offer = waiting.fees.offer(self.chain, self.head).await?;
        let transaction = transaction(self.chain.chain_id().await?, nonce, gas, offer, &call);
        let now = (self.surroundings.now_ms(), self.head.number.number());
        let first = signed(transaction, self.account, now).await?;
        Ok(Sent {
            sink: FILLER.to_owned(),
            key: format!("nonce/{nonce}"),
            nonce,
            to: address,
            selector: Selector::ZERO,
            fees: waiting.fees,
            has_counted: false,
            tries: vec![first],
            included: None,
            ended: None,
            made_of: None,
            refused: None,
        })
    }
}

/// Of a transaction whose nonce is filled.
pub(crate) fn given_up(nonce: u64) -> String {
    format!(
        "every node refuses it: nonce {nonce} is filled with one that does nothing, and then it is made anew"
    )
}
