//! The journals of accounts in the yard's table: a head whose version guards all, and an item for each page. A write is one
//! transaction of DynamoDB, under the condition that the head is still as it was read. Finished pages are no part of what is read
//! at once.

use std::fmt;

use futures_util::future::LocalBoxFuture;
use proofyard_aws::store::port::AwsPort;
use proofyard_contract::{Change, Page, Pages, Written};
use proofyard_core::error::{Cause, with_causes};
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Op, Port};
use proofyard_core::state::KeyFamily;

/// Pages that are read at once.
const PAGES_A_READ: usize = 500;
/// More than ever is under way of one account.
const MAX_PAGES: usize = 100_000;

pub struct TablePages {
    port: AwsPort,
}

impl fmt::Debug for TablePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TablePages")
    }
}

impl TablePages {
    pub fn of(port: AwsPort) -> Self {
        Self { port }
    }

    async fn all(&self, account: &str) -> Result<Written, Cause> {
        // Another process may have written since this invocation began.
        self.port.forget_reads();
        // The head first: what is written behind its reading, the next write finds by it.
        let head = self.port.get(&KeyFamily::JournalHead.key(account)).await?;
        let mut written = Written { version: head.map(|head| head.version), ..Written::default() };
        let mut range = KeyFamily::JournalPage.range(account, PAGES_A_READ);
        let prefix = KeyFamily::JournalPage.sort("");
        loop {
            let found = self.port.range(&range).await?;
            let count = found.len();
            for (sort, stored) in found {
                range.from = format!("{sort}\0");
                let name = sort.strip_prefix(&prefix).unwrap_or(&sort).to_owned();
                written.pages.insert(Page::Open(name), String::from_utf8(stored.value)?);
            }
            if count < PAGES_A_READ {
                return Ok(written);
            }
            if written.pages.len() >= MAX_PAGES {
                return Err(format!("the journal of {account} has more than {MAX_PAGES} pages").into());
            }
        }
    }

    async fn one(&self, account: &str, name: &str) -> Result<Option<String>, Cause> {
        let stored = self.port.get(&KeyFamily::JournalFinished.key_in(account, name)).await?;
        Ok(stored.map(|stored| String::from_utf8(stored.value)).transpose()?)
    }

    async fn commit(
        &self,
        account: &str,
        version: Option<u64>,
        changes: &[Change],
    ) -> Result<Option<u64>, Cause> {
        let head = Op {
            key: KeyFamily::JournalHead.key(account),
            expect: version.map_or(Expect::Absent, Expect::Version),
            action: Action::Put { value: b"{}".to_vec(), due_ms: None },
        };
        let pages = changes.iter().map(|(page, text)| Op {
            key: match page {
                Page::Open(name) => KeyFamily::JournalPage.key_in(account, name),
                Page::Finished(name) => KeyFamily::JournalFinished.key_in(account, name),
            },
            expect: Expect::Any,
            action: match text {
                Some(text) => Action::Put { value: text.clone().into_bytes(), due_ms: None },
                None => Action::Delete,
            },
        });
        let ops = std::iter::once(head).chain(pages).collect();
        let batch = Batch { version: self.port.random(), ops, durable: true };
        Ok(match self.port.commit(&batch).await? {
            CommitOutcome::Committed => Some(batch.version),
            // Whether it happened is seen by whoever reads anew.
            CommitOutcome::Conflict | CommitOutcome::Unknown => None,
        })
    }
}

impl Pages for TablePages {
    fn read<'a>(&'a self, account: &'a str) -> LocalBoxFuture<'a, Result<Written, String>> {
        Box::pin(async move { self.all(account).await.map_err(|error| said(account, &error)) })
    }

    fn finished<'a>(
        &'a self,
        account: &'a str,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<String>, String>> {
        Box::pin(async move { self.one(account, name).await.map_err(|error| said(account, &error)) })
    }

    fn write<'a>(
        &'a self,
        account: &'a str,
        version: Option<u64>,
        changes: &'a [Change],
    ) -> LocalBoxFuture<'a, Result<Option<u64>, String>> {
        Box::pin(async move {
            self.commit(account, version, changes).await.map_err(|error| said(account, &error))
        })
    }
}

fn said(account: &str, error: &Cause) -> String {
    format!("the journal of {account} in the yard's table: {}", with_causes(error.as_ref()))
}
