//! The state in one DynamoDB table.
//!
//! An item is: `p` and `s`, its key; `v`, the version; `d`, the value as JSON text; and while it is due `b` and `t`, the
//! shard and time of the sparse index `due`; `x`, when DynamoDB may forget it, on the few items that nobody misses. A
//! commit of several items is one TransactWriteItems under an idempotency token made from its version, so that making
//! the call again cannot make the commit twice; a commit of one item is one conditional write, which tells its own
//! effect by the version it finds.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use futures_util::future::{BoxFuture, try_join_all};
use proofyard_core::port::{
    Action, Batch, CommitOutcome, Due, Expect, Key, Op, PortError, Range, Stored, Version,
};

use crate::trouble::{Trouble, is_refused_as_such, trouble_of};

const PARTITION: &str = "p";
const SORT: &str = "s";
const VERSION: &str = "v";
const VALUE: &str = "d";
const DUE_SHARD: &str = "b";
const DUE_MS: &str = "t";
/// DynamoDB deletes the item some time after it, if it deletes it at all.
pub const EXPIRES_S: &str = "x";
const INDEX: &str = "due";
/// Keys that one BatchGetItem takes, and how many of those calls go side by side.
const KEYS_A_BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 8;

/// Tries of a transaction that was throttled or that met another one, and the longest wait after the first.
const TRIES: u32 = 5;
const FIRST_WAIT_MS: u64 = 40;

type Row = HashMap<String, AttributeValue>;
/// When an item with this key may be forgotten, in seconds since the Unix epoch; `None`: never.
pub type ExpiresS<'a> = dyn Fn(&Key) -> Option<u64> + Send + Sync + 'a;

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
        let key_row = |key: &&Key| {
            Row::from([(PARTITION.to_owned(), text(&key.partition)), (SORT.to_owned(), text(&key.sort))])
        };
        let mut left: Vec<Row> = keys.iter().map(key_row).collect();
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
                    return Err(PortError::Unavailable(format!(
                        "table {}: it is too busy to read",
                        self.name
                    )));
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
                // Or somebody is just writing it, and sets a time of their own.
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

    /// `expires_s` says which items expire; `random` spreads the waits of those who met one another.
    pub fn commit<'a>(
        &'a self,
        batch: &'a Batch,
        expires_s: &'a ExpiresS<'_>,
        random: &'a (dyn Fn() -> u64 + Send + Sync),
    ) -> BoxFuture<'a, Result<CommitOutcome, PortError>> {
        Box::pin(async move {
            batch.check_shape()?;
            let mut ops =
                batch.ops.iter().filter(|op| op.expect != Expect::Any || op.action != Action::Check);
            match (ops.next(), ops.next()) {
                (None, _) => Ok(CommitOutcome::Committed),
                (Some(Op { key, expect, action: Action::Put { value, due_ms } }), None) => {
                    let row = row(batch.version, key, value, *due_ms, expires_s(key));
                    self.put_one(batch.version, row, *expect).await
                }
                (Some(Op { key, expect, action: Action::Delete }), None) => {
                    self.delete_one(key, *expect).await
                }
                _ => self.transact(batch, expires_s, random).await,
            }
        })
    }

    async fn put_one(&self, version: u64, row: Row, expect: Expect) -> Result<CommitOutcome, PortError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(row))
            .set_condition_expression(condition(expect))
            .set_expression_attribute_values(seen(expect))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let failed = match put.send().await {
            Ok(_) => return Ok(CommitOutcome::Committed),
            Err(error) => error,
        };
        if let Some(refused) =
            failed.as_service_error().filter(|error| error.is_conditional_check_failed_exception())
        {
            // An earlier try of this very call may have written it, and its answer was lost.
            let there = conditional_check_item(refused).and_then(|row| number_of(row, VERSION).ok());
            let ours = there == Some(version);
            return Ok(if ours { CommitOutcome::Committed } else { CommitOutcome::Conflict });
        }
        self.write_failed(failed)
    }

    async fn delete_one(&self, key: &Key, expect: Expect) -> Result<CommitOutcome, PortError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key(PARTITION, text(&key.partition))
            .key(SORT, text(&key.sort))
            .set_condition_expression(condition(expect))
            .set_expression_attribute_values(seen(expect));
        match delete.send().await {
            Ok(_) => Ok(CommitOutcome::Committed),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                Ok(CommitOutcome::Conflict)
            }
            Err(error) => self.write_failed(error),
        }
    }

    async fn transact(
        &self,
        batch: &Batch,
        expires_s: &ExpiresS<'_>,
        random: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<CommitOutcome, PortError> {
        let items = batch.ops.iter().filter_map(|op| self.item(batch.version, op, expires_s).transpose());
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let mut wait_ms = FIRST_WAIT_MS;
        for _ in 0..TRIES {
            let call = self
                .client
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(format!("{:016x}", batch.version));
            let failed = match call.send().await {
                Ok(_) => return Ok(CommitOutcome::Committed),
                Err(error) => error,
            };
            match cancelled(&failed) {
                Some(Cancelled::Conflict) => return Ok(CommitOutcome::Conflict),
                Some(Cancelled::TryAgain) => {}
                Some(Cancelled::Refused(reason)) => {
                    return Err(PortError::Broken(format!("table {}: {reason}", self.name)));
                }
                None => return self.write_failed(failed),
            }
            tokio::time::sleep(Duration::from_millis(random() % wait_ms.max(1))).await;
            wait_ms *= 2;
        }
        // Each try was cancelled, so nothing happened: those who read again see what the others did.
        Ok(CommitOutcome::Conflict)
    }

    fn item(
        &self,
        version: u64,
        op: &Op,
        expires_s: &ExpiresS<'_>,
    ) -> Result<Option<TransactWriteItem>, PortError> {
        let Op { key, expect, action } = op;
        let key_row =
            || Row::from([(PARTITION.to_owned(), text(&key.partition)), (SORT.to_owned(), text(&key.sort))]);
        let item = TransactWriteItem::builder();
        let item = match action {
            Action::Check => {
                let Some(condition) = condition(*expect) else { return Ok(None) };
                let check = ConditionCheck::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_row()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.condition_check(check.map_err(unbuilt)?)
            }
            Action::Put { value, due_ms } => {
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(row(version, key, value, *due_ms, expires_s(key))))
                    .set_condition_expression(condition(*expect))
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.put(put.map_err(unbuilt)?)
            }
            Action::Delete => {
                let delete = Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_row()))
                    .set_condition_expression(condition(*expect))
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.delete(delete.map_err(unbuilt)?)
            }
        };
        Ok(Some(item.build()))
    }

    fn read_failed<E, R>(&self, error: SdkError<E, R>) -> PortError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let (Trouble::Passing(reason) | Trouble::Unknown(reason) | Trouble::Lasting(reason)) =
            trouble_of(&error);
        let said = format!("table {}: {reason}", self.name);
        if is_refused_as_such(&error) { PortError::Broken(said) } else { PortError::Unavailable(said) }
    }

    fn write_failed<E, R>(&self, error: SdkError<E, R>) -> Result<CommitOutcome, PortError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        if error.code() == Some("TransactionConflictException") {
            return Ok(CommitOutcome::Conflict);
        }
        match trouble_of(&error) {
            Trouble::Unknown(_) => Ok(CommitOutcome::Unknown),
            _ => Err(self.read_failed(error)),
        }
    }
}

enum Cancelled {
    /// A condition did not hold.
    Conflict,
    /// Throttled, or in another transaction's way.
    TryAgain,
    Refused(String),
}

/// Why DynamoDB took nothing of a transaction; `None` if it did not say that.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Cancelled> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionInProgressException(_) => Some(Cancelled::TryAgain),
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let reasons = cancelled.cancellation_reasons();
            let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
            if has("ConditionalCheckFailed") {
                return Some(Cancelled::Conflict);
            }
            let passes = [
                "TransactionConflict",
                "ThrottlingError",
                "ProvisionedThroughputExceeded",
                "RequestLimitExceeded",
            ];
            if passes.iter().any(|code| has(code)) {
                return Some(Cancelled::TryAgain);
            }
            let said = reasons.iter().filter(|reason| reason.code() != Some("None"));
            let said: Vec<String> = said
                .map(|reason| {
                    let code = reason.code().unwrap_or("no reason");
                    format!("{code}: {}", reason.message().unwrap_or("no more is said"))
                })
                .collect();
            Some(Cancelled::Refused(format!("the transaction was refused: {}", said.join("; "))))
        }
        _ => None,
    }
}

fn conditional_check_item(error: &aws_sdk_dynamodb::operation::put_item::PutItemError) -> Option<&Row> {
    use aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException;
    match error {
        ConditionalCheckFailedException(refused) => refused.item(),
        _ => None,
    }
}

fn condition(expect: Expect) -> Option<String> {
    match expect {
        Expect::Any => None,
        Expect::Absent => Some("attribute_not_exists(p)".to_owned()),
        Expect::Version(_) => Some("v = :v".to_owned()),
    }
}

fn seen(expect: Expect) -> Option<Row> {
    match expect {
        Expect::Version(version) => Some(Row::from([(":v".to_owned(), number(version))])),
        Expect::Any | Expect::Absent => None,
    }
}

fn row(version: u64, key: &Key, value: &[u8], due_ms: Option<u64>, expires_s: Option<u64>) -> Row {
    // Text where it is text, so that people can read the table too.
    let value = match std::str::from_utf8(value) {
        Ok(value) => text(value),
        Err(_) => AttributeValue::B(Blob::new(value)),
    };
    let mut row = Row::from([
        (PARTITION.to_owned(), text(&key.partition)),
        (SORT.to_owned(), text(&key.sort)),
        (VERSION.to_owned(), number(version)),
        (VALUE.to_owned(), value),
    ]);
    if let Some(due_ms) = due_ms {
        row.insert(DUE_SHARD.to_owned(), number(key.due_shard().into()));
        row.insert(DUE_MS.to_owned(), number(due_ms));
    }
    if let Some(expires_s) = expires_s {
        row.insert(EXPIRES_S.to_owned(), number(expires_s));
    }
    row
}

fn stored(row: &Row) -> Result<(String, Stored), PortError> {
    let value = match row.get(VALUE) {
        Some(AttributeValue::S(value)) => value.clone().into_bytes(),
        Some(AttributeValue::B(value)) => value.clone().into_inner(),
        _ => return Err(unreadable(row, VALUE)),
    };
    Ok((text_of(row, SORT)?.to_owned(), Stored { version: number_of(row, VERSION)?, value }))
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn text_of<'a>(row: &'a Row, name: &str) -> Result<&'a str, PortError> {
    let value = row.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| unreadable(row, name))
}

fn number_of(row: &Row, name: &str) -> Result<u64, PortError> {
    let value = row.get(name).and_then(|value| value.as_n().ok()).and_then(|value| value.parse().ok());
    value.ok_or_else(|| unreadable(row, name))
}

fn unreadable(row: &Row, name: &str) -> PortError {
    let key = |name| row.get(name).and_then(|value: &AttributeValue| value.as_s().ok()).map_or("?", |s| s);
    PortError::Broken(format!(
        "item {} / {} has no readable attribute {name}; another version, or another program, wrote it",
        key(PARTITION),
        key(SORT)
    ))
}

fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> PortError {
    PortError::Broken(error.to_string())
}
