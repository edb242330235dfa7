//! A prover behind the Proofyard protocol: STARK proofs, by Miden VM, of a hash chain over a block's transactions.
//!
//! One segment's statement is: applying the transactions with these hashes to this state gives that state, where a
//! transaction takes `state` to `hash(state, hash(transaction))`. It is computed inside the virtual machine. It is
//! not EVM execution. The README beside this crate says exactly what is proved.

pub mod artifact;
pub mod block;
pub mod error;
pub mod prover;
pub mod serve;
pub mod statement;
pub mod states;
pub mod vm;
pub mod word;
