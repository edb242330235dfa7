//! `split`: a task for each segment that the block names, or for each element of the list that one task wrote.

use crate::state::{Block, Inputs, TaskResult};

/// What a group is made of: its inputs and how many tasks it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub inputs: Inputs,
    pub expected: u32,
}

pub fn of_block(block: &Block) -> Plan {
    let inputs = Inputs::Elements { artifact: block.payload.clone(), of_block: true, list_hash: None };
    Plan { inputs, expected: block.segments }
}

/// The first accepted list fixes the count.
pub fn of_list(partition: &TaskResult) -> Option<Plan> {
    let list = partition.list.as_ref()?;
    let (artifact, list_hash) = (partition.artifact.clone(), Some(list.sha256.clone()));
    Some(Plan { inputs: Inputs::Elements { artifact, of_block: false, list_hash }, expected: list.count })
}
