//! What calls to AWS cost, by the units that AWS bills: read off the calls themselves.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http::{Breakable, Fate};

/// Items here are smaller than what one unit holds: 4 KB read, 1 KB written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub calls: u64,
    /// DynamoDB's read units, in halves: a read of the index is not consistent.
    pub half_reads: u64,
    /// Write units, the index's included: moving an entry there is two.
    pub writes: u64,
    pub object_puts: u64,
    pub object_gets: u64,
    pub queue_requests: u64,
    /// What costs nothing, such as AWS Batch's own calls, by operation.
    pub free: BTreeMap<String, u64>,
}

impl Usage {
    /// Of all calls from now on.
    pub fn watch(http: &Breakable) -> Arc<Mutex<Self>> {
        let usage = Arc::new(Mutex::new(Self::default()));
        let watched = Arc::clone(&usage);
        http.breaks(move |operation, body| {
            watched.lock().unwrap().count(operation, body);
            Fate::Made
        });
        usage
    }

    pub fn take(usage: &Mutex<Self>) -> Self {
        std::mem::take(&mut usage.lock().unwrap())
    }

    fn count(&mut self, operation: &str, body: &str) {
        self.calls += 1;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let index_writes = |item: &Value| if item.get("b").is_some() { 2 } else { 0 };
        match operation {
            "GetItem" => self.half_reads += 2,
            "BatchGetItem" => {
                let tables = body["RequestItems"].as_object().unwrap().values();
                self.half_reads +=
                    2 * tables.map(|table| table["Keys"].as_array().unwrap().len() as u64).sum::<u64>();
            }
            "Query" => self.half_reads += if body.get("IndexName").is_some() { 1 } else { 2 },
            "PutItem" => self.writes += 1 + index_writes(&body["Item"]),
            // It moves or takes away an entry of the index.
            "UpdateItem" => self.writes += 3,
            "DeleteItem" => self.writes += 2,
            "TransactWriteItems" => {
                for item in body["TransactItems"].as_array().unwrap() {
                    self.writes += 2 + item.get("Put").map_or(0, |put| 2 * index_writes(&put["Item"]));
                }
            }
            "PUT object" => self.object_puts += 1,
            "GET object" | "HEAD object" => self.object_gets += 1,
            queue if queue.contains("Message") => self.queue_requests += 1,
            // Once in a process.
            "GetQueueUrl" => self.calls -= 1,
            other => *self.free.entry(other.to_owned()).or_default() += 1,
        }
    }
}

impl AddAssign<&Usage> for Usage {
    fn add_assign(&mut self, other: &Usage) {
        self.calls += other.calls;
        self.half_reads += other.half_reads;
        self.writes += other.writes;
        self.object_puts += other.object_puts;
        self.object_gets += other.object_gets;
        self.queue_requests += other.queue_requests;
        for (operation, count) in &other.free {
            *self.free.entry(operation.clone()).or_default() += count;
        }
    }
}
