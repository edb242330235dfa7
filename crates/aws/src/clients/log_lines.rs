//! Logs of the programs on AWS: one JSON object a line, which CloudWatch Logs takes apart by itself.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Logs lines of JSON to this writer; `RUST_LOG` says how much, as with any Rust program.
pub fn log_in_json<W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static>(writer: W) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(writer)
        .with_env_filter(filter)
        .init();
}
