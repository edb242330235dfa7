//! How AWS is called: one configuration for every client, what a failed call means, the names of a yard's resources, the
//! webhook's secret. Nothing here depends on what is stored or sent.

pub mod call_fault;
pub mod host;
pub mod log_lines;
pub mod names;
pub mod sdk;
pub mod secrets;

/// Runs `work` to its end on this thread, while the runtime's own threads do the network's part.
pub fn block_on<F: Future>(runtime: &tokio::runtime::Handle, work: F) -> F::Output {
    let _inside = runtime.enter();
    pollster::block_on(work)
}
