//! Running the domain's handlers on plain threads.
//!
//! The port is async in shape for the home that waits on a network. Here every call does its work before it
//! returns, so a future is ready when it is first polled.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // Not a handler's own future: one that waits for another thread.
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_ready_future_returns_at_once() {
        assert_eq!(block_on(async { 7 }), 7);
    }

    #[test]
    fn a_future_that_pends_is_polled_until_another_thread_has_done_its_part() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| done.store(true, Ordering::Release));
            block_on(std::future::poll_fn(|_| match done.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }));
        });
    }
}
