//! The programs' source: what they share is written here, each program's own part in its `.masm` file.
//!
//! BLAKE3's compression is unrolled over fixed memory, since its message schedule differs from round to round.
//!
//! ```text
//! memory  0..8    digest    the chaining value, and the result
//!         8..16   the rest of the compression's state
//!         16..32  message
//!         32..40  state     before, later after the block
//!         40..48  the block's transactions digest
//!         48..    each program's own
//! ```

use std::fmt::Write;

use miden_core::Word;
use proofyard_statement::compression::{FLAGS, INITIAL, MIXINGS, PERMUTATION, ROUNDS};

/// Where the message begins.
const MESSAGE: usize = 16;

/// The whole source of a program.
pub fn source(program: &str, pinned: &[(&str, Word)]) -> String {
    let mut source = String::new();
    let uses = program.lines().take_while(|line| line.starts_with('#') || line.starts_with("use ")).count();
    let lines: Vec<&str> = program.lines().collect();
    let (head, body) = lines.split_at(uses);
    source.push_str(&head.join("\n"));
    source.push('\n');
    for (name, hash) in pinned {
        for (index, element) in hash.as_elements().iter().enumerate() {
            let _ = writeln!(source, "const {name}_{index} = {}", element.as_canonical_u64());
        }
    }
    source.push_str(&keyed());
    source.push_str(include_str!("shared.masm"));
    source.push_str(&body.join("\n"));
    source.push('\n');
    source
}

/// The procedure `keyed`: \[message bytes\] -> \[\]; digest = keyed(digest, message).
fn keyed() -> String {
    let mut source = String::from("proc keyed\n    mem_store.14\n");
    for (index, word) in INITIAL.iter().enumerate() {
        let _ = writeln!(source, "    push.{word} mem_store.{}", 8 + index);
    }
    let _ = writeln!(source, "    push.0 mem_store.12 push.0 mem_store.13 push.{FLAGS} mem_store.15");
    let mut schedule: [usize; 16] = std::array::from_fn(|index| index);
    for _ in 0..ROUNDS {
        for (mixing, words) in MIXINGS.iter().zip(schedule.as_chunks::<2>().0) {
            mix(&mut source, *mixing, words.map(|word| MESSAGE + word));
        }
        schedule = PERMUTATION.map(|earlier| schedule[earlier]);
    }
    for index in 0..8 {
        let _ = writeln!(source, "    mem_load.{index} mem_load.{} u32xor mem_store.{index}", index + 8);
    }
    source.push_str("end\n");
    source
}

/// One mixing of four words of the state with two of the message.
fn mix(source: &mut String, [a, b, c, d]: [usize; 4], [x, y]: [usize; 2]) {
    let _ = writeln!(
        source,
        "    mem_load.{a} mem_load.{b} mem_load.{x} dup.1 movdn.3 u32wrapping_add3
    mem_load.{d} dup.1 u32xor u32rotr.16
    mem_load.{c} dup.1 u32wrapping_add
    movup.3 dup.1 u32xor u32rotr.12
    mem_load.{y} dup.1 movup.5 u32wrapping_add3 dup mem_store.{a}
    movup.3 u32xor u32rotr.8 dup mem_store.{d}
    movup.2 u32wrapping_add dup mem_store.{c}
    u32xor u32rotr.7 mem_store.{b}"
    );
}
