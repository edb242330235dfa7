//! A prover behind the Proofyard protocol: Groth16 proofs of the chain's rule, by arkworks.
//!
//! A **leaf** proves one block over BLS12-377; an **aggregate** proves, over BW6-761, that it has checked the leaf
//! proofs of two blocks that follow each other; a **range** proves one or two blocks over BN254, for contracts on Ethereum,
//! of which [`solidity`] writes the verifier. All need keys from a trusted setup, which are files here as they are in a
//! deployment. The README beside this crate says exactly what is proved, and by whom the setup must be trusted.

pub mod aggregate;
pub mod bits;
pub mod compression;
pub mod evm;
pub mod keys;
pub mod leaf;
pub mod leaf_check;
pub mod packing;
pub mod provers;
pub mod range;
pub mod rule;
pub mod solidity;
pub mod system;
