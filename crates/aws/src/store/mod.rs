//! The state: one DynamoDB table, and the domain's port over it.
//!
//! - [`table`]: the table, and how an item lies in it; [`expiry`]: which items DynamoDB may delete;
//! - [`port`]: the port; [`read_cache`]: what one invocation has read;
//! - [`format`](mod@format): the one item that says which version of Proofyard wrote the table.
//!
//! Only [`port`] reads and writes the table; everything else goes through the port.

mod expiry;
pub mod format;
pub mod port;
mod read_cache;
pub mod table;
