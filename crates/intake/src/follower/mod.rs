//! Following a node: what its chain has and the yard's has not is brought, block by block and verified, and a change of branch
//! is recorded by hash.
//!
//! A [`Follower`] works in rounds. Each is bounded, begins with what the state says, and leaves nothing but state behind, so
//! that any number of rounds by any process, after any crash, come to the same. One that [begins](Follower::begin) asks every node
//! anew; one that [goes on](Follower::go_on_with) lets those rest that rested when the last round ended. A node is believed in nothing that can be
//! checked: headers are hashed again, each block must have the one before it as its parent. What it says is the newest block
//! is taken, from one node at a time.
//!
//! | the node's chain | the round |
//! | --- | --- |
//! | goes on from the tip | takes the next blocks |
//! | has another block where the tip is | finds the last block that both have, takes the blocks above it, records the reorg |
//! | ends below the tip, on the yard's chain | takes nothing: the node is behind |
//! | ends below the tip, on another branch | follows it, once it has said so for a while |

mod health;
mod nodes;

use proofyard_blocks::{Line, RecordedBlock, Rules, parse_line};
use proofyard_core::error::with_causes;
use proofyard_core::pipeline::{MAX_HEIGHT, NodeSource};
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::{
    AskedFinality, BlockHash, ChainName, Finality, Following, LowerBranch, NamedBlock, Tip, shortened_trouble,
};

use self::health::Health;
pub use self::nodes::{Hint, Identity, NodeError, Nodes};
use crate::fact::{Fact, Intake};

/// A branch that ends below the tip is followed once the node has said so for this long: one that was asked in the middle
/// of a reorg, or lags on a branch that was left, says otherwise soon.
const LOWER_BRANCH_MS: u64 = 2_000;
/// Blocks of one round, whatever the pipeline says: a reorg may lead over fewer than 4,096.
const MOST_BLOCKS: u64 = 1_024;
/// Before a deeper reorg the node is asked once more which chain it is of.
const DEEP_BLOCKS: u64 = 64;
/// How often safe and finalized are asked for, where there are new blocks.
const FINALITY_EVERY_MS: u64 = 4_000;
/// The same, where there are none.
const FINALITY_OF_OLD_HEAD_EVERY_MS: u64 = 60_000;
/// How old what is written of the nodes may become while nothing changes.
const STATUS_EVERY_MS: u64 = 10_000;

/// What a round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Blocks that were taken.
    pub blocks: u64,
    /// A reorg was recorded, to this block.
    pub reorg: Option<NamedBlock>,
    /// All nodes were looked at, not only asked for a block that one announced.
    pub is_whole: bool,
    /// The node has more: the next round need not wait.
    pub has_more: bool,
    /// No node was of use; when one that rests is asked again.
    pub rests_until_ms: Option<u64>,
}

/// Follows a chain's nodes into a yard.
pub struct Follower<I, N> {
    intake: I,
    nodes: N,
    chain: ChainName,
    rules: Rules,
    source: NodeSource,
    health: Health,
    /// As last written.
    following: Following,
    finality_asked: Option<AskedFinality>,
    lower: Option<LowerBranch>,
}

/// Why a round ended early.
enum Fault<E> {
    Node(NodeError),
    Home(E),
}

impl<E> From<NodeError> for Fault<E> {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// What became of the blocks that were brought.
enum Brought {
    /// So many were taken; the last of them.
    Blocks(u64, Option<NamedBlock>),
    /// The first of them has another parent than the tip.
    Elsewhere,
}

impl<I: Intake, N: Nodes> Follower<I, N> {
    /// Begins with what the state says of the chain. Nodes are asked whatever became of them before.
    pub async fn begin(
        intake: I,
        nodes: N,
        chain: &ChainName,
        rules: Rules,
        source: &NodeSource,
    ) -> Result<Self, I::Error> {
        let yard = intake.yard();
        let now_ms = yard.port.now_ms();
        let before = yard.following(chain).await?.unwrap_or_default();
        let following = Following {
            chain: chain.clone(),
            chain_id: source.chain_id.or(before.chain_id),
            genesis: source.genesis.clone().or(before.genesis),
            head: before.head,
            heard_ms: before.heard_ms,
            head_since_ms: if before.head_since_ms == 0 { now_ms } else { before.head_since_ms },
            ..Following::default()
        };
        let health = Health::new(nodes.names(), now_ms);
        let (finality_asked, lower) = (None, None);
        let (chain, source) = (chain.clone(), source.clone());
        Ok(Self { intake, nodes, chain, rules, source, health, following, finality_asked, lower })
    }

    /// Goes on where another one's last round ended, as if there were one follower: for rounds that are each made by a
    /// process of its own.
    pub async fn go_on_with(
        intake: I,
        nodes: N,
        chain: &ChainName,
        rules: Rules,
        source: &NodeSource,
    ) -> Result<Self, I::Error> {
        let now_ms = intake.yard().port.now_ms();
        let before = intake.yard().following(chain).await?;
        let mut follower = Self::begin(intake, nodes, chain, rules, source).await?;
        let Some(before) = before else { return Ok(follower) };
        let (chain_id, genesis) = (follower.following.chain_id, follower.following.genesis.clone());
        if (before.chain_id, &before.genesis) == (chain_id, &genesis) {
            follower.health = Health::left(follower.nodes.names(), &before.endpoints, now_ms);
        }
        (follower.finality_asked, follower.lower) = (before.finality_asked, before.lower.clone());
        let head_since_ms = follower.following.head_since_ms;
        follower.following = Following { chain_id, genesis, head_since_ms, ..before };
        Ok(follower)
    }

    pub fn intake(&self) -> &I {
        &self.intake
    }

    pub fn nodes(&self) -> &N {
        &self.nodes
    }

    /// The newest block that a node named.
    pub fn newest_head(&self) -> Option<u64> {
        self.following.head.as_ref().map(|head| head.height)
    }

    pub fn into_parts(self) -> (I, N) {
        (self.intake, self.nodes)
    }

    /// One round. An error is the home's, and nothing is lost by it: the next round begins with the state again.
    pub async fn round(&mut self, hint: Option<&Hint>) -> Result<Round, I::Error> {
        let now_ms = self.now_ms();
        if let Some(hint) = hint
            && let Some(round) = self.take_hinted(hint, now_ms).await?
        {
            return Ok(round);
        }
        let Some((of, head)) = self.choose_node(now_ms).await else {
            let trouble = Some("none of the nodes is of use".to_owned());
            self.write_status(None, trouble, now_ms).await?;
            let rests_until_ms = self.health.wakes_ms();
            return Ok(Round { is_whole: true, rests_until_ms, ..Round::default() });
        };
        let (round, trouble) = match self.go_on(of, &head, now_ms).await {
            Ok((round, trouble)) => {
                self.health.served(of);
                (round, trouble)
            }
            Err(Fault::Node(error)) => {
                self.health.failed(of, &error, self.now_ms());
                (Round { has_more: true, ..Round::default() }, Some(error.to_string()))
            }
            Err(Fault::Home(error)) => {
                let trouble = format!("what the node has cannot be taken: {}", with_causes(&error));
                self.write_status(Some(&head), Some(trouble), now_ms).await?;
                return Err(error);
            }
        };
        self.write_status(Some(&head), trouble, now_ms).await?;
        Ok(Round { is_whole: true, ..round })
    }

    /// The node announced a block that has the tip as its parent: it is asked for that block alone.
    async fn take_hinted(&mut self, hint: &Hint, now_ms: u64) -> Result<Option<Round>, I::Error> {
        let Some(of) = self.health.followed(now_ms) else { return Ok(None) };
        if self.canonical_hash(hint.height).await?.as_ref() == Some(&hint.hash) {
            // Another node announced it before.
            return Ok(Some(Round::default()));
        }
        let tip = self.tip().await?;
        let goes_on = tip.is_some_and(|tip| hint.height == tip.height + 1 && hint.parent == tip.hash);
        if !goes_on {
            return Ok(None);
        }
        // Whatever is wrong with the answer, the whole round finds out and says.
        let Ok(Some(json)) = self.nodes.block(of, hint.hash.as_str()).await else { return Ok(None) };
        let Ok(block) = self.checked(&json, hint.height) else { return Ok(None) };
        let named = block.named();
        if named.hash != hint.hash || BlockHash::from(&block.parent) != hint.parent {
            return Ok(None);
        }
        let outcome = self.intake.take(&self.chain, &Fact::Block(Box::new(block))).await?;
        if outcome != Some(BlockOutcome::Appended) {
            return Ok(None);
        }
        self.health.answered(of, named.clone());
        self.lower = None;
        self.write_status(Some(&named), None, now_ms).await?;
        Ok(Some(Round { blocks: 1, ..Round::default() }))
    }

    /// Asks all nodes that do not rest for their heads, and those that are new which chain they are of.
    async fn choose_node(&mut self, now_ms: u64) -> Option<(usize, NamedBlock)> {
        let asked = self.health.awake(now_ms);
        let heads = self.nodes.heads(&asked).await;
        let mut answered = Vec::new();
        for (index, head) in asked.into_iter().zip(heads) {
            let known = match head {
                Ok(head) if head.height >= MAX_HEIGHT => {
                    Err(NodeError::NotTrue(format!("it names block {} as its newest", head.height)))
                }
                Ok(head) => self.identify(index).await.map(|()| head),
                Err(error) => Err(error),
            };
            match known {
                Ok(head) => {
                    self.health.answered(index, head);
                    answered.push(index);
                }
                Err(error) => self.health.failed(index, &error, self.now_ms()),
            }
        }
        self.health.choose(&answered, now_ms)
    }

    async fn identify(&mut self, index: usize) -> Result<(), NodeError> {
        if !self.health.is_identified(index) {
            self.expect_this_chain(index).await?;
            let now_ms = self.now_ms();
            self.health.identified(index, now_ms);
        }
        Ok(())
    }

    /// Asks a node which chain it is of; the first that answers says which this is, where the pipeline does not.
    async fn expect_this_chain(&mut self, index: usize) -> Result<(), NodeError> {
        let found = self.nodes.identity(index).await?;
        let wanted = *self.following.chain_id.get_or_insert(found.chain_id);
        if wanted != found.chain_id {
            let found = found.chain_id;
            return Err(NodeError::OtherChain(format!("it is of chain {found}, and this is chain {wanted}")));
        }
        if let Some(genesis) = found.genesis {
            let wanted = self.following.genesis.get_or_insert_with(|| genesis.clone());
            if *wanted != genesis {
                let why = format!("its block 0 is {genesis}, and this chain's is {wanted}");
                return Err(NodeError::OtherChain(why));
            }
        }
        Ok(())
    }

    /// Brings the yard's chain nearer to the node's; also what an operator should know.
    async fn go_on(
        &mut self,
        of: usize,
        head: &NamedBlock,
        now_ms: u64,
    ) -> Result<(Round, Option<String>), Fault<I::Error>> {
        let tip = self.tip().await.map_err(Fault::Home)?;
        let start_height = self.start_height().await.map_err(Fault::Home)?;
        let Some(tip) = tip else {
            let trouble = (head.height < start_height).then(|| below_start(head, start_height));
            let brought = self.bring(of, start_height, head.height, None).await?;
            return Ok((self.came_to(brought, head, None), trouble));
        };
        if *head == tip {
            self.lower = None;
            self.ask_finality(of, head, now_ms).await?;
            return Ok((Round::default(), None));
        }
        if head.height > tip.height {
            self.lower = None;
            match self.bring(of, tip.height + 1, head.height, Some(&tip.hash)).await? {
                Brought::Elsewhere => {}
                brought => {
                    self.ask_finality(of, head, now_ms).await?;
                    return Ok((self.came_to(brought, head, None), None));
                }
            }
        } else {
            if head.height < start_height {
                return Ok((Round::default(), Some(below_start(head, start_height))));
            }
            if self.canonical_hash(head.height).await.map_err(Fault::Home)?.as_ref() == Some(&head.hash) {
                self.lower = None;
                // Another process may have taken more since the tip was read.
                let blocks = tip.height.saturating_sub(head.height);
                let behind = format!("the node's newest block is {blocks} behind the newest that was taken");
                return Ok((Round::default(), Some(behind)));
            }
            if head.height < tip.height && !self.says_so_still(head, now_ms) {
                let why = format!("the node has another block {} and nothing above it", head.height);
                return Ok((Round::default(), Some(why)));
            }
        }
        self.change_branch(of, head, &tip, start_height).await
    }

    /// Takes the blocks above the last one that both chains have, and records the reorg.
    async fn change_branch(
        &mut self,
        of: usize,
        head: &NamedBlock,
        tip: &NamedBlock,
        start_height: u64,
    ) -> Result<(Round, Option<String>), Fault<I::Error>> {
        let common = self.last_common(of, tip.height.min(head.height), start_height).await?;
        let from = common.as_ref().map_or(start_height, |block| block.height + 1);
        if common.is_none() || tip.height.saturating_sub(from) >= DEEP_BLOCKS {
            self.expect_this_chain(of).await?;
        }
        let brought = self.bring(of, from, head.height, common.as_ref().map(|block| &block.hash)).await?;
        let Brought::Blocks(_, Some(last)) = &brought else {
            // Its chain changed meanwhile, or does not hold together: it rests a moment before the next round finds out.
            let why = format!("its block {from} does not go on from the block below");
            return Err(NodeError::NotTrue(why).into());
        };
        let last = last.clone();
        if self.tip().await.map_err(Fault::Home)?.as_ref() == Some(tip) {
            let why = format!("its blocks from {from} on are not those that it names");
            return Err(NodeError::NotTrue(why).into());
        }
        self.lower = None;
        Ok((self.came_to(brought, head, Some(last)), None))
    }

    fn came_to(&self, brought: Brought, head: &NamedBlock, reorg: Option<NamedBlock>) -> Round {
        let (blocks, last) = match brought {
            Brought::Blocks(blocks, last) => (blocks, last),
            Brought::Elsewhere => (0, None),
        };
        let has_more = last.is_some_and(|last| last.height < head.height);
        Round { blocks, reorg, has_more, is_whole: false, rests_until_ms: None }
    }

    /// Takes the node's blocks from a height on, at most as many as one round may, each the child of the one before, the
    /// first that of `parent`; then makes the last of them the tip, if it is not yet.
    async fn bring(
        &mut self,
        of: usize,
        from: u64,
        head: u64,
        parent: Option<&BlockHash>,
    ) -> Result<Brought, Fault<I::Error>> {
        let most = (self.source.batch_blocks * self.source.requests_at_once).min(MOST_BLOCKS);
        let to = head.min(from.saturating_add(most - 1));
        if to < from {
            return Ok(Brought::Blocks(0, None));
        }
        let mut blocks: Vec<RecordedBlock> = Vec::new();
        for (height, json) in (from..).zip(self.nodes.blocks(of, from..=to).await?) {
            let block = self.checked(&json, height)?;
            let parent = blocks.last().map(|block| BlockHash::from(&block.hash)).or_else(|| parent.cloned());
            if parent.is_some_and(|parent| parent != BlockHash::from(&block.parent)) {
                match blocks.is_empty() {
                    true => return Ok(Brought::Elsewhere),
                    // Its chain changed between two requests: what is below still holds together.
                    false => break,
                }
            }
            blocks.push(block);
        }
        if blocks.is_empty() {
            return Err(NodeError::NotTrue(format!(
                "it names block {head} as its newest, and has no block {from}"
            ))
            .into());
        }
        let count = blocks.len() as u64;
        let last = blocks.last().map(RecordedBlock::named);
        let mut are_appended = true;
        for block in blocks {
            let fact = Fact::Block(Box::new(block));
            let outcome = self.intake.take(&self.chain, &fact).await.map_err(Fault::Home)?;
            are_appended &= outcome == Some(BlockOutcome::Appended);
        }
        if !are_appended && let Some(last) = &last {
            self.settle(last).await.map_err(Fault::Home)?;
        }
        Ok(Brought::Blocks(count, last))
    }

    /// Makes a block that was taken the newest one, where it is not on the chain: it was known before and had left the chain, or
    /// is of another branch.
    async fn settle(&self, block: &NamedBlock) -> Result<(), I::Error> {
        if self.canonical_hash(block.height).await?.as_ref() == Some(&block.hash) {
            return Ok(());
        }
        let fact = Fact::Reorg { height: block.height, hash: block.hash.clone() };
        self.intake.take(&self.chain, &fact).await?;
        Ok(())
    }

    /// The highest block at or below a height that both chains have; `None` where they differ from the start. Looks further
    /// back each time, then halves what is left: some 2 log2 of the reorg's depth questions.
    async fn last_common(
        &self,
        of: usize,
        below: u64,
        start_height: u64,
    ) -> Result<Option<NamedBlock>, Fault<I::Error>> {
        // All at or above `differs` differ.
        let (mut differs, mut step) = (below + 1, 1);
        let mut common = loop {
            if differs <= start_height {
                break None;
            }
            let height = differs.saturating_sub(step).max(start_height);
            match self.common_at(of, height).await? {
                Some(block) => break Some(block),
                None => (differs, step) = (height, step * 2),
            }
        };
        while let Some(block) = &common {
            if block.height + 1 == differs {
                break;
            }
            let middle = block.height + (differs - block.height) / 2;
            match self.common_at(of, middle).await? {
                Some(block) => common = Some(block),
                None => differs = middle,
            }
        }
        Ok(common)
    }

    async fn common_at(&self, of: usize, height: u64) -> Result<Option<NamedBlock>, Fault<I::Error>> {
        let theirs = self.nodes.block_at(of, height).await?;
        let ours = self.canonical_hash(height).await.map_err(Fault::Home)?;
        Ok(theirs.filter(|theirs| ours.as_ref() == Some(&theirs.hash)))
    }

    /// Whether the node has said for long enough that its chain ends with this block.
    fn says_so_still(&mut self, head: &NamedBlock, now_ms: u64) -> bool {
        match &mut self.lower {
            // It may grow meanwhile.
            Some(lower) if head.height >= lower.head.height => {
                lower.head.clone_from(head);
                now_ms.saturating_sub(lower.since_ms) >= LOWER_BRANCH_MS
            }
            _ => {
                self.lower = Some(LowerBranch { head: head.clone(), since_ms: now_ms });
                false
            }
        }
    }

    async fn ask_finality(
        &mut self,
        of: usize,
        head: &NamedBlock,
        now_ms: u64,
    ) -> Result<(), Fault<I::Error>> {
        if let Some(asked) = self.finality_asked {
            let is_new = asked.head != head.height;
            let every_ms = if is_new { FINALITY_EVERY_MS } else { FINALITY_OF_OLD_HEAD_EVERY_MS };
            if now_ms.saturating_sub(asked.at_ms) < every_ms {
                return Ok(());
            }
        }
        self.finality_asked = Some(AskedFinality { at_ms: now_ms, head: head.height });
        let finality: Finality = match self.nodes.finality(of, &self.chain).await {
            Ok(finality) => finality,
            Err(busy @ NodeError::Busy { .. }) => return Err(busy.into()),
            // Its blocks are good all the same.
            Err(_) => return Ok(()),
        };
        if finality.safe.is_some() || finality.finalized.is_some() {
            self.intake.take(&self.chain, &Fact::Finality(finality)).await.map_err(Fault::Home)?;
        }
        Ok(())
    }

    /// Reads a block and hashes its header again.
    fn checked(&self, json: &str, height: u64) -> Result<RecordedBlock, NodeError> {
        let line = parse_line("its answer", height, json.as_bytes(), &self.rules);
        match line {
            Ok(Line::Block(block))
                if block.segments > 0 || block.state_pre.is_some() || block.state_post.is_some() =>
            {
                Err(NodeError::Rubbish(format!("its block {height} is not what nodes answer")))
            }
            Ok(Line::Block(block)) if block.height == height => Ok(*block),
            Ok(Line::Block(block)) => Err(NodeError::NotTrue(format!(
                "asked for block {height}, it answered with {}",
                block.height
            ))),
            Ok(Line::Reorg { .. }) => Err(NodeError::Rubbish(format!("its block {height} is none"))),
            Err(error) => Err(NodeError::NotTrue(format!("its block {height} cannot be taken: {error}"))),
        }
    }

    async fn tip(&self) -> Result<Option<NamedBlock>, I::Error> {
        let tip: Tip = self.intake.yard().tip(&self.chain).await?;
        Ok(tip.head.map(|(height, hash)| NamedBlock { height, hash }))
    }

    async fn canonical_hash(&self, height: u64) -> Result<Option<BlockHash>, I::Error> {
        Ok(self.intake.yard().canonical_hash(&self.chain, height).await?)
    }

    async fn start_height(&self) -> Result<u64, I::Error> {
        Ok(self.intake.yard().chain_state(&self.chain).await?.start_height)
    }

    /// Writes down how following goes, where that changed or is old.
    async fn write_status(
        &mut self,
        head: Option<&NamedBlock>,
        trouble: Option<String>,
        now_ms: u64,
    ) -> Result<(), I::Error> {
        let before = &self.following;
        let is_new_head = head.is_some_and(|head| before.head.as_ref() != Some(head));
        let following = Following {
            head: head.cloned().or_else(|| before.head.clone()),
            heard_ms: head.map(|_| now_ms).or(before.heard_ms),
            head_since_ms: if is_new_head { now_ms } else { before.head_since_ms },
            trouble: trouble.map(shortened_trouble),
            endpoints: self.health.statuses().into_iter().chain(self.nodes.subscriptions()).collect(),
            written_ms: now_ms,
            finality_asked: self.finality_asked,
            lower: self.lower.clone(),
            ..before.clone()
        };
        let timeless =
            |following: &Following| Following { heard_ms: None, written_ms: 0, ..following.clone() };
        let is_old = now_ms.saturating_sub(before.written_ms) >= STATUS_EVERY_MS;
        if !is_old && timeless(&following) == timeless(before) {
            return Ok(());
        }
        self.intake.yard().record_following(&following).await?;
        self.following = following;
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.intake.yard().port.now_ms()
    }
}

fn below_start(head: &NamedBlock, start_height: u64) -> String {
    format!("the node's newest block is {}, and the chain starts at {start_height}", head.height)
}
