//! A prover behind the Proofyard protocol: whole blocks proved strictly in order by folding, with Nova.
//!
//! Each step of the folding runs the chain's one hash once; [`step`] says what a step proves and why a chain of steps
//! proves the statement. The last folded step is compressed into a proof of some kilobytes. Where a STARK of many
//! blocks grows, and must be cut to fit into memory, this takes a block more at any time, in the same memory.

mod circuit;
pub mod keyed;
pub mod keys;
pub mod prover;
pub mod serve;
pub mod statement;
pub mod step;
