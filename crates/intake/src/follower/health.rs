//! Which of a chain's nodes is followed. One that fails rests, longer each time; the one that is followed is kept while its
//! head is not clearly behind, so that two that disagree on the newest block do not take turns.

use proofyard_core::state::{EndpointState, EndpointStatus, NamedBlock};

use super::nodes::NodeError;

/// A node whose head is so many blocks behind another's is not followed.
const BEHIND_BLOCKS: u64 = 3;
const FIRST_REST_MS: u64 = 500;
const LONGEST_REST_MS: u64 = 60_000;
/// A node that asks for a longer rest is asked again all the same.
const LONGEST_BUSY_MS: u64 = 600_000;
/// A node of another chain is looked at again after so long.
const OTHER_CHAIN_REST_MS: u64 = 60_000;
/// For so long it is believed to be of its chain by a follower that looks now and then.
const IDENTIFIED_FOR_MS: u64 = 60_000;
/// Bytes of an error that is kept.
const ERROR_BYTES: usize = 256;

pub(super) struct Health {
    nodes: Vec<Node>,
    followed: Option<usize>,
}

struct Node {
    /// Which chain it is of is asked again after it could not be reached: another may have taken its place.
    status: EndpointStatus,
    /// Of the last time that it was asked.
    head: Option<NamedBlock>,
}

impl Health {
    pub(super) fn new(names: &[String], now_ms: u64) -> Self {
        let node = |name: &String| Node { status: EndpointStatus::new(name.clone(), now_ms), head: None };
        Self { nodes: names.iter().map(node).collect(), followed: None }
    }

    /// As it was left, where the nodes are still the same. Between two looks another node may have taken one's place, so
    /// that each says now and then which chain it is of.
    pub(super) fn left(names: &[String], before: &[EndpointStatus], now_ms: u64) -> Self {
        let mut health = Self::new(names, now_ms);
        for (node, before) in health.nodes.iter_mut().zip(before) {
            if node.status.name == before.name {
                let is_recent = |at_ms: &u64| now_ms.saturating_sub(*at_ms) < IDENTIFIED_FOR_MS;
                let identified_ms = before.identified_ms.filter(is_recent);
                node.status = EndpointStatus { identified_ms, ..before.clone() };
            }
        }
        let followed = |node: &Node| node.status.state == EndpointState::Followed;
        health.followed = health.nodes.iter().position(followed);
        health
    }

    pub(super) fn awake(&self, now_ms: u64) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].status.rests_until_ms <= now_ms).collect()
    }

    pub(super) fn is_identified(&self, index: usize) -> bool {
        self.nodes[index].status.identified_ms.is_some()
    }

    pub(super) fn identified(&mut self, index: usize, now_ms: u64) {
        self.nodes[index].status.identified_ms = Some(now_ms);
    }

    /// The node that takes the next question about a block by its hash.
    pub(super) fn followed(&self, now_ms: u64) -> Option<usize> {
        self.followed.filter(|index| self.nodes[*index].status.rests_until_ms <= now_ms)
    }

    pub(super) fn answered(&mut self, index: usize, head: NamedBlock) {
        let node = &mut self.nodes[index];
        // What is wrong with its blocks is forgotten only once they are good.
        if node.status.state != EndpointState::Wrong {
            node.status.failures = 0;
        }
        node.status.head = Some(head.height);
        node.head = Some(head);
    }

    /// Of the nodes that answered and are of this chain, the one to follow, with its head.
    pub(super) fn choose(&mut self, answered: &[usize], now_ms: u64) -> Option<(usize, NamedBlock)> {
        let heights: Vec<(usize, u64)> = answered
            .iter()
            .filter_map(|index| Some((*index, self.nodes[*index].head.as_ref()?.height)))
            .collect();
        let best = heights.iter().map(|(_, height)| *height).max()?;
        let near: Vec<usize> = heights
            .iter()
            .filter(|(_, height)| height.saturating_add(BEHIND_BLOCKS) > best)
            .map(|(index, _)| *index)
            .collect();
        let chosen = self.followed.filter(|index| near.contains(index)).or_else(|| near.first().copied())?;
        for index in answered {
            let state = match near.contains(index) {
                _ if *index == chosen => EndpointState::Followed,
                true => EndpointState::Ready,
                false => EndpointState::Behind,
            };
            self.nodes[*index].set(state, None, now_ms);
        }
        self.followed = Some(chosen);
        Some((chosen, self.nodes[chosen].head.clone()?))
    }

    /// It did what it was asked.
    pub(super) fn served(&mut self, index: usize) {
        self.nodes[index].status.failures = 0;
    }

    /// It did not: it rests.
    pub(super) fn failed(&mut self, index: usize, error: &NodeError, now_ms: u64) {
        self.followed = self.followed.filter(|followed| *followed != index);
        let node = &mut self.nodes[index];
        let failures = node.status.failures.saturating_add(1);
        node.status.failures = failures;
        if matches!(error, NodeError::Down(_)) {
            node.status.identified_ms = None;
        }
        let doubled_ms = FIRST_REST_MS.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_REST_MS);
        let (state, rest_ms) = match error {
            NodeError::Down(_) => (EndpointState::Down, doubled_ms),
            NodeError::Busy { retry_after_ms, .. } => (
                EndpointState::Busy,
                retry_after_ms.unwrap_or(doubled_ms).clamp(FIRST_REST_MS, LONGEST_BUSY_MS),
            ),
            NodeError::Refused { .. } | NodeError::Rubbish(_) | NodeError::NotTrue(_) => {
                (EndpointState::Wrong, doubled_ms)
            }
            NodeError::OtherChain(_) => (EndpointState::OtherChain, OTHER_CHAIN_REST_MS),
        };
        node.status.rests_until_ms = now_ms.saturating_add(rest_ms);
        let text = error.to_string();
        let end = text.floor_char_boundary(ERROR_BYTES);
        node.set(state, Some(text[..end].to_owned()), now_ms);
    }

    /// When the first of those that rest is asked again.
    pub(super) fn wakes_ms(&self) -> Option<u64> {
        self.nodes.iter().map(|node| node.status.rests_until_ms).min()
    }

    pub(super) fn statuses(&self) -> Vec<EndpointStatus> {
        self.nodes.iter().map(|node| node.status.clone()).collect()
    }
}

impl Node {
    fn set(&mut self, state: EndpointState, error: Option<String>, now_ms: u64) {
        if self.status.state != state {
            self.status.since_ms = now_ms;
            self.status.state = state;
        }
        self.status.error = error;
    }
}
