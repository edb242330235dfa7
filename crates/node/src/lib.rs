//! Real nodes: JSON-RPC by HTTP for questions, by WebSocket for being notified of new blocks, on alloy's client and transports.
//!
//! `crates/intake` decides what is asked and what is believed. [`follow`] drives its rounds: one at each block that a node tells
//! of, and one each while by the clock, which also finds out a WebSocket that stays open and says nothing.

mod driving;
mod endpoints;
mod errors;
mod heads;
mod rpc;
mod witness;

pub use driving::follow;
pub use endpoints::{EndpointError, Endpoints};
pub use errors::node_error;
pub use rpc::{RpcNodes, http_client};
pub use witness::{OfBlock, Witness, WitnessError};
