//! What became of what was sent: blocks have it, or had it and have it no more, or nobody has it, or it offers too little, or
//! something else has its nonce, or nothing has the nonce before it.

use std::collections::BTreeSet;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718;
use alloy_primitives::{B256, TxKind, hex};

use crate::account::Account;
use crate::chain::{Call, Chain, Head, Heard};
use crate::gaps::{FILLER, given_up};
use crate::journal::{Ended, Fees, Included, Journal, Refused, Sent, Try};
use crate::{Failure, Surroundings};

/// Blocks under which nothing is looked at again: deeper than any reorg of a chain that finalizes in 64 slots.
pub(crate) const SETTLED_DEPTH: u64 = 128;
/// Blocks after which a nonce that is gone is gone for good.
const OVERTAKEN_DEPTH: u64 = 12;
/// A transaction is offered so often, each time for more.
const MAX_TRIES: usize = 16;
const WEI_A_GWEI: u128 = 1_000_000_000;

/// What a unit of gas is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub max_fee_wei: u128,
    pub priority_fee_wei: u128,
}

impl Fees {
    /// What the chain asks now, with room for the base fee to double; or why that is too much.
    pub async fn offer(&self, chain: &Chain, head: &Head) -> Result<Offer, Failure> {
        let base = head.base_fee_per_gas.ok_or_else(|| {
            Failure::Refused(
                "the chain has no base fee (EIP-1559), and such transactions alone are sent".to_owned(),
            )
        })?;
        let priority_fee_wei = chain.priority_fee_wei().await;
        let least = base.wei().saturating_add(priority_fee_wei);
        let wanted = least.saturating_add(base.wei());
        match self.cap_wei().filter(|cap| *cap < wanted) {
            Some(cap) if cap < least => Err(Failure::later(format!(
                "a unit of gas costs {} gwei now, and `max_fee_gwei` is {}",
                least.div_ceil(WEI_A_GWEI),
                cap / WEI_A_GWEI
            ))),
            Some(cap) => Ok(Offer { max_fee_wei: cap, priority_fee_wei }),
            None => Ok(Offer { max_fee_wei: wanted, priority_fee_wei }),
        }
    }

    fn cap_wei(&self) -> Option<u128> {
        self.max_fee_gwei.map(|gwei| u128::from(gwei) * WEI_A_GWEI)
    }

    /// What is offered next: a quarter more than before, which is more than nodes ask of a replacement, and what the chain asks
    /// now. `None` where the chain asks no more than was offered; what that is worth is bounded by what it asks.
    fn above(&self, before: &Try, now: Offer) -> Option<Result<Offer, String>> {
        let asks_more =
            now.max_fee_wei > before.max_fee_wei || now.priority_fee_wei > before.priority_fee_wei;
        if !asks_more {
            return None;
        }
        let raised = |wei: u128| wei.saturating_add(wei.div_ceil(4)).saturating_add(1);
        let offer = Offer {
            max_fee_wei: raised(before.max_fee_wei).max(now.max_fee_wei),
            priority_fee_wei: raised(before.priority_fee_wei).max(now.priority_fee_wei),
        };
        Some(match self.cap_wei().filter(|cap| offer.max_fee_wei > *cap) {
            Some(cap) => Err(format!("the chain asks for more, and `max_fee_gwei` is {}", cap / WEI_A_GWEI)),
            None => Ok(offer),
        })
    }
}

/// A transaction's bytes.
pub(crate) async fn signed(
    transaction: TxEip1559,
    account: &Account<'_>,
    (at_ms, at_height): (u64, u64),
) -> Result<Try, Failure> {
    let (max_fee_wei, priority_fee_wei) = (transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas);
    let signature = account.sign(&transaction.signature_hash()).await?;
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    let raw = hex::encode_prefixed(envelope.encoded_2718());
    Ok(Try { hash: *envelope.tx_hash(), raw, max_fee_wei, priority_fee_wei, at_ms, at_height })
}

pub(crate) fn transaction(chain_id: u64, nonce: u64, gas_limit: u64, offer: Offer, call: &Call) -> TxEip1559 {
    TxEip1559 {
        chain_id,
        nonce,
        gas_limit,
        max_fee_per_gas: offer.max_fee_wei,
        max_priority_fee_per_gas: offer.priority_fee_wei.min(offer.max_fee_wei),
        to: TxKind::Call(call.to),
        value: call.value,
        access_list: Default::default(),
        input: call.data.clone(),
    }
}

/// One look at all that an account has under way.
pub(crate) struct Look<'a, S> {
    pub chain: &'a Chain,
    pub account: &'a Account<'a>,
    pub head: &'a Head,
    /// Transactions of the account that the chain has.
    pub count: u64,
    pub surroundings: &'a S,
}

impl<S: Surroundings> Look<'_, S> {
    /// Brings the journal up to the chain. Answers what nodes said against a transaction that nobody has, if anything.
    pub async fn at(&self, journal: &mut Journal) -> Result<Option<String>, Failure> {
        self.forget_what_left_the_chain(journal).await?;
        let mut complaint = None;
        let fillers = journal.open().filter(|sent| sent.sink == FILLER);
        let filled: BTreeSet<u64> = fillers.map(|filler| filler.nonce).collect();
        for sent in journal.sent.iter_mut().filter(|sent| sent.ended.is_none()) {
            if sent.included.is_none() {
                sent.included = self.inclusion(sent).await?;
            }
            match &sent.included {
                Some(included) => {
                    if self.depth(included.height) >= SETTLED_DEPTH {
                        sent.ended =
                            Some(if included.has_succeeded { Ended::Included } else { Ended::Reverted });
                    }
                }
                None if sent.nonce < self.count => {
                    complaint = Some(match self.overtaken(sent).await {
                        Ok(()) => format!("nonce {} is used, by what is looked for", sent.nonce),
                        // The node may have forgotten so old a state: that is a matter of this entry, and of no other.
                        Err(failure) => {
                            let reason = failure.reason();
                            format!("nonce {} is used, and by what cannot be seen: {reason}", sent.nonce)
                        }
                    });
                }
                None if sent.sink != FILLER && filled.contains(&sent.nonce) => {
                    complaint = Some(given_up(sent.nonce));
                }
                None => complaint = self.sent_again(sent).await?.or(complaint),
            }
        }
        let given_up = self.give_up(journal).await?;
        let missing = self.gap(journal).await?;
        Ok(given_up.or(missing).or(complaint))
    }

    /// Blocks on a height and above it, itself counted.
    pub fn depth(&self, height: u64) -> u64 {
        self.head.number.number().saturating_add(1).saturating_sub(height)
    }

    /// Blocks that a reorg took away. All above one that still stands were looked at before.
    async fn forget_what_left_the_chain(&self, journal: &mut Journal) -> Result<(), Failure> {
        for sent in journal.sent.iter_mut().rev().filter(|sent| sent.ended.is_none()) {
            let Some(included) = &sent.included else { continue };
            match self.chain.hash_at(included.height).await? {
                Some(block) if block == included.block => return Ok(()),
                Some(_) => sent.included = None,
                // It is behind, and says nothing of a reorg.
                None => return Err(Failure::later(format!("the node has no block {} yet", included.height))),
            }
        }
        Ok(())
    }

    async fn inclusion(&self, sent: &Sent) -> Result<Option<Included>, Failure> {
        for each in sent.tries.iter().rev() {
            if let Some(receipt) = self.chain.receipt(each.hash).await? {
                return Ok(Some(Included {
                    transaction: each.hash,
                    height: receipt.block_number.number(),
                    block: receipt.block_hash,
                    has_succeeded: receipt.status.number() == 1,
                    gas_used: receipt.gas_used.number(),
                }));
            }
        }
        Ok(None)
    }

    /// Its nonce is gone: the block is looked for in which it went, once that is deep. That nobody has a receipt says nothing.
    async fn overtaken(&self, sent: &mut Sent) -> Result<(), Failure> {
        let account = self.account.address;
        let Some(deep) = self.head.number.number().checked_sub(OVERTAKEN_DEPTH) else { return Ok(()) };
        if self.chain.transactions_of(account, deep).await? <= sent.nonce {
            return Ok(());
        }
        let (mut below, mut height) = (sent.tries.first().map_or(0, |first| first.at_height), deep);
        while below < height {
            let middle = below + (height - below) / 2;
            match self.chain.transactions_of(account, middle).await? > sent.nonce {
                true => height = middle,
                false => below = middle + 1,
            }
        }
        let user = self.chain.user_of(account, sent.nonce, height).await?;
        // One of ours is found by its receipt, from another node if need be.
        if user.is_some_and(|user| sent.tries.iter().all(|each| each.hash != user)) {
            sent.ended = Some(Ended::Overtaken);
        }
        Ok(())
    }

    /// Gives nodes what they have lost, and offers more for what waits too long while the chain asks for more.
    async fn sent_again(&self, sent: &mut Sent) -> Result<Option<String>, Failure> {
        let Some(last) = sent.tries.last().cloned() else { return Ok(None) };
        let mut complaint = None;
        match self.chain.knows(last.hash).await? {
            true => sent.refused = None,
            false => {
                complaint = self.given(sent, &last).await;
                if complaint.is_none() {
                    return Ok(None);
                }
            }
        }
        let waited_ms = self.surroundings.now_ms().saturating_sub(last.at_ms);
        let is_next = sent.nonce == self.count && self.head.number.number() > last.at_height;
        if waited_ms < sent.fees.replace_after_ms || !is_next {
            return Ok(complaint);
        }
        let now = Fees { max_fee_gwei: None, ..sent.fees }.offer(self.chain, self.head).await?;
        let replacement = match sent.fees.above(&last, now) {
            None => return Ok(complaint),
            Some(Err(complaint)) => return Ok(Some(complaint)),
            Some(Ok(_)) if sent.tries.len() >= MAX_TRIES => {
                return Ok(Some(format!(
                    "it was offered {MAX_TRIES} times, at last for {} gwei a unit of gas, and the chain asks for {}: that this falls is \
                     waited for",
                    last.max_fee_wei / WEI_A_GWEI,
                    now.max_fee_wei.div_ceil(WEI_A_GWEI)
                )));
            }
            Some(Ok(offer)) => self.replacement(&last, offer).await?,
        };
        // It stays refused until a node takes one of them: what asks for more is no easier to take.
        sent.tries.push(replacement);
        // It is sent by the next look, once it is written down.
        Ok(None)
    }

    async fn given(&self, sent: &mut Sent, last: &Try) -> Option<String> {
        let before = sent.refused.take();
        match self.chain.send(&last.raw).await {
            Heard::Taken => None,
            Heard::Unclear(reason) => Some(reason),
            Heard::Refused(reason) => {
                let (since_ms, since_height) = (self.surroundings.now_ms(), self.head.number.number());
                sent.refused = before.or(Some(Refused { since_ms, since_height }));
                Some(reason)
            }
        }
    }

    /// The same call under the same nonce.
    async fn replacement(&self, last: &Try, offer: Offer) -> Result<Try, Failure> {
        let damaged = || Failure::Refused(format!("the journal's transaction {} cannot be read", last.hash));
        let raw = hex::decode(&last.raw).map_err(|_| damaged())?;
        let envelope = <TxEnvelope as alloy_eips::Decodable2718>::decode_2718(&mut raw.as_slice());
        let Ok(TxEnvelope::Eip1559(before)) = envelope else { return Err(damaged()) };
        let mut transaction = before.strip_signature();
        transaction.max_fee_per_gas = offer.max_fee_wei;
        transaction.max_priority_fee_per_gas = offer.priority_fee_wei.min(offer.max_fee_wei);
        let at = (self.surroundings.now_ms(), self.head.number.number());
        signed(transaction, self.account, at).await
    }
}

/// The names of transactions as texts show them.
pub(crate) fn shown(transaction: &B256) -> String {
    hex::encode_prefixed(transaction)
}
