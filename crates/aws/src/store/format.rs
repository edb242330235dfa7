//! The format of a yard's state and messages: one number for all of it. A program that writes a newer format raises the
//! number first.
//!
//! A program that is older than the yard does not start, and says so. One that was running already when the number was
//! raised (a function's last calls during a deployment) may meet what it cannot read: it leaves that to the newer programs
//! beside it, and treats nothing as damaged.

use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::port::Key;
use proofyard_core::state::KeyFamily;
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};

use super::port::AwsPort;

/// What this program reads and writes.
pub const FORMAT: u32 = 2;

/// The item that holds the number. Programs of any format must be able to read that number, and nothing else of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
}

impl Format {
    /// Where every role may read it, workers and the webhook's function included.
    fn key_of() -> Key {
        KeyFamily::Format.key("")
    }
}

impl Item for Format {
    fn key(&self) -> Key {
        Self::key_of()
    }
}

/// The yard is newer than this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "yard {yard} has format {found}, and this program knows none after {FORMAT}: it was written by a newer Proofyard; use \
     that version, or deploy it here too"
)]
pub struct NewerFormat {
    pub yard: String,
    pub found: u32,
}

impl Coded for NewerFormat {
    fn code(&self) -> Code {
        Code::NewerYard
    }
}

/// The format of the yard of that name, where it is one that this program does not know.
pub(crate) async fn newer_format(port: &AwsPort, yard: &str) -> Result<Option<NewerFormat>, Error> {
    let found: Option<Format> = read(port, &Format::key_of()).await?;
    let newer = found.filter(|found| found.format > FORMAT);
    Ok(newer.map(|found| NewerFormat { yard: yard.to_owned(), found: found.format }))
}

/// Raises the yard's format to this program's: from now on items may be written in it.
pub(crate) async fn raise_format(port: &AwsPort) -> Result<(), Error> {
    transact(port, async |tx| {
        let found: Option<Format> = tx.check(&Format::key_of()).await?;
        if found.is_none_or(|found| found.format < FORMAT) {
            tx.put(&Format { format: FORMAT })?;
        }
        Ok(())
    })
    .await
}
