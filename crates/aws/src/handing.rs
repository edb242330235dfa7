//! Handing on: a file sink is a folder of the bucket, in which each entry is an object of its own, named by its sequence.
//!
//! An object is written once, so a repeat after a crash finds it there, and nothing is taken for a repeat that is not.

use proofyard_core::error::Error;
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::state::OutEntry;
use tracing::warn;

use crate::bucket::BucketError;
use crate::home::Home;

/// Entries handed on in one go; the sink's own wake brings the rest.
const MAX_IN_A_ROW: usize = 64;

/// Where an entry is put: in order of sequence when listed.
pub fn sink_key(chain: &str, target: &SinkTarget, sequence: u64) -> String {
    let SinkTarget::File { path } = target;
    format!("sinks/{chain}/{}/{sequence:020}.json", path.trim_start_matches(['/', '.']))
}

impl Home {
    /// Hands on what a sink has not got yet.
    pub(crate) async fn hand_on(&self, chain: &str, sink: &str) -> Result<(), Error> {
        for _ in 0..MAX_IN_A_ROW {
            let Some(entry) = self.yard.sink_next(chain, sink).await? else { return Ok(()) };
            let (_, pipeline) = self.yard.chain(chain).await?;
            let Some(target) = pipeline.sinks.get(sink).map(|sink| &sink.target) else { return Ok(()) };
            match self.put_entry(chain, target, &entry).await {
                Ok(()) => self.yard.sink_done(sink, &entry).await?,
                Err(reason) => {
                    warn!(chain, sink, sequence = entry.sequence, reason, "an entry cannot be handed on");
                    return self.yard.sink_failed(sink, &entry, &reason).await;
                }
            }
        }
        Ok(())
    }

    async fn put_entry(&self, chain: &str, target: &SinkTarget, entry: &OutEntry) -> Result<(), String> {
        let content = serde_json::to_vec(entry).map_err(|error| error.to_string())?;
        let key = sink_key(chain, target, entry.sequence);
        let said = |error: BucketError| error.to_string();
        let is_new = self.bucket.put_new(&key, content.clone(), None).await.map_err(said)?;
        if is_new || self.bucket.holds(&key, &content).await.map_err(said)? {
            return Ok(());
        }
        Err(format!("{key} is of another log; name another `file` for the sink, or move the folder away"))
    }
}
