//! BLAKE3's compression function in the one form that the rule uses, as data: what every circuit and program of it is
//! written from. `keyed` is one run of it, with the key as chaining value and zeros for the counter.
//!
//! From the BLAKE3 paper, section 2: the state's last eight words begin as four initial values, the counter, the
//! message's length in bytes and the flags.

/// The state's words 8 to 11 at the start.
pub const INITIAL: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;
const KEYED_HASH: u32 = 16;

/// The state's word 15: the message is one block, and that is the whole tree.
pub const FLAGS: u32 = CHUNK_START | CHUNK_END | ROOT | KEYED_HASH;

pub const ROUNDS: usize = 7;

/// From one round to the next, message word i is the earlier word `PERMUTATION[i]`.
pub const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/// Which words of the state each of a round's eight mixings works on: columns, then diagonals. The mixing at i takes
/// message words 2i and 2i + 1.
pub const MIXINGS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];
