//! Handing on to files: a file sink is a folder of the object store, in which each entry of the out log is an object, named by its
//! sequence. An object is written once, so a repeat after a crash finds its own; nothing else counts as a repeat.

use proofyard_core::error::{Cause, Error, with_causes};
use proofyard_core::sinks::Trouble;
use proofyard_core::state::{ChainName, OutEntry};
use proofyard_core::yard::Yard;
use tracing::warn;

use super::layout::{Objects, sink_key};
use crate::store::port::AwsPort;

/// How many entries are handed on at once; the sink's own wake continues with the rest.
const MAX_IN_A_ROW: usize = 64;

/// Hands on the entries that a sink does not have yet, in order.
pub(crate) async fn hand_on(
    yard: &Yard<AwsPort>,
    objects: &Objects,
    (chain, sink): (&ChainName, &str),
    path: &str,
) -> Result<(), Error> {
    for _ in 0..MAX_IN_A_ROW {
        let Some(entry) = yard.sink_next(chain, sink).await? else { return Ok(()) };
        match put_entry(objects, chain, path, &entry).await {
            Ok(()) => yard.sink_done(sink, &entry).await?,
            Err(error) => {
                let reason = with_causes(error.as_ref()).to_string();
                warn!(%chain, sink, sequence = entry.sequence, reason, "an entry cannot be handed on");
                let trouble = Trouble::saying(reason);
                return yard.sink_failed(sink, &entry, &trouble).await;
            }
        }
    }
    Ok(())
}

async fn put_entry(objects: &Objects, chain: &ChainName, path: &str, entry: &OutEntry) -> Result<(), Cause> {
    let content = serde_json::to_vec(entry)?;
    let key = sink_key(chain, path, entry.sequence);
    match objects.put_entry(&key, content).await? {
        true => Ok(()),
        false => {
            Err(format!("{key} is of another log; name another `file` for the sink, or move the folder away")
                .into())
        }
    }
}
