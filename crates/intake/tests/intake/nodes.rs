//! Nodes whose chains and whose failures a test decides, and the yard that follows them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proofyard_blocks::{Rules, TakingError};
use proofyard_core::Yard;
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::pipeline::{Header, NodeSource};
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::{ArtifactRef, BlockHash, Canonical, ChainName, Finality, Following, NamedBlock};
use proofyard_core::transaction::read;
use proofyard_intake::follower::{Follower, Hint, Identity, NodeError, Nodes, Round};
use proofyard_intake::{Fact, Intake, record};

use crate::memory::Memory;

const START_MS: u64 = 1_000_000_000;

/// As the pipeline calls it.
fn chain() -> ChainName {
    "c".parse().unwrap()
}

const PIPELINE: &str = r#"
[chain]
name = "c"
start_height = 1
window = 4
header = "trusted"

[source.node]
rpc = ["http://one", "http://two"]
batch_blocks = 4
requests_at_once = 2

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "main"

[prover.p]
command = ["p"]

[pool.main]
"#;

/// Runs a future that never has to wait.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing in memory waits"),
    }
}

/// A hash that tells the height and the branch.
pub fn hash(height: u64, branch: u64) -> BlockHash {
    format!("0x{branch:032x}{height:032x}").into()
}

/// Makes another answer of the block at a height.
pub type Forge = fn(u64, String) -> String;

/// One chain as a node has it: which branch each height is of, from height 0.
#[derive(Default)]
pub struct OneNode {
    pub branches: RefCell<Vec<u64>>,
    pub chain_id: Cell<u64>,
    pub genesis: Cell<u64>,
    /// What the next requests come to, whatever they ask; then it works again.
    pub faults: RefCell<VecDeque<NodeError>>,
    /// Requests of any kind.
    pub asked: Cell<usize>,
    pub finality: RefCell<Option<(u64, u64)>>,
    /// What it calls its newest block's height, whatever it has.
    pub claims: Cell<Option<u64>>,
    /// Changes what it answers as a block's JSON.
    pub forge: RefCell<Option<Forge>>,
}

impl OneNode {
    pub fn grow(&self, to: u64, branch: u64) {
        let mut branches = self.branches.borrow_mut();
        while branches.len() as u64 <= to {
            branches.push(branch);
        }
    }

    pub fn cut(&self, to: u64) {
        self.branches.borrow_mut().truncate(usize::try_from(to + 1).unwrap());
    }

    /// Another branch above a height, up to a height.
    pub fn reorg(&self, above: u64, to: u64, branch: u64) {
        self.cut(above);
        self.grow(to, branch);
    }

    fn named(&self, height: u64) -> Option<NamedBlock> {
        let branch = *self.branches.borrow().get(usize::try_from(height).unwrap())?;
        Some(NamedBlock { height, hash: hash(height, branch) })
    }

    fn ask(&self) -> Result<(), NodeError> {
        self.asked.set(self.asked.get() + 1);
        self.faults.borrow_mut().pop_front().map_or(Ok(()), Err)
    }

    fn json(&self, height: u64) -> Option<String> {
        let block = self.named(height)?;
        let parent = height.checked_sub(1).and_then(|below| self.named(below)).map(|parent| parent.hash);
        let json = serde_json::json!({
            "number": format!("{height:#x}"), "hash": block.hash, "timestamp": format!("{:#x}", height + 1_700_000_000),
            "parentHash": parent.unwrap_or_else(|| hash(0, 99)), "transactions": [],
        })
        .to_string();
        Some(self.forge.borrow().map_or_else(|| json.clone(), |forge| forge(height, json.clone())))
    }

    pub fn hint(&self, height: u64) -> Hint {
        let (block, parent) = (self.named(height).unwrap(), self.named(height - 1).unwrap());
        Hint { height, hash: block.hash, parent: parent.hash }
    }
}

pub struct ManyNodes {
    names: Vec<String>,
    pub nodes: Vec<OneNode>,
}

impl Nodes for ManyNodes {
    fn names(&self) -> &[String] {
        &self.names
    }

    async fn heads(&self, of: &[usize]) -> Vec<Result<NamedBlock, NodeError>> {
        let head = |index: &usize| {
            let node = &self.nodes[*index];
            node.ask()?;
            let newest = node.branches.borrow().len() as u64 - 1;
            match node.claims.get() {
                Some(height) => Ok(NamedBlock { height, hash: hash(height, 77) }),
                None => Ok(node.named(newest).unwrap()),
            }
        };
        of.iter().map(head).collect()
    }

    async fn identity(&self, of: usize) -> Result<Identity, NodeError> {
        let node = &self.nodes[of];
        node.ask()?;
        Ok(Identity { chain_id: node.chain_id.get(), genesis: Some(hash(0, node.genesis.get()).into()) })
    }

    async fn blocks(&self, of: usize, heights: RangeInclusive<u64>) -> Result<Vec<String>, NodeError> {
        self.nodes[of].ask()?;
        Ok(heights.map_while(|height| self.nodes[of].json(height)).collect())
    }

    async fn block(&self, of: usize, hash: &str) -> Result<Option<String>, NodeError> {
        self.nodes[of].ask()?;
        let heights = 0..self.nodes[of].branches.borrow().len() as u64;
        let found =
            heights.into_iter().find(|height| self.nodes[of].named(*height).unwrap().hash.as_str() == hash);
        Ok(found.and_then(|height| self.nodes[of].json(height)))
    }

    async fn block_at(&self, of: usize, height: u64) -> Result<Option<NamedBlock>, NodeError> {
        self.nodes[of].ask()?;
        Ok(self.nodes[of].named(height))
    }

    async fn finality(&self, of: usize, chain: &ChainName) -> Result<Finality, NodeError> {
        self.nodes[of].ask()?;
        let said = *self.nodes[of].finality.borrow();
        let safe = said.and_then(|(safe, _)| self.nodes[of].named(safe));
        let finalized = said.and_then(|(_, finalized)| self.nodes[of].named(finalized));
        Ok(Finality { chain: chain.clone(), safe, finalized })
    }
}

/// A home in memory that keeps payloads nowhere, and can be told to fail.
pub struct Home {
    yard: Yard<Memory>,
    /// So many facts are taken before one fails.
    pub fails_after: Cell<Option<usize>>,
    pub taken: RefCell<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Taking(#[from] TakingError),
    #[error("no room")]
    Full,
}

impl Coded for HomeError {
    fn code(&self) -> Code {
        Code::StorageUnavailable
    }
}

impl Intake for Home {
    type Error = HomeError;

    fn yard(&self) -> &Yard {
        &self.yard
    }

    async fn take(&self, chain: &ChainName, fact: &Fact) -> Result<Option<BlockOutcome>, HomeError> {
        if let Some(left) = self.fails_after.get() {
            self.fails_after.set(left.checked_sub(1));
            if left == 0 {
                return Err(HomeError::Full);
            }
        }
        self.taken.borrow_mut().push(match fact {
            Fact::Block(block) => format!("block {}", block.height),
            Fact::Reorg { height, .. } => format!("reorg {height}"),
            Fact::End => "end".to_owned(),
            Fact::Finality(_) => "finality".to_owned(),
        });
        record(&self.yard, chain, fact, async |payload| {
            Ok(ArtifactRef { sha256: "5a".repeat(32), bytes: payload.len() as u64 })
        })
        .await
    }
}

pub struct Test {
    pub follower: Follower<Home, ManyNodes>,
}

impl Test {
    /// A yard that follows two nodes, both at block 0 of one chain.
    pub fn new() -> Self {
        let yard = Yard::new(Memory::new(START_MS, 7));
        now(yard.record_pipeline(PIPELINE)).unwrap();
        Self::over(yard, Self::two_nodes())
    }

    pub fn two_nodes() -> ManyNodes {
        let nodes: Vec<OneNode> = (0..2).map(|_| OneNode::default()).collect();
        for node in &nodes {
            node.grow(0, 0);
            node.chain_id.set(7);
        }
        ManyNodes { names: vec!["http://one".into(), "http://two".into()], nodes }
    }

    fn over(yard: Yard<Memory>, nodes: ManyNodes) -> Self {
        let (home, source, rules) = Self::home_over(yard);
        Self { follower: now(Follower::begin(home, nodes, &chain(), rules, &source)).unwrap() }
    }

    fn home_over(yard: Yard<Memory>) -> (Home, NodeSource, Rules) {
        let pipeline = now(yard.chain(&chain())).unwrap().1;
        let source: NodeSource = pipeline.node.clone().unwrap();
        let rules = Rules { header: Header::Trusted, ..Rules::default() };
        (Home { yard, fails_after: Cell::default(), taken: RefCell::default() }, source, rules)
    }

    /// As after a crash: nothing is left but the state.
    pub fn restarted(self) -> Self {
        let (home, nodes) = self.follower.into_parts();
        Self::over(home.yard, nodes)
    }

    /// Its next round is another follower's, which goes on with what this one left.
    pub fn gone_on(self) -> Self {
        let (home, nodes) = self.follower.into_parts();
        let (home, source, rules) = Self::home_over(home.yard);
        Self { follower: now(Follower::go_on_with(home, nodes, &chain(), rules, &source)).unwrap() }
    }

    pub fn node(&self, index: usize) -> &OneNode {
        &self.follower.nodes().nodes[index]
    }

    pub fn home(&self) -> &Home {
        self.follower.intake()
    }

    pub fn pass(&self, ms: u64) {
        self.home().yard.port.pass(ms);
    }

    pub fn now_ms(&self) -> u64 {
        proofyard_core::port::Port::now_ms(&self.home().yard.port)
    }

    pub fn round(&mut self) -> Round {
        now(self.follower.round(None)).unwrap()
    }

    /// Rounds until one takes nothing; a yard's own steps are taken after each.
    pub fn follow(&mut self) {
        for _ in 0..10_000 {
            let round = self.round();
            self.settle();
            if round.blocks == 0 && round.reorg.is_none() && !round.has_more {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    fn settle(&self) {
        while let Some(wake) = self.home().yard.port.next_wake() {
            now(self.home().yard.advance(&wake)).unwrap();
        }
    }

    pub fn tip(&self) -> Option<(u64, BlockHash)> {
        now(self.home().yard.tip(&chain())).unwrap().head
    }

    pub fn canonical(&self, height: u64) -> Option<BlockHash> {
        let place: Option<Canonical> =
            now(read(&self.home().yard.port, &Canonical::key_of(&chain(), height))).unwrap();
        place.map(|place| place.hash)
    }

    pub fn status(&self) -> Following {
        now(self.home().yard.following(&chain())).unwrap().unwrap()
    }

    pub fn finality(&self) -> Option<Finality> {
        now(self.home().yard.finality(&chain())).unwrap()
    }

    /// The yard's chain is this node's, up to its head.
    pub fn expect_same_chain(&self, index: usize) {
        let newest = self.node(index).branches.borrow().len() as u64 - 1;
        assert_eq!(self.tip(), Some((newest, self.node(index).named(newest).unwrap().hash)));
        for height in 1..=newest {
            assert_eq!(
                self.canonical(height),
                Some(self.node(index).named(height).unwrap().hash),
                "{height}"
            );
        }
    }
}
