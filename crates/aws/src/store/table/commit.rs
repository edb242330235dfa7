//! Commits: one conditional write for one item, TransactWriteItems for several.
//!
//! A transaction's idempotency token is made from its version, so that repeating the call cannot commit it twice. A single
//! conditional write recognises its own effect by the version that it finds.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use futures_util::future::BoxFuture;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, PortError};

use super::super::expiry::expires_s;
use super::row::{PARTITION, Row, SORT, VERSION, condition, key_row, number_of, row, seen, text};
use super::{FIRST_WAIT_MS, TRIES, Table, unbuilt};
use crate::clients::call_fault::{CallFault, Effect, is_rejected_request};

impl Table {
    /// `now_s` is the time from which an expiring item's life counts; `random` jitters the waits after conflicts.
    pub fn commit<'a>(
        &'a self,
        batch: &'a Batch,
        now_s: u64,
        random: &'a (dyn Fn() -> u64 + Send + Sync),
    ) -> BoxFuture<'a, Result<CommitOutcome, PortError>> {
        Box::pin(async move {
            batch.check_shape()?;
            let mut ops =
                batch.ops.iter().filter(|op| op.expect != Expect::Any || op.action != Action::Check);
            match (ops.next(), ops.next()) {
                (None, _) => Ok(CommitOutcome::Committed),
                (Some(Op { key, expect, action: Action::Put { value, due_ms } }), None) => {
                    let row = row(batch.version, key, value, *due_ms, expires_s(key, now_s));
                    self.put_one(batch.version, row, *expect).await
                }
                (Some(Op { key, expect, action: Action::Delete }), None) => {
                    self.delete_one(key, *expect).await
                }
                _ => self.transact(batch, now_s, random).await,
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
            // An earlier try of this same call may have written it, and its answer was lost.
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
        now_s: u64,
        random: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<CommitOutcome, PortError> {
        let items = batch.ops.iter().filter_map(|op| self.item(batch.version, op, now_s).transpose());
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
                    return Err(self.failed(true, reason));
                }
                None => return self.write_failed(failed),
            }
            tokio::time::sleep(Duration::from_millis(random() % wait_ms.max(1))).await;
            wait_ms *= 2;
        }
        // Each try was cancelled, so nothing was written. The caller reads again, and sees what the other transactions wrote.
        Ok(CommitOutcome::Conflict)
    }

    fn item(&self, version: u64, op: &Op, now_s: u64) -> Result<Option<TransactWriteItem>, PortError> {
        let Op { key, expect, action } = op;
        let item = TransactWriteItem::builder();
        let item = match action {
            Action::Check => {
                let Some(condition) = condition(*expect) else { return Ok(None) };
                let check = ConditionCheck::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_row(key)))
                    .condition_expression(condition)
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.condition_check(check.map_err(unbuilt)?)
            }
            Action::Put { value, due_ms } => {
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(row(version, key, value, *due_ms, expires_s(key, now_s))))
                    .set_condition_expression(condition(*expect))
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.put(put.map_err(unbuilt)?)
            }
            Action::Delete => {
                let delete = Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_row(key)))
                    .set_condition_expression(condition(*expect))
                    .set_expression_attribute_values(seen(*expect))
                    .build();
                item.delete(delete.map_err(unbuilt)?)
            }
        };
        Ok(Some(item.build()))
    }

    fn write_failed<E, R>(&self, error: SdkError<E, R>) -> Result<CommitOutcome, PortError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        if error.code() == Some("TransactionConflictException") {
            return Ok(CommitOutcome::Conflict);
        }
        let is_rejected = is_rejected_request(&error);
        match CallFault::of(error) {
            CallFault { effect: Effect::Unknown, .. } => Ok(CommitOutcome::Unknown),
            fault => Err(self.failed(is_rejected, fault)),
        }
    }
}

/// Why DynamoDB cancelled a transaction.
enum Cancelled {
    /// A condition did not hold.
    Conflict,
    /// Throttled, or in conflict with another transaction that is under way.
    TryAgain,
    Refused(String),
}

/// Why DynamoDB cancelled a transaction; `None` if the error does not say that it did.
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

fn conditional_check_item(error: &PutItemError) -> Option<&Row> {
    match error {
        PutItemError::ConditionalCheckFailedException(refused) => refused.item(),
        _ => None,
    }
}
