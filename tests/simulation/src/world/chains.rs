//! The true nodes, and the sources of the yard's blocks: followers, which also decide branches, and noise.

use std::rc::Rc;

use proofyard_core::error::{Error, with_causes};
use proofyard_core::state::{Block, ChainName, KnownBlock};

use super::World;

impl World {
    pub(super) async fn put_pipelines_in_force(self: Rc<Self>) {
        for chain in &self.plan.chains {
            while let Err(error) = self.yard.record_pipeline(&chain.text).await {
                self.expect_passing("record_pipeline", &error);
                self.simulation.sleep(100).await;
            }
        }
    }

    pub(super) fn start_nodes(self: &Rc<Self>) {
        for index in 0..self.plan.chains.len() {
            let world = self.clone();
            let process = self.simulation.start_process(format!("node of {}", self.plan.chains[index].name));
            self.simulation.spawn(process, "mine", async move { world.mine(index).await });
        }
    }

    async fn mine(&self, index: usize) {
        let plan = &self.plan.chains[index];
        loop {
            let is_over = self.nodes.borrow().get(&plan.name).is_some_and(|node| node.mined() >= plan.blocks);
            let interval_ms = if is_over { plan.flip_interval_ms } else { plan.block_interval_ms };
            let pause_ms = self.draw(|random| random.between(0, interval_ms * 2));
            self.simulation.sleep(pause_ms).await;
            let mut nodes = self.nodes.borrow_mut();
            let Some(node) = nodes.get_mut(&plan.name) else { return };
            if self.is_calm.get() || (is_over && plan.reorg == 0) {
                return;
            }
            if is_over {
                if self.happens(plan.reorg) && self.draw(|random| node.go_back(random)) {
                    self.simulation.count("world: node went back to a branch it had left");
                    self.node_signal.notify(&self.simulation);
                }
                continue;
            }
            let is_reorg = node.head.is_some() && self.happens(plan.reorg);
            if is_reorg && self.draw(|random| node.change_branch(plan.reorg_depth, random)) {
                self.simulation.count("world: node changed branch");
            } else {
                self.draw(|random| node.mine(random));
                self.simulation.count("world: block mined");
            }
            if self.draw(|random| random.chance(5_000)) {
                self.node_signal.notify(&self.simulation);
            }
            self.simulation.trace(|| format!("node of {}: head is {:?}", plan.name, node.head));
        }
    }

    /// A follower: sends the node's branch to the yard, again and again, and records a reorg where the yard is on another.
    pub(super) async fn follow(self: Rc<Self>, chain: ChainName) {
        let mut sent = 0;
        loop {
            let branch = self.nodes.borrow().get(&chain).map(|node| node.branch()).unwrap_or_default();
            let mut order: Vec<usize> = (0..branch.len()).collect();
            // After a restart, and sometimes in between, the whole branch is sent again; and not always in order.
            if sent > 0 && !self.happens(500) {
                order.retain(|index| {
                    index + 2 > branch.len() || !self.is_acknowledged(&chain, &branch[*index])
                });
            }
            if self.happens(1_000) {
                order.reverse();
            }
            for index in order {
                self.send_block(&chain, &branch[index]).await;
                sent += 1;
            }
            if let Some(head) = branch.last() {
                self.reorg_onto(&chain, head).await;
            }
            let pause_ms = self.draw(|random| random.between(50, 4_000));
            self.node_signal.wait(&self.simulation, self.simulation.now_ms() + pause_ms).await;
        }
    }

    fn is_acknowledged(&self, chain: &ChainName, block: &Block) -> bool {
        let nodes = self.nodes.borrow();
        nodes.get(chain).is_some_and(|node| node.acknowledged.contains(&(block.height, block.hash.clone())))
    }

    async fn send_block(&self, chain: &ChainName, block: &Block) -> bool {
        let Some(answer) = self.acknowledged(self.yard.record_block(chain, block)).await else {
            return false;
        };
        match answer {
            Ok(outcome) => {
                self.simulation.trace(|| format!("{} {} of {chain}: {outcome:?}", block.height, block.hash));
                let key = KnownBlock::key_of(chain, block.height, &block.hash);
                if self.simulation.table().may_lose(&key) {
                    self.simulation
                        .violate(format!("{key} is acknowledged, and a power loss may still take it back"));
                }
                if let Some(node) = self.nodes.borrow_mut().get_mut(chain) {
                    node.acknowledged.insert((block.height, block.hash.clone()));
                }
                true
            }
            Err(error) => {
                self.expect_passing("record_block", &error);
                false
            }
        }
    }

    /// Records a reorg unless the yard's tip is the node's head.
    async fn reorg_onto(&self, chain: &ChainName, head: &Block) {
        let Ok(tip) = self.yard.tip(chain).await else { return };
        if tip.head.as_ref().is_some_and(|(height, hash)| (*height, hash) == (head.height, &head.hash)) {
            return;
        }
        // The yard may only not have appended the head yet; sometimes the follower waits for that.
        if self.draw(|random| random.chance(3_000)) {
            return;
        }
        let Some(answer) = self.acknowledged(self.yard.record_reorg(chain, head.height, &head.hash)).await
        else {
            return;
        };
        match answer {
            Ok(outcome) => {
                self.simulation.count("world: follower settled the branch");
                self.simulation
                    .trace(|| format!("reorg of {chain} onto {} {}: {outcome:?}", head.height, head.hash));
            }
            // Not all of the branch is acknowledged yet.
            Err(Error::Refused(_)) => self.simulation.count("world: reorg refused"),
            Err(error) => self.expect_passing("record_reorg", &error),
        }
    }

    /// Sends late repeats, blocks of branches that were left, and blocks whose parents the yard does not have.
    pub(super) async fn make_noise(self: Rc<Self>, chain: ChainName) {
        loop {
            let pause_ms = self.draw(|random| random.between(1, self.plan.noise_interval_ms * 2));
            self.simulation.sleep(pause_ms).await;
            if self.is_calm.get() {
                self.simulation.sleep(3_600_000).await;
                continue;
            }
            let block =
                self.nodes.borrow().get(&chain).and_then(|node| self.draw(|random| node.any_block(random)));
            if let Some(block) = block {
                self.simulation.count("world: stray block event");
                self.send_block(&chain, &block).await;
            }
        }
    }

    /// Only errors that a retry may end are allowed; any other is a violation.
    pub(super) fn expect_passing(&self, what: &str, error: &Error) {
        match error {
            Error::Port(_) => self.simulation.count("branch: port error passed on"),
            Error::Contended { .. } => self.simulation.count("branch: contended"),
            error => self.simulation.violate(format!("{what}: {}", with_causes(error))),
        }
    }
}
