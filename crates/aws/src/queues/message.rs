//! What the queues carry: facts (a block, a reorg, the end of a chain) and hints (a wake, a tick). Hints may be lost: state
//! is the truth. Facts come by a queue of their own, and count by no other.

use proofyard_core::port::Wake;
use proofyard_core::state::{Block, BlockHash, ChainName};
use serde::{Deserialize, Serialize};

/// A message of this yard's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A block event; its payload is in the object store.
    Block { chain: ChainName, block: Block },
    /// Another head is canonical: from an operator, a follower, or a blocks file.
    Reorg { chain: ChainName, height: u64, hash: BlockHash },
    /// No more blocks are expected.
    End { chain: ChainName },
    /// Something may be ready to advance.
    Wake(Wake),
    /// Time has passed.
    Tick {},
}

/// What a queue or a schedule delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Message(Box<Message>),
    /// A job of AWS Batch is over.
    JobEnded {
        job: String,
    },
    /// An event of AWS that needs nothing.
    Other {
        kind: String,
    },
}

/// As EventBridge wraps an event of AWS.
#[derive(Deserialize)]
struct FromEventBridge {
    #[serde(rename = "detail-type")]
    kind: String,
    #[serde(default)]
    detail: serde_json::Value,
}

impl Event {
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_str(body)?;
        if value.get("detail-type").is_none() {
            return Ok(Self::Message(Box::new(serde_json::from_value(value)?)));
        }
        let FromEventBridge { kind, detail } = serde_json::from_value(value)?;
        let text = |name: &str| detail.get(name).and_then(serde_json::Value::as_str);
        match (kind.as_str(), text("status"), text("jobId")) {
            ("Batch Job State Change", Some("FAILED" | "SUCCEEDED"), Some(job)) => {
                Ok(Self::JobEnded { job: job.to_owned() })
            }
            _ => Ok(Self::Other { kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proofyard_core::state::ScopeId;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let wake = Message::Wake(Wake::Scope {
            scope: ScopeId::of_block(&"c".parse().unwrap(), 7, &"0xab".into(), 0),
        });
        let body = serde_json::to_string(&wake).unwrap();
        assert_eq!(body, r#"{"wake":{"scope":{"scope":"c:b:7:0xab:0"}}}"#);
        assert_eq!(Event::read(&body).unwrap(), Event::Message(Box::new(wake)));
        assert_eq!(Event::read(r#"{"tick": {}}"#).unwrap(), Event::Message(Box::new(Message::Tick {})));
        for bad in ["", "{}", "[]", "\"tick\"", r#"{"explode": {}}"#, r#"{"reorg": {"chain": "c"}}"#] {
            Event::read(bad).unwrap_err();
        }
    }

    #[test]
    fn the_end_of_a_job_is_told_from_all_else_that_aws_says() {
        let said = |status| {
            let body = format!(
                r#"{{"detail-type": "Batch Job State Change", "detail": {{"jobId": "j", "status": "{status}"}}}}"#
            );
            Event::read(&body).unwrap()
        };
        assert_eq!(said("FAILED"), Event::JobEnded { job: "j".into() });
        assert_eq!(said("SUCCEEDED"), Event::JobEnded { job: "j".into() });
        assert!(matches!(said("RUNNING"), Event::Other { .. }));
        let spot = Event::read(r#"{"detail-type": "EC2 Spot Instance Interruption Warning"}"#).unwrap();
        assert!(matches!(spot, Event::Other { .. }));
    }
}
