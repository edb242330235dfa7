//! The services, written from their public definitions, without any proving.

pub mod bonsai;
pub mod ere;
pub mod openvm_edge;
