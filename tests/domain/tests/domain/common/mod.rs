//! A small yard in memory that tests drive by hand, with a clock of their own.

pub mod driver;
pub mod intercepted_port;
pub mod memory;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proofyard_core::state::ChainName;

/// The chain that is called so.
pub fn named(chain: &str) -> ChainName {
    chain.parse().expect("a chain's name")
}

/// Runs a future that never has to wait: the memory port answers at once.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing in memory waits"),
    }
}
