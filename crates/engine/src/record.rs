//! Records what the proxy has let through: payloads as blocks, in the order in which they were valid, then what the consensus
//! client calls its head, safe and finalized. A thread of its own: nothing of it holds a call up.
//!
//! A witness is kept before the block's fact is recorded, and a call is forgotten after it: whatever the moment of a crash, the
//! next start finds the call and does the same again, which changes nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proofyard_blocks::{Line, Rules, parse_line};
use proofyard_core::error::{Code, Coded, Error, with_causes};
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::{
    BlockHash, ChainName, EndpointState, EndpointStatus, Finality, Following, KnownBlock, NamedBlock,
    shortened_trouble,
};
use proofyard_core::transaction::read;
use proofyard_intake::{Fact, Intake};

use crate::keep::{Folder, Stage};
use crate::payload::line_of;
use crate::shared::{Forkchoice, Shared, now_ms};
use crate::witness::{NotKept, Witnesses};

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// So that where processors are few an answer that is about to be sent is sent first.
const ANSWER_FIRST: Duration = Duration::from_millis(3);
/// After the state or the disk failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How old what is written of the clients may become while nothing changes.
const STATUS_EVERY_MS: u64 = 10_000;
/// Blocks whose heights are known by their hashes: what is finalized is some 100 behind the head.
const MOST_KNOWN: usize = 4_096;
const KNOWN_AT_FIRST: u64 = 512;
/// A head that did not come through here is a trouble once it is called so for so long: a payload may be recorded a moment later.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Recorder<'a, I> {
    pub intake: &'a I,
    pub chain: &'a ChainName,
    pub rules: &'a Rules,
    pub shared: &'a Shared,
    pub folder: Folder,
    /// Where payloads are asked for with their witnesses.
    pub witnesses: Option<Witnesses>,
    /// As status shows them.
    pub execution: &'a str,
    pub listen: &'a str,
    pub state: Known,
}

/// A change of branch that was tried in vain.
struct NoWay {
    why: String,
    /// The yard's newest block then.
    from: Option<NamedBlock>,
    to: String,
}

/// What it remembers between two rounds.
#[derive(Default)]
pub(crate) struct Known {
    has_begun: bool,
    heights: HashMap<String, u64>,
    /// What was last done about.
    forkchoice: Option<Forkchoice>,
    /// A head that is not known here, since when.
    unknown_head: Option<(String, Instant)>,
    /// Why the yard cannot go to the consensus client's head, and the newest block when it was tried.
    no_way: Option<NoWay>,
    /// A block whose parent did not come through here, with that parent.
    waits: Option<(NamedBlock, String)>,
    /// The last payload that was refused, and why.
    refused: Option<String>,
    below_start: Option<u64>,
    /// Why the state could not be written.
    failing: Option<String>,
    written: Following,
    written_ms: u64,
}

/// What a call came to.
enum Came {
    Recorded,
    /// It cannot be a block here.
    Refused(String),
}

impl<I: Intake> Recorder<'_, I> {
    /// Until it is stopped. Errors of the state end nothing: calls go through meanwhile, and wait on disk.
    pub(crate) async fn run(&mut self, is_stopped: impl Fn() -> bool) {
        while !is_stopped() && !self.shared.is_over() {
            let round = self.round(&is_stopped).await;
            self.state.failing = round.as_ref().err().map(|error| with_causes(error).to_string());
            if round.is_err() {
                let _ = self.write_status().await;
                self.shared.wait(PAUSE);
            } else {
                self.shared.wait(LOOK);
                std::thread::sleep(ANSWER_FIRST);
            }
        }
    }

    /// Takes up what the state knows.
    async fn begin(&mut self) -> Result<(), I::Error> {
        if self.state.has_begun {
            return Ok(());
        }
        let yard = self.intake.yard();
        self.state.written = yard.following(self.chain).await?.unwrap_or_default();
        if let Some((tip, _)) = yard.tip(self.chain).await?.head {
            let start = yard.chain_state(self.chain).await?.start_height;
            for height in start.max(tip.saturating_sub(KNOWN_AT_FIRST))..=tip {
                if let Some(hash) = self.canonical_hash(height).await? {
                    self.state.heights.insert(hash, height);
                }
            }
        }
        self.state.has_begun = true;
        Ok(())
    }

    async fn round(&mut self, is_stopped: &impl Fn() -> bool) -> Result<(), I::Error> {
        self.begin().await?;
        match self.folder.all(Stage::Valid) {
            Ok(calls) => {
                self.shared.waiting_are(calls.len());
                for id in calls {
                    if is_stopped() {
                        return Ok(());
                    }
                    if self.shared.is_writing(id) {
                        // In their order: the next ones wait too.
                        break;
                    }
                    self.take_kept(id).await?;
                }
            }
            Err(error) => self.shared.disk_fails(&error),
        }
        while let Some(call) = self.shared.first_held() {
            if let Came::Refused(why) = self.take(&call, None).await? {
                self.state.refused = Some(why);
            }
            self.shared.forget_held();
        }
        if let Some(forkchoice) = self.shared.forkchoice()
            && self.state.forkchoice.as_ref() != Some(&forkchoice)
        {
            self.take_forkchoice(forkchoice).await?;
        }
        self.write_status().await
    }

    async fn take_kept(&mut self, id: u64) -> Result<(), I::Error> {
        let call = match std::fs::read(self.folder.call(id, Stage::Valid)) {
            Ok(call) => call,
            Err(error) => {
                self.shared.disk_fails(&error);
                return Ok(());
            }
        };
        let done = match self.take(&call, Some(id)).await? {
            Came::Recorded => self.folder.done(id),
            Came::Refused(why) => {
                self.state.refused = Some(why);
                self.folder.refuse(id)
            }
        };
        match done {
            Ok(()) => self.shared.disk_works(),
            Err(error) => self.shared.disk_fails(&error),
        }
        Ok(())
    }

    async fn take(&mut self, call: &[u8], id: Option<u64>) -> Result<Came, I::Error> {
        let line = match line_of(call) {
            Ok(line) => line,
            Err(error) => return Ok(Came::Refused(with_causes(&error).to_string())),
        };
        let block = match parse_line("a payload", 1, &line, self.rules) {
            Ok(Line::Block(block)) => block,
            Ok(Line::Reorg { .. }) => return Ok(Came::Refused("a payload is no reorg".to_owned())),
            Err(error) => return Ok(Came::Refused(format!("it cannot be a block here: {error}"))),
        };
        let name = block.named();
        if let Some(id) = id {
            self.keep_witness(id, &name).await?;
        }
        let start = self.intake.yard().chain_state(self.chain).await?.start_height;
        if block.height < start {
            self.state.below_start = Some(block.height);
            return Ok(Came::Recorded);
        }
        self.state.below_start = None;
        let parent = String::from(BlockHash::from(&block.parent));
        let fact = Fact::Block(block);
        // What was missing on the way to another branch may be this one.
        self.state.no_way = None;
        let outcome = loop {
            match self.intake.take(self.chain, &fact).await {
                Ok(outcome) => break outcome,
                Err(error) if self.intake.may_try_again(&error).await => {}
                Err(error) if error.code() == Code::AboveLimit => {
                    return Ok(Came::Refused(with_causes(&error).to_string()));
                }
                Err(error) => return Err(error),
            }
        };
        self.remember(&name);
        if outcome == Some(BlockOutcome::Stored) && !self.is_known(name.height, &parent).await? {
            self.state.waits = Some((name, parent));
        }
        Ok(Came::Recorded)
    }

    /// Whether the parent of a block at this height was recorded ever; below the start none is.
    async fn is_known(&self, height: u64, parent: &str) -> Result<bool, I::Error> {
        let Some(below) = height.checked_sub(1) else { return Ok(true) };
        let key = KnownBlock::key_of(self.chain, below, &parent.into());
        let known: Result<Option<KnownBlock>, Error> = read(&self.intake.yard().port, &key).await;
        Ok(known?.is_some())
    }

    /// Its witness is kept; why not is said, and the block is recorded all the same.
    async fn keep_witness(&mut self, id: u64, block: &NamedBlock) -> Result<(), I::Error> {
        let came = self.folder.witness(id);
        let Some(witnesses) = self.witnesses.clone() else { return Ok(()) };
        if !came.exists() {
            return Ok(());
        }
        let frontier = self.intake.yard().frontier(self.chain).await?.height;
        match witnesses.keep(&came, block.height, block.hash.as_str(), frontier) {
            Ok(()) => {}
            Err(NotKept::Disk(error)) => {
                self.shared.disk_fails(&error);
                self.shared.not_kept(&error.to_string());
            }
            Err(error) => self.shared.not_kept(&error.to_string()),
        }
        Ok(())
    }

    fn remember(&mut self, block: &NamedBlock) {
        if self.state.heights.len() >= MOST_KNOWN {
            let least = block.height.saturating_sub(MOST_KNOWN as u64 / 2);
            self.state.heights.retain(|_, height| *height >= least);
        }
        self.state.heights.insert(block.hash.to_string(), block.height);
    }

    /// Makes the consensus client's head the yard's, unless the yard's chain only goes on from it.
    async fn take_forkchoice(&mut self, forkchoice: Forkchoice) -> Result<(), I::Error> {
        let head = forkchoice.head_block_hash.to_ascii_lowercase();
        let Some(height) = self.state.heights.get(&head).copied() else {
            // It may be recorded in a moment; then this is done again.
            if self.state.unknown_head.as_ref().is_none_or(|(unknown, _)| *unknown != head) {
                self.state.unknown_head = Some((head, Instant::now()));
            }
            return Ok(());
        };
        self.state.unknown_head = None;
        if self.canonical_hash(height).await?.as_ref() != Some(&head) && !self.go_to(height, head).await? {
            return Ok(());
        }
        self.state.no_way = None;
        let before = self.intake.yard().finality(self.chain).await?;
        let named = |hash: &str| {
            let hash = hash.to_ascii_lowercase();
            self.state.heights.get(&hash).map(|height| NamedBlock { height: *height, hash: hash.into() })
        };
        let finality = Finality {
            chain: self.chain.clone(),
            safe: named(&forkchoice.safe_block_hash)
                .or_else(|| before.as_ref().and_then(|before| before.safe.clone())),
            finalized: named(&forkchoice.finalized_block_hash)
                .or_else(|| before.as_ref().and_then(|before| before.finalized.clone())),
        };
        if finality.safe.is_some() || finality.finalized.is_some() {
            self.intake.take(self.chain, &Fact::Finality(finality)).await?;
        }
        self.state.forkchoice = Some(forkchoice);
        Ok(())
    }

    /// Whether that is the yard's newest block now. Where blocks between are missing it is tried again once there are more.
    async fn go_to(&mut self, height: u64, hash: String) -> Result<bool, I::Error> {
        let tip = self.intake.yard().tip(self.chain).await?.head;
        let tip = tip.map(|(height, hash)| NamedBlock { height, hash });
        if self.state.no_way.as_ref().is_some_and(|tried| tried.to == hash && tried.from == tip) {
            return Ok(false);
        }
        let fact = Fact::Reorg { height, hash: hash.clone().into() };
        match self.intake.take(self.chain, &fact).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Code::UnknownBlock | Code::ReorgTooDeep) => {
                let why = with_causes(&error).to_string();
                self.state.no_way = Some(NoWay { why, from: tip, to: hash });
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn canonical_hash(&self, height: u64) -> Result<Option<String>, I::Error> {
        Ok(self.intake.yard().canonical_hash(self.chain, height).await?.map(String::from))
    }

    /// Writes down how it goes, where that changed or is old.
    async fn write_status(&mut self) -> Result<(), I::Error> {
        let now_ms = self.intake.yard().port.now_ms();
        let tip = self.intake.yard().tip(self.chain).await?.head.map(|(height, _)| height);
        if self.state.waits.as_ref().is_some_and(|(block, _)| tip.is_some_and(|tip| tip >= block.height)) {
            self.state.waits = None;
        }
        let head = self.state.forkchoice.as_ref().and_then(|forkchoice| {
            let hash = forkchoice.head_block_hash.to_ascii_lowercase();
            self.state.heights.get(&hash).map(|height| NamedBlock { height: *height, hash: hash.into() })
        });
        let following = Following {
            chain: self.chain.clone(),
            head: head.or_else(|| self.state.written.head.clone()),
            heard_ms: Some(now_ms),
            trouble: self.trouble(tip).map(shortened_trouble),
            endpoints: self.endpoints(tip),
            ..Following::default()
        };
        let timeless = |following: &Following| Following { heard_ms: None, ..following.clone() };
        let is_old = now_ms.saturating_sub(self.state.written_ms) >= STATUS_EVERY_MS;
        if !is_old && timeless(&following) == timeless(&self.state.written) {
            return Ok(());
        }
        self.intake.yard().record_following(&following).await?;
        (self.state.written, self.state.written_ms) = (following, now_ms);
        if let Some(witnesses) = &self.witnesses {
            let frontier = self.intake.yard().frontier(self.chain).await?.height;
            if let Err(error) = witnesses.forget_done(frontier) {
                self.shared.disk_fails(&error);
            }
        }
        Ok(())
    }

    /// What keeps the yard's chain from the consensus client's.
    fn trouble(&self, tip: Option<u64>) -> Option<String> {
        let told = self.shared.told();
        let known = &self.state;
        if told.lost > 0 {
            return Some(format!(
                "{} valid payloads are not recorded, since neither disk nor memory took them",
                told.lost
            ));
        }
        if let Some(why) = &known.failing {
            return Some(format!("what comes is not recorded yet: {why}"));
        }
        if let Some(why) = &told.disk {
            return Some(format!("the disk does not keep what comes: {why}"));
        }
        if let Some(why) = &known.refused {
            return Some(format!("a valid payload is not recorded: {why}"));
        }
        if let Some((block, parent)) = &known.waits {
            let tip = tip.map_or("none yet".to_owned(), |tip| format!("{tip}"));
            return Some(format!(
                "block {} waits for its parent {parent}, which did not come through here (the newest that did: {tip}); \
                 `proofyard run PIPELINE --blocks FILE` takes what is missing",
                block.height
            ));
        }
        if let Some(NoWay { why, .. }) = &known.no_way {
            return Some(format!("the consensus client's head cannot be gone to: {why}"));
        }
        if let Some(height) = known.below_start {
            return Some(format!("payload {height} is below the chain's start_height: it is not taken"));
        }
        if let Some((head, since)) = &known.unknown_head
            && since.elapsed() >= HEAD_PATIENCE
        {
            return Some(format!("the consensus client's head is {head}, which did not come through here"));
        }
        None
    }

    fn endpoints(&self, tip: Option<u64>) -> Vec<EndpointStatus> {
        let told = self.shared.told();
        let upstream = self.shared.upstream();
        let since = |index: usize| {
            let before = self.state.written.endpoints.get(index).filter(|before| before.name == self.listen);
            before.map_or_else(now_ms, |before| before.since_ms)
        };
        let without = match told.without_witness {
            0 => None,
            count => {
                let why = told.why_without.unwrap_or_default();
                Some(format!("{count} payloads without their witness; the last: {why}"))
            }
        };
        let execution_since_ms = upstream.as_ref().map_or_else(|| since(0), |upstream| upstream.since_ms);
        let execution = EndpointStatus {
            state: upstream.as_ref().map_or(EndpointState::New, |upstream| upstream.state),
            error: upstream.and_then(|upstream| upstream.error).map(shortened_trouble),
            ..EndpointStatus::new(self.execution.to_owned(), execution_since_ms)
        };
        let proxy = EndpointStatus {
            state: EndpointState::Ready,
            head: tip,
            error: without.map(shortened_trouble),
            ..EndpointStatus::new(self.listen.to_owned(), since(1))
        };
        vec![execution, proxy]
    }
}
