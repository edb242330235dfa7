//! The root of a list as Ethereum commits to it: a Merkle Patricia trie of the items under their RLP-encoded places.
//!
//! Written here, since the crates that have it ask for features of `alloy-rlp` by which all that reads blocks would be compiled
//! a second time.

use alloy_rlp::{Encodable, Header};
use sha3::{Digest, Keccak256};

/// A longer node is named by its hash.
const HASHED_FROM_BYTES: usize = 32;

/// `items` as they are in the trie: encoded.
pub(crate) fn root_of(items: &[Vec<u8>]) -> [u8; 32] {
    let mut leaves: Vec<Leaf<'_>> = items
        .iter()
        .enumerate()
        .map(|(place, value)| Leaf { path: nibbles(&alloy_rlp::encode(place as u64)), value })
        .collect();
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    let root = match leaves.is_empty() {
        true => encoded(&[] as &[u8]),
        false => node(&leaves, 0),
    };
    Keccak256::digest(root).into()
}

struct Leaf<'a> {
    path: Vec<u8>,
    value: &'a [u8],
}

fn nibbles(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect()
}

/// The node over these leaves, whose paths are one down to `depth`. No path is the beginning of another: encoded places are not.
fn node(leaves: &[Leaf<'_>], depth: usize) -> Vec<u8> {
    let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return encoded(&[] as &[u8]) };
    if leaves.len() == 1 {
        return list(&[encoded(packed(&first.path[depth..], true).as_slice()), encoded(first.value)]);
    }
    // They are in order: what the outermost have in common, all have.
    let shared = first.path[depth..].iter().zip(&last.path[depth..]).take_while(|(a, b)| a == b).count();
    if shared > 0 {
        let below = depth + shared;
        let path = packed(&first.path[depth..below], false);
        return list(&[encoded(path.as_slice()), named(node(leaves, below))]);
    }
    let mut parts: Vec<Vec<u8>> = (0..16)
        .map(|nibble| {
            let from = leaves.partition_point(|leaf| leaf.path[depth] < nibble);
            let to = leaves.partition_point(|leaf| leaf.path[depth] <= nibble);
            match from == to {
                true => encoded(&[] as &[u8]),
                false => named(node(&leaves[from..to], depth + 1)),
            }
        })
        .collect();
    // No value ends at a branch.
    parts.push(encoded(&[] as &[u8]));
    list(&parts)
}

/// A node as another one names it.
fn named(node: Vec<u8>) -> Vec<u8> {
    match node.len() < HASHED_FROM_BYTES {
        true => node,
        false => encoded(Keccak256::digest(node).as_slice()),
    }
}

/// Nibbles in bytes, with what says whether their number is odd and whether a leaf follows.
fn packed(path: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = if is_leaf { 2 } else { 0 };
    let mut all = match path.len() % 2 {
        0 => vec![flag, 0],
        _ => vec![flag + 1],
    };
    all.extend_from_slice(path);
    all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn encoded(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

/// A list of what is encoded already.
pub(crate) fn list(parts: &[Vec<u8>]) -> Vec<u8> {
    let payload = parts.concat();
    let mut list = Vec::with_capacity(payload.len() + 9);
    Header { list: true, payload_length: payload.len() }.encode(&mut list);
    list.extend_from_slice(&payload);
    list
}

/// A number as RLP has it.
pub(crate) fn number(number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9);
    number.encode(&mut bytes);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::Value;

    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().trim_start_matches("0x");
        hex::decode(if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") })
            .unwrap()
    }

    fn text(value: &Value) -> Vec<u8> {
        encoded(&bytes(value))
    }

    fn quantity(value: &Value) -> Vec<u8> {
        encoded(&bytes(value).into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>())
    }

    fn access_list(value: &Value) -> Vec<u8> {
        let entry = |entry: &Value| {
            let keys: Vec<Vec<u8>> = entry["storageKeys"].as_array().unwrap().iter().map(text).collect();
            list(&[text(&entry["address"]), list(&keys)])
        };
        list(&value.as_array().unwrap().iter().map(entry).collect::<Vec<_>>())
    }

    /// A transaction of one of the first three types, as it is under the root.
    fn transaction(of: &Value) -> Vec<u8> {
        let to = if of["to"].is_null() { encoded(&[] as &[u8]) } else { text(&of["to"]) };
        let common = [quantity(&of["gas"]), to, quantity(&of["value"]), text(&of["input"])].concat();
        let signature = [quantity(&of["r"]), quantity(&of["s"])].concat();
        let (chain, nonce) = (quantity(&of["chainId"]), quantity(&of["nonce"]));
        match of["type"].as_str().unwrap() {
            "0x0" => list(&[nonce, quantity(&of["gasPrice"]), common, quantity(&of["v"]), signature]),
            "0x1" => {
                let rest = [access_list(&of["accessList"]), quantity(&of["yParity"]), signature].concat();
                [vec![1], list(&[chain, nonce, quantity(&of["gasPrice"]), common, rest])].concat()
            }
            _ => {
                let fees = [quantity(&of["maxPriorityFeePerGas"]), quantity(&of["maxFeePerGas"])].concat();
                let rest = [access_list(&of["accessList"]), quantity(&of["yParity"]), signature].concat();
                [vec![2], list(&[chain, nonce, fees, common, rest])].concat()
            }
        }
    }

    #[test]
    fn the_roots_of_recorded_blocks_are_found_again() {
        let mut sizes = std::collections::BTreeSet::new();
        for line in include_str!("../../../examples/blocks/chain.jsonl").lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let block = &line["block"];
            let transactions: Vec<Vec<u8>> =
                block["transactions"].as_array().unwrap().iter().map(transaction).collect();
            assert_eq!(
                root_of(&transactions).as_slice(),
                bytes(&block["transactionsRoot"]),
                "{}",
                block["number"]
            );
            sizes.insert(transactions.len());
        }
        assert!(sizes.len() > 10, "{sizes:?}");
    }

    /// A list whose places are encoded in one, two and three bytes.
    #[test]
    fn each_item_of_a_long_list_counts() {
        let items: Vec<Vec<u8>> = (0..600_u64).map(|item| item.to_be_bytes().repeat(5)).collect();
        let whole = root_of(&items);
        for place in [0, 1, 127, 128, 255, 256, 599] {
            let mut other = items.clone();
            other[place].push(0);
            assert_ne!(root_of(&other), whole, "{place}");
        }
        assert_ne!(root_of(&items[..599]), whole);
    }
}
