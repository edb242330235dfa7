//! The state in one DynamoDB table: reads, ranges, the `due` index. [`commit`] has the writes, [`row`] the layout.
//!
//! An item is: `p` and `s`, its key; `v`, the version; `d`, the value as JSON text; and while it is due `b` and `t`, the
//! shard and time of the sparse index `due`; `x`, when DynamoDB may delete it, on the few items that expire.

mod commit;
mod row;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::{BoxFuture, try_join_all};
use proofyard_core::error::{Cause, because};
use proofyard_core::port::{Due, Key, PortError, Range, Stored, Version};

pub use self::row::EXPIRES_S;
use self::row::{DUE_MS, DUE_SHARD, PARTITION, Row, SORT, key_row, number, number_of, stored, text, text_of};
use crate::clients::call_fault::{CallFault, is_rejected_request};

/// The index of what is due.
const INDEX: &str = "due";
/// Keys that one BatchGetItem takes, and how many of those calls go side by side.
const KEYS_A_BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 8;

/// Tries of a transaction that was throttled or that met another one, and the longest wait after the first.
const TRIES: u32 = 5;
const FIRST_WAIT_MS: u64 = 40;

#[derive(Clone)]
pub struct Table {
    client: Client,
    name: String,
}

impl Table {
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    pub fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Stored>, PortError>> {
        Box::pin(async move {
            if key.partition.is_empty() || key.sort.is_empty() {
                // DynamoDB has no such keys.
                return Ok(None);
            }
            let found = self
                .client
                .get_item()
                .table_name(&self.name)
                .consistent_read(true)
                .key(PARTITION, text(&key.partition))
                .key(SORT, text(&key.sort))
                .send()
                .await
                .map_err(|error| self.read_failed(error))?;
            found.item.map(|row| stored(&row).map(|(_, stored)| stored)).transpose()
        })
    }

    /// In the order of `keys`.
    pub fn get_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Stored>>, PortError>> {
        Box::pin(async move {
            // DynamoDB takes no key twice, and none that is empty.
            let asked: BTreeSet<&Key> =
                keys.iter().filter(|key| !key.partition.is_empty() && !key.sort.is_empty()).collect();
            let asked: Vec<&Key> = asked.into_iter().collect();
            let pages = asked.chunks(KEYS_A_BATCH).collect::<Vec<_>>();
            let mut found = HashMap::new();
            for side_by_side in pages.chunks(BATCHES_AT_ONCE) {
                let read = try_join_all(side_by_side.iter().map(|page| self.get_batch(page))).await?;
                found.extend(read.into_iter().flatten());
            }
            Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
        })
    }

    /// Up to a hundred keys. DynamoDB leaves some for the next call where the answer is long or the table busy.
    async fn get_batch(&self, keys: &[&Key]) -> Result<Vec<(Key, Stored)>, PortError> {
        let mut left: Vec<Row> = keys.iter().map(|key| key_row(key)).collect();
        let mut found = Vec::new();
        let (mut wait_ms, mut fruitless) = (FIRST_WAIT_MS, 0);
        while !left.is_empty() {
            let asked = left.len();
            let keys = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true);
            let batch =
                self.client.batch_get_item().request_items(&self.name, keys.build().map_err(unbuilt)?);
            let answer = batch.send().await.map_err(|error| self.read_failed(error))?;
            for row in answer.responses.unwrap_or_default().remove(&self.name).unwrap_or_default() {
                let key = Key::new(text_of(&row, PARTITION)?, text_of(&row, SORT)?);
                found.push((key, stored(&row)?.1));
            }
            let unread = answer.unprocessed_keys.unwrap_or_default().remove(&self.name);
            left = unread.map(|unread| unread.keys).unwrap_or_default();
            if left.len() == asked {
                fruitless += 1;
                if fruitless >= TRIES {
                    return Err(self.failed(false, "it is too busy to read"));
                }
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms *= 2;
            }
        }
        Ok(found)
    }

    pub fn range<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<(String, Stored)>, PortError>> {
        Box::pin(async move {
            if range.limit == 0 || range.to.as_ref().is_some_and(|to| *to <= range.from) {
                return Ok(Vec::new());
            }
            let mut query = self.client.query().consistent_read(true).scan_index_forward(!range.reverse);
            query = query.expression_attribute_values(":p", text(&range.partition));
            // DynamoDB takes no empty text for a key, and its BETWEEN has its end inside: that end is left out below.
            let condition = match (range.from.as_str(), &range.to) {
                ("", None) => "p = :p",
                ("", Some(to)) => {
                    query = query.expression_attribute_values(":to", text(to));
                    "p = :p AND s < :to"
                }
                (from, None) => {
                    query = query.expression_attribute_values(":from", text(from));
                    "p = :p AND s >= :from"
                }
                (from, Some(to)) => {
                    query = query.expression_attribute_values(":from", text(from));
                    query = query.expression_attribute_values(":to", text(to));
                    "p = :p AND s BETWEEN :from AND :to"
                }
            };
            let rows =
                self.pages(query.key_condition_expression(condition), range.limit.saturating_add(1)).await?;
            let read = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
            let inside = read.into_iter().filter(|(sort, _)| range.to.as_ref() != Some(sort));
            Ok(inside.take(range.limit).collect())
        })
    }

    pub fn due<'a>(
        &'a self,
        shard: u8,
        after: Option<&'a Due>,
        until_ms: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Due>, PortError>> {
        Box::pin(async move {
            if limit == 0 {
                return Ok(Vec::new());
            }
            let mut query = self
                .client
                .query()
                .index_name(INDEX)
                .key_condition_expression("b = :b AND t <= :t")
                .expression_attribute_values(":b", number(shard.into()))
                .expression_attribute_values(":t", number(until_ms));
            if let Some(Due { due_ms, key }) = after {
                query = query
                    .exclusive_start_key(DUE_SHARD, number(shard.into()))
                    .exclusive_start_key(DUE_MS, number(*due_ms))
                    .exclusive_start_key(PARTITION, text(&key.partition))
                    .exclusive_start_key(SORT, text(&key.sort));
            }
            let rows = self.pages(query, limit).await?;
            let entry = |row: &Row| {
                let key = Key::new(text_of(row, PARTITION)?, text_of(row, SORT)?);
                Ok(Due { due_ms: number_of(row, DUE_MS)?, key })
            };
            rows.iter().map(entry).collect()
        })
    }

    /// Rows of all pages, until there are `limit`.
    async fn pages(&self, query: QueryFluentBuilder, limit: usize) -> Result<Vec<Row>, PortError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut from = query.get_exclusive_start_key().clone();
        loop {
            let left = i32::try_from(limit - rows.len()).unwrap_or(i32::MAX);
            let page = query.clone().table_name(&self.name).limit(left).set_exclusive_start_key(from);
            let page = page.send().await.map_err(|error| self.read_failed(error))?;
            rows.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() || rows.len() >= limit {
                rows.truncate(limit);
                return Ok(rows);
            }
        }
    }

    pub fn reschedule<'a>(
        &'a self,
        key: &'a Key,
        version: Version,
        due_ms: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, PortError>> {
        Box::pin(async move {
            let mut update = self
                .client
                .update_item()
                .table_name(&self.name)
                .key(PARTITION, text(&key.partition))
                .key(SORT, text(&key.sort))
                .condition_expression("v = :v")
                .expression_attribute_values(":v", number(version));
            update = match due_ms {
                None => update.update_expression("REMOVE b, t"),
                Some(due_ms) => update
                    .update_expression("SET b = :b, t = :t")
                    .expression_attribute_values(":b", number(key.due_shard().into()))
                    .expression_attribute_values(":t", number(due_ms)),
            };
            match update.send().await {
                Ok(_) => Ok(true),
                // Or another process is just writing the item, and sets its due time.
                Err(error)
                    if matches!(
                        error.code(),
                        Some("ConditionalCheckFailedException" | "TransactionConflictException")
                    ) =>
                {
                    Ok(false)
                }
                Err(error) => Err(self.read_failed(error)),
            }
        })
    }

    fn read_failed<E, R>(&self, error: SdkError<E, R>) -> PortError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        self.failed(is_rejected_request(&error), CallFault::of(error))
    }

    /// `is_rejected`: retrying the same request cannot succeed.
    fn failed(&self, is_rejected: bool, reason: impl Into<Cause>) -> PortError {
        let cause = because(format!("table {}", self.name), reason);
        if is_rejected { PortError::Broken(cause) } else { PortError::Unavailable(cause) }
    }
}

fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> PortError {
    PortError::Broken(error.into())
}
