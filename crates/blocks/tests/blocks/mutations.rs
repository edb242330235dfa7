//! Recorded files with bytes and lines changed by chance: each is accepted or refused with its line, never
//! a panic.

use std::slice;

use crate::common::{chain, check, check_bytes, reorg};

const BYTE_ROUNDS: usize = 6000;
const LINE_ROUNDS: usize = 1500;

/// xorshift64: the same at each run, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn changed_bytes_never_panic_and_a_changed_header_is_never_accepted() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let recorded = &chain()[1..4];
    let hashes: Vec<[u8; 32]> =
        recorded.iter().map(|line| check(slice::from_ref(line)).unwrap().tip_hash).collect();
    let recorded = recorded.join("\n").into_bytes();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..BYTE_ROUNDS {
        let mut bytes = recorded.clone();
        for _ in 0..=random.below(3) {
            mutate(&mut bytes, &mut random);
        }
        match check_bytes(&bytes) {
            Ok(summary) => {
                accepted += 1;
                assert!(hashes.contains(&summary.first_hash) && hashes.contains(&summary.tip_hash));
            }
            Err(error) => {
                refused += 1;
                assert!((1..=20).contains(&error.line), "{error}");
                assert!(error.to_string().len() < 1000);
            }
        }
    }
    // Most of a line is what only provers read (signatures, inputs, …), so that both happen often.
    assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const TOKENS: [&[u8]; 10] =
        [b"\n", b"\"", b"{", b"]", b"null", b"-1", b"1e999", b"\xff", b"\\u0000", b"99999999999999999999"];
    let at = random.below(bytes.len().max(1));
    let end = at + random.below(bytes.len() - at + 1).min(64);
    match random.below(5) {
        0 => bytes[at] = random.below(256) as u8,
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
        3 => {
            let copied = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            drop(bytes.splice(to..to, copied));
        }
        _ => bytes.truncate(at.max(1)),
    }
    if bytes.is_empty() {
        bytes.push(b'{');
    }
}

/// Whole lines dropped, doubled and moved: accepted only if what is left is still a chain from its first
/// block on.
#[test]
fn shuffled_lines_never_panic() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let recorded = reorg();
    let mut accepted = 0;
    for _ in 0..LINE_ROUNDS {
        let mut lines = recorded.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(lines.len());
            match random.below(3) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(random.below(lines.len()), lines[at].clone()),
                _ => lines.swap(at, random.below(recorded.len() - 4)),
            }
        }
        match check(&lines) {
            Ok(summary) => {
                accepted += 1;
                assert_eq!(summary.blocks + summary.reorgs, lines.len() as u64);
            }
            Err(error) => assert!((1..=lines.len() as u64).contains(&error.line), "{error}"),
        }
    }
    assert!(accepted < LINE_ROUNDS / 2, "{accepted} accepted");
}
