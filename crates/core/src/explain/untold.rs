//! Sinks that have not got a block, and why.

use super::Line;
use super::text::{count, span};
use crate::chain_look::ChainLook;
use crate::error::{Error, with_causes};
use crate::pipeline::Confirm;
use crate::sinks::Turn;
use crate::state::{OutEntry, OutKind};
use crate::status::{SinkPlace, SinkStatus};
use crate::transaction::read;
use crate::yard::Yard;

impl Yard {
    /// A line for each sink that has not got what is below the frontier; a few reads for each. What cannot be read of a sink
    /// hides nothing else.
    pub(super) async fn untold(&self, look: &ChainLook, height: u64) -> Vec<Line> {
        let sinks = match self.sinks(look).await {
            Ok(sinks) => sinks,
            Err(error) => return vec![Line::new(format!("its sinks: {}", with_causes(&error)))],
        };
        let mut lines = Vec::new();
        for sink in sinks {
            let name = &sink.sink;
            match self.why_untold(look, &sink, height).await {
                Ok(None) => {}
                Ok(Some(why)) => lines.push(Line::new(format!("sink {name} has not got it: {why}"))),
                Err(error) => lines.push(Line::new(format!("sink {name}: {}", with_causes(&error)))),
            }
        }
        lines
    }

    async fn why_untold(
        &self,
        look: &ChainLook,
        sink: &SinkStatus,
        height: u64,
    ) -> Result<Option<String>, Error> {
        let waits_at = match &sink.place {
            SinkPlace::Log { log, next_sequence } => {
                let key = OutEntry::key_of(look.chain(), log, *next_sequence);
                let Some(entry) = read::<OutEntry>(&self.port, &key).await? else { return Ok(None) };
                let (OutKind::Proof { from, .. } | OutKind::Retract { from, .. }) = &entry.kind;
                if *from > height {
                    return Ok(None);
                }
                let Some(settings) = look.pipeline.sinks.get(&sink.sink) else { return Ok(None) };
                let cursor = self.sink_cursor(look.chain(), &sink.sink, log).await?;
                match self.turn(settings, &cursor, &entry).await? {
                    // The next step of the sink does that.
                    Turn::PassOver => return Ok(None),
                    Turn::Withhold if !sink.paused && sink.failures == 0 => {
                        let confirm = if sink.confirm == Confirm::Safe { "safe" } else { "finalized" };
                        return Ok(Some(format!(
                            "entry {next_sequence} waits until the node calls its blocks {confirm}"
                        )));
                    }
                    Turn::Withhold | Turn::HandOn => format!("entry {next_sequence}"),
                }
            }
            // What it was told of this block alone is not known here.
            SinkPlace::Blocks { settled_below, .. } => {
                let is_held_up = sink.paused || sink.failures > 0;
                if *settled_below > height || !is_held_up {
                    return Ok(None);
                }
                format!("the last word of block {settled_below}")
            }
        };
        Ok(Some(why_it_waits(sink, &waits_at, look.now_ms)))
    }
}

fn why_it_waits(sink: &SinkStatus, waits_at: &str, now_ms: u64) -> String {
    if sink.paused {
        let name = &sink.sink;
        return format!(
            "it is paused before {waits_at} (`proofyard sink {name} --resume` when it may go on)"
        );
    }
    let next = match sink.next_try_ms {
        Some(next_ms) if next_ms > now_ms => format!("; its next try, in {}", span(next_ms - now_ms)),
        _ => String::new(),
    };
    match (&sink.last_error, sink.failures) {
        (Some(error), 0) => format!("it waits with {waits_at}, {error}{next}"),
        (Some(error), failures) => {
            let tries = count(u64::from(failures), "time");
            format!("{waits_at} was tried {tries} in vain, at last: {error}{next}")
        }
        (None, _) => match sink.next_call_ms.filter(|next_ms| *next_ms > now_ms) {
            Some(next_ms) => format!("its next call, in {}", span(next_ms - now_ms)),
            None => format!("{waits_at} is its next one"),
        },
    }
}
