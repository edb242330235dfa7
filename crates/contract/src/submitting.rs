//! One entry or task, from its first question to its last confirmation.

use std::cell::Cell;
use std::time::Duration;

use alloy_json_abi::{Error, Function};
use alloy_primitives::{Address, U256};
use proofyard_core::error::with_causes;
use proofyard_core::pipeline::{AccountKey, BLOCK, Contract, ContractRead};
use proofyard_core::sinks::Trouble;
use proofyard_core::state::OutKind;
use proofyard_sinks::{EntryMessage, Message, Outcome};
use serde_json::{Map, Value as Json, json};

use crate::account::Account;
use crate::chain::{Call, Chain, Head, Heard, Tried};
use crate::journal::{Ended, Fees, Held, MAX_OPEN, MadeOf, Name, Sent, Try};
use crate::reading::{TRANSACTION_BYTES, block_in, prefixed, proof_in, result_in, sides};
use crate::settling::{Look, SETTLED_DEPTH, shown, signed, transaction};
use crate::values::{Values, number};
use crate::{Failure, Place, Surroundings, abi};

/// Between two looks at the chain: soon at first, for chains whose blocks come soon.
const FIRST_LOOK: Duration = Duration::from_millis(100);
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(2);
/// What is known only behind one.
pub(crate) const TRANSACTION: &str = "transaction";
/// What the journal keeps of a node's answer.
const KEPT_BYTES: usize = 16_384;
/// No transaction may use more gas (EIP-7825).
const TRANSACTION_GAS: u64 = 1 << 24;
/// As old as a state may be of which nodes still answer.
const OLDEST_STATE: u64 = 120;

/// Whether all that the pipeline says of a call can be read, and its key is there. No node is asked.
pub fn check(contract: &Contract, surroundings: &impl Surroundings) -> Result<String, Failure> {
    let function = abi::function(&contract.function)?;
    abi::check_count(&function, &contract.arguments)?;
    abi::errors(&contract.errors)?;
    for (name, read) in contract.all_reads() {
        match read {
            ContractRead::Call { function, arguments, .. } => {
                let function = abi::function(function)?;
                abi::check_count(&function, arguments)?;
                if function.outputs.is_empty() {
                    let says = "says not what it returns: add `returns (...)`";
                    return Err(Failure::Refused(format!("read {name}: {} {says}", function.name)));
                }
            }
            ContractRead::Rpc { rpc, .. } => {
                Chain::open(rpc, contract.time_limit_ms, surroundings)?;
            }
        }
    }
    Chain::open(&contract.rpc, contract.time_limit_ms, surroundings)?;
    if let AccountKey::Kms(arn) = &contract.key {
        return Ok(arn.clone());
    }
    let account = Account::here(&contract.key, surroundings);
    let account = account.map_err(|error| Failure::Refused(with_causes(&error).to_string()))?;
    Ok(account.address.to_string())
}

/// Brings an entry to its end, or says why it is not there.
pub async fn submit(
    contract: &Contract,
    message: &Message,
    place: &Place,
    surroundings: &impl Surroundings,
) -> Outcome {
    let (failure, nothing_sent) = match submitted(contract, message, place, surroundings).await {
        Ok(()) => return Outcome::Done,
        Err(failed) => failed,
    };
    let trouble = match failure {
        Failure::Later { reason, wait_ms } => Trouble::asking(reason, wait_ms),
        Failure::Waits { reason, wait_ms } => Trouble::waiting(reason, wait_ms),
        Failure::Again => Trouble::waiting(failure.reason(), millis(LAST_LOOK)),
        Failure::Reverts(reason) => Trouble::saying(reason),
        Failure::Refused(reason) => return Outcome::Refused(reason),
    };
    Outcome::Later(Trouble { nothing_sent, ..trouble })
}

/// Or why not, and whether it is sure that nothing of it was sent.
async fn submitted(
    contract: &Contract,
    message: &Message,
    place: &Place,
    surroundings: &impl Surroundings,
) -> Result<(), (Failure, bool)> {
    let unknown = |failure| (failure, false);
    let purpose = Purpose::of_entry(contract, message).map_err(unknown)?;
    let submission = Submission::of(contract, &purpose, place, surroundings).await.map_err(unknown)?;
    match submission.run().await {
        Ok(_) => Ok(()),
        // The same entry is looked at again.
        Err(waits @ Failure::Waits { .. }) => Err((waits, false)),
        Err(failure) => Err((failure, submission.has_sent_nothing().await)),
    }
}

/// What a call is made for.
pub(crate) struct Purpose {
    /// The same each time that it comes.
    pub key: String,
    /// What it gives to the pipeline's texts.
    pub given: Map<String, Json>,
    /// An entry of a log: what is undone of one stops those behind it. Else a task, whose outcome is told.
    pub is_entry: bool,
}

impl Purpose {
    fn of_entry(contract: &Contract, message: &Message) -> Result<Self, Failure> {
        let Message::Entry(EntryMessage { key, entry, proof_files, result_files, block_file }) = message
        else {
            return Err(Failure::Refused(
                "entries of a log are submitted, and this is a block's word".to_owned(),
            ));
        };
        let (from, to, hash, proofs) = match &entry.kind {
            OutKind::Proof { from, to, hash, proofs, .. } => (from, to, hash, proofs),
            // What a contract has taken cannot be taken back from here.
            OutKind::Retract { from, to } => {
                return Err(Failure::Refused(format!(
                    "blocks {from} to {to} left the chain after their proofs went to {}: see what it holds of them, then \
                     pass over this entry",
                    contract.address
                )));
            }
        };
        let mut given = Map::new();
        let mut give = |name: &str, value: Json| given.insert(name.to_owned(), value);
        give("key", json!(key));
        give("chain", json!(entry.chain));
        give("log", json!(entry.log));
        give("sequence", json!(entry.sequence));
        give("from", json!(from));
        give("to", json!(to));
        give("hash", json!(hash));
        let mut results = Map::new();
        for (stage, file) in result_files {
            results.insert(stage.clone(), result_in(file)?);
        }
        give("results", Json::Object(results));
        let proof = proofs.first();
        give("public_values", prefixed(proof.and_then(|proof| proof.public_values.as_deref())));
        give("verification_key", prefixed(proof.and_then(|proof| proof.verification_key.as_deref())));
        if let Some(path) = proof_files.first().filter(|_| contract.names("proof")) {
            give("proof", json!(proof_in(path)?));
        }
        if let Some(path) = block_file.as_ref().filter(|_| contract.names(BLOCK)) {
            give(BLOCK, block_in(path)?);
        }
        Ok(Self { key: key.clone(), given, is_entry: true })
    }
}

pub(crate) struct Submission<'a, S> {
    pub contract: &'a Contract,
    pub purpose: &'a Purpose,
    pub place: &'a Place,
    pub surroundings: &'a S,
    pub chain: Chain,
    pub account: Account<'a>,
    pub address: Address,
    pub function: Function,
    pub errors: Vec<Error>,
    /// When nothing is begun any more, and when blocks are no longer waited for.
    until_ms: u64,
    patient_until_ms: u64,
    /// The journal's version on which a write stood of which it is not known whether it was made, or will be.
    unsure: Cell<Option<Option<u64>>>,
}

/// Where an entry is.
enum Step {
    /// With what it came to, of a task.
    Done(Option<Json>),
    Waits(String),
    /// No block takes what was sent as things are: an operator may have to look.
    WaitsForOther(String),
}

impl<'a, S: Surroundings> Submission<'a, S> {
    pub async fn of(
        contract: &'a Contract,
        purpose: &'a Purpose,
        place: &'a Place,
        surroundings: &'a S,
    ) -> Result<Self, Failure> {
        let account = Account::open(&contract.key, surroundings).await;
        let account = account.map_err(|error| Failure::later(with_causes(&error).to_string()))?;
        let now_ms = surroundings.now_ms();
        let address = contract.address.parse();
        let address = address.map_err(|error| Failure::Refused(format!("{}: {error}", contract.address)))?;
        Ok(Self {
            contract,
            purpose,
            place,
            surroundings,
            chain: Chain::open(&contract.rpc, contract.time_limit_ms, surroundings)?,
            account,
            address,
            function: abi::function(&contract.function)?,
            errors: abi::errors(&contract.errors)?,
            until_ms: now_ms.saturating_add(contract.time_limit_ms),
            patient_until_ms: now_ms.saturating_add(contract.time_limit_ms.min(surroundings.max_wait_ms())),
            unsure: Cell::new(None),
        })
    }

    pub async fn run(&self) -> Result<Option<Json>, Failure> {
        let mut pause = FIRST_LOOK;
        loop {
            let failed = self.chain.failed();
            let step = self.step().await;
            let (reason, until_ms, is_hindered) = match step {
                Ok(Step::Done(outcome)) => return Ok(outcome),
                Ok(Step::Waits(reason)) => {
                    self.chain.look_succeeded();
                    (reason, self.patient_until_ms, false)
                }
                Ok(Step::WaitsForOther(reason)) => {
                    self.chain.look_succeeded();
                    (reason, self.patient_until_ms, true)
                }
                // Nothing was sent: it is begun anew, as often as there is time.
                Err(again @ Failure::Again) => (again.reason(), self.until_ms, false),
                // Another node may be better.
                Err(Failure::Later { .. }) if self.chain.failed() > failed && self.chain.has_another() => {
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            if self.surroundings.now_ms().saturating_add(millis(pause)) > until_ms {
                let wait_ms = millis(LAST_LOOK);
                return Err(match is_hindered {
                    true => Failure::Later { reason, wait_ms: Some(wait_ms) },
                    false => Failure::Waits { reason, wait_ms },
                });
            }
            self.surroundings.pause(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// The journal has nothing of it that may take effect.
    async fn has_sent_nothing(&self) -> bool {
        let held = self.held().await;
        // A write can no longer be made once its journal has another version.
        held.is_ok_and(|held| {
            self.unsure.get().is_none_or(|version| version != held.version())
                && held.journal.of(self.name()).is_none()
        })
    }

    /// One look at the chain, and what follows from it, under the account's lock.
    async fn step(&self) -> Result<Step, Failure> {
        let address = self.account.address;
        let mut held = self.held().await?;
        let (chain_id, wanted) = (self.chain.chain_id().await?, self.contract.chain_id);
        if chain_id != wanted {
            return Err(Failure::later(format!(
                "the node is of chain {chain_id}, and `chain_id` is {wanted}"
            )));
        }
        let head = self.chain.head().await?;
        let count = self.chain.transactions_of(address, head.number.number()).await?;
        let (chain, account, surroundings) = (&self.chain, &self.account, self.surroundings);
        let look = Look { chain, account, head: &head, count, surroundings };
        let complaint = look.at(&mut held.journal).await;
        held.write().await?;
        let complaint = complaint?;
        if self.purpose.is_entry
            && !self.contract.covers_below
            && let Some(undone) = held.journal.undone(&self.place.sink)
            && undone.key != self.purpose.key
        {
            let sequence = undone.key.rsplit('/').next().unwrap_or_default();
            return Err(Failure::Refused(format!(
                "entry {} was done, and a reorg has undone it for good: proofyard sink {} --again {sequence}",
                undone.key,
                self.place.sink_name()
            )));
        }
        if let Some(sent) = held.journal.of(self.name()).cloned() {
            if let Some(step) = self.done_though_reverted(&sent, &look, &head).await? {
                return Ok(step);
            }
            let is_hindered = complaint.is_some() && sent.included.is_none();
            if let Some(reason) = self.follow(&sent, &look, complaint).await? {
                return Ok(if is_hindered { Step::WaitsForOther(reason) } else { Step::Waits(reason) });
            }
            let outcome = self.outcome(Some(&sent), &head).await?;
            if let Some(sent) = held.journal.of_mut(self.name()) {
                sent.has_counted = true;
                held.write().await?;
            }
            return Ok(Step::Done(outcome));
        }
        if held.journal.open().filter(|sent| sent.included.is_none()).count() >= MAX_OPEN {
            return Err(Failure::later(format!("{MAX_OPEN} transactions of {address} are in no block yet")));
        }
        self.begin(&head, count, &mut held).await
    }

    async fn held(&self) -> Result<Held, Failure> {
        let (chain_id, account) = (self.contract.chain_id, self.account.address);
        Held::open(self.place, chain_id, account, self.name(), self.surroundings).await
    }

    fn name(&self) -> Name<'a> {
        let selector = self.function.selector();
        Name { sink: &self.place.sink, key: &self.purpose.key, to: self.address, selector }
    }

    /// What is sent already: for what it waits, if it does.
    async fn follow(
        &self,
        sent: &Sent,
        look: &Look<'_, S>,
        complaint: Option<String>,
    ) -> Result<Option<String>, Failure> {
        if sent.ended == Some(Ended::Included) {
            return Ok(None);
        }
        let Some(included) = &sent.included else {
            let last = sent.tries.last().map(|last| shown(&last.hash)).unwrap_or_default();
            let said = complaint.map(|said| format!("; {said}")).unwrap_or_default();
            let nonce = sent.nonce;
            return Ok(Some(format!("transaction {last}, nonce {nonce}, waits for a block{said}")));
        };
        let (name, height, depth) =
            (shown(&included.transaction), included.height, look.depth(included.height));
        if !included.has_succeeded {
            // A reorg before then could have it succeed after all, beside another.
            return Err(Failure::Later {
                reason: format!(
                    "transaction {name} reverted in block {height}; the entry is looked at anew once that is \
                     {SETTLED_DEPTH} blocks deep, and it is {depth}"
                ),
                wait_ms: None,
            });
        }
        let wanted = self.contract.confirmations;
        if depth < wanted {
            let so_far =
                format!("transaction {name} is in block {height}, {depth} of {wanted} confirmations");
            return Ok(Some(so_far));
        }
        match self.chain.hash_at(height).await? == Some(included.block) {
            true => Ok(None),
            false => Ok(Some(format!("block {height}, with transaction {name}, is on another branch"))),
        }
    }

    /// Nothing was sent for it: is there anything to send, and may it be sent now?
    async fn begin(&self, head: &Head, count: u64, held: &mut Held) -> Result<Step, Failure> {
        let height = head.number.number();
        let mut values = self.values()?;
        if self.is_done(&mut values, height).await? {
            return self.done_by_another(head).await;
        }
        self.may_send(&mut values, height).await?;
        let texts = self.contract.arguments.iter().chain(&self.contract.value).map(String::as_str);
        self.read_for(texts, &mut values, height).await?;
        let (call, arguments) = self.call(&values)?;
        let fees = Fees {
            max_fee_gwei: self.contract.max_fee_gwei,
            replace_after_ms: self.contract.replace_after_ms,
        };
        let nonce = held.journal.next_nonce(count);
        let first = self.first_try(&call, head, &fees, nonce).await?;
        let made_of = self.kept_answers(arguments, &mut values, height).await?;
        let Name { sink, key, to, selector } = self.name();
        self.send_first(
            held,
            Sent {
                sink: sink.to_owned(),
                key: key.to_owned(),
                nonce,
                to,
                selector,
                fees,
                has_counted: false,
                tries: vec![first.clone()],
                included: None,
                ended: None,
                made_of,
                refused: None,
            },
            &first,
        )
        .await
    }

    /// Its transaction reverted since another's came first, as where two proposers run by mistake: that is done once both are as
    /// deep as is wanted. The journal keeps the transaction until nothing can come of it.
    async fn done_though_reverted(
        &self,
        sent: &Sent,
        look: &Look<'_, S>,
        head: &Head,
    ) -> Result<Option<Step>, Failure> {
        let reverted = sent.included.as_ref().filter(|included| !included.has_succeeded);
        let Some(reverted) = reverted.filter(|_| !self.contract.done_if.is_empty()) else { return Ok(None) };
        let is_deep = look.depth(reverted.height) >= self.contract.confirmations;
        if is_deep && self.is_done(&mut self.values()?, head.number.number()).await? {
            return self.done_by_another(head).await.map(Some);
        }
        Ok(None)
    }

    /// Somebody else has done it. What they did in the newest blocks may go with them.
    async fn done_by_another(&self, head: &Head) -> Result<Step, Failure> {
        let depth = self.contract.confirmations.min(OLDEST_STATE) - 1;
        let then = head.number.number().saturating_sub(depth);
        if depth == 0 || self.is_done(&mut self.values()?, then).await? {
            return Ok(Step::Done(self.outcome(None, head).await?));
        }
        let wanted = depth + 1;
        Ok(Step::Waits(format!("it is done already, with less than {wanted} confirmations")))
    }

    async fn may_send(&self, values: &mut Values<'_, S>, height: u64) -> Result<(), Failure> {
        self.read_for(sides(&self.contract.send_if), values, height).await?;
        for condition in &self.contract.send_if {
            if let Some(reason) = values.unmet(condition)? {
                return Err(Failure::later(reason));
            }
        }
        Ok(())
    }

    /// Tries the call, and signs it for what the chain asks.
    async fn first_try(&self, call: &Call, head: &Head, fees: &Fees, nonce: u64) -> Result<Try, Failure> {
        let gas = match self.chain.gas_of(call).await? {
            Tried::Is(gas) => gas,
            Tried::Reverts(data) => {
                let reason = abi::reason(&data, &self.errors);
                return Err(Failure::Reverts(format!("{} would revert: {reason}", self.function.name)));
            }
        };
        let offer = fees.offer(&self.chain, head).await?;
        // What others do in the same block may make it dearer than it was tried.
        let room = gas.saturating_add(gas / 4).min(TRANSACTION_GAS).min(head.gas_limit.number());
        let transaction = transaction(self.contract.chain_id, nonce, room.max(gas), offer, call);
        let at = (self.surroundings.now_ms(), head.number.number());
        let first = signed(transaction, &self.account, at).await?;
        let bytes = first.raw.len() / 2;
        if bytes as u64 > TRANSACTION_BYTES {
            return Err(Failure::Refused(format!(
                "its transaction has {bytes} bytes, and nodes keep none above {TRANSACTION_BYTES}"
            )));
        }
        Ok(first)
    }

    /// What a task's call was made of: what is asked behind the transaction is asked about the same.
    async fn kept_answers(
        &self,
        arguments: Vec<String>,
        values: &mut Values<'_, S>,
        height: u64,
    ) -> Result<Option<MadeOf>, Failure> {
        if self.purpose.is_entry {
            return Ok(None);
        }
        self.read_for(self.texts_behind(), values, height).await?;
        let reads = self.reads_named(values);
        for (name, answer) in &reads {
            let bytes = answer.to_string().len();
            if bytes > KEPT_BYTES {
                return Err(Failure::Refused(format!(
                    "what the pipeline names of read {name} has {bytes} bytes, and the journal keeps {KEPT_BYTES} at most: name a \
                     part of it, as in {{{name}.FIELD}}"
                )));
            }
        }
        Ok(Some(MadeOf { arguments, reads }))
    }

    /// Writes a transaction down, and then gives it to a node.
    async fn send_first(&self, held: &mut Held, sent: Sent, first: &Try) -> Result<Step, Failure> {
        let waits = format!("transaction {}, nonce {}, waits for a block", shown(&first.hash), sent.nonce);
        held.journal.sent.push(sent);
        if let Err(failure) = held.write().await {
            if !held.is_locked() {
                self.unsure.set(Some(held.version()));
            }
            return Err(failure);
        }
        match self.chain.send(&first.raw).await {
            Heard::Taken => Ok(Step::Waits(waits)),
            Heard::Unclear(reason) => Ok(Step::Waits(format!("{waits}; {reason}"))),
            // Where there is no lock, somebody else may have given it to a node meanwhile; and nodes that refuse it may have
            // passed it on.
            Heard::Refused(reason)
                if !held.is_locked() || !matches!(self.chain.knows(first.hash).await, Ok(false)) =>
            {
                Err(Failure::later(reason))
            }
            Heard::Refused(reason) => {
                // Nobody has it, so its nonce is free, and nothing lies in the way of others.
                held.journal.sent.pop();
                held.write().await?;
                Err(Failure::later(reason))
            }
        }
    }

    /// The call, and its arguments as texts.
    fn call(&self, values: &Values<'_, S>) -> Result<(Call, Vec<String>), Failure> {
        let arguments = self.contract.arguments.iter().map(|text| values.filled(text));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let value = match &self.contract.value {
            None => U256::ZERO,
            Some(text) => {
                let filled = values.filled(text)?;
                let no_wei =
                    || Failure::Refused(format!("`value` is {}, no number of wei", abi::brief(&filled)));
                number(&filled).ok_or_else(no_wei)?
            }
        };
        let data = abi::encoded(&self.function, &arguments)?.into();
        Ok((Call { from: self.account.address, to: self.address, data, value }, arguments))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
